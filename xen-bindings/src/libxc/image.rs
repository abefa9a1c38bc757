//! Kernel and initramfs into a domain.
//!
//! allocate → configure → load (files) → populate (memory) → firmware (PVH) → boot. Each step is one method of [`DomImage`],
//! which releases libxenguest's state however the build ends.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xenctrl_sys as xc;

use super::Libxc;
use super::dom_image::{DomImage, KernelInput};
use super::handle::Handle;
use super::kernel::Kernel;
use super::machine::{Firmware, Layout};
use crate::control::GuestKind;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::guest_image::{BuildSpec, BuiltGuest, GuestImage, RestoreSpec, SavePilot};
use crate::vcpu::Shell;

/// libxl's timer mode: no missed ticks pending.
const TIMER_MODE: u64 = 1;

impl GuestImage for Libxc {
    fn build(&self, shell: &Shell, spec: &BuildSpec) -> Result<BuiltGuest, XenError> {
        let domid = shell.domid();
        let inputs = Inputs::new(shell, spec).map_err(|error| error.domain(domid))?;
        self.set_clocks(shell)?;
        self.handles
            .lend(|handle| build(handle, shell, spec, &inputs, self.leaves_mapped))?
            .map_err(|error| error.domain(domid))
    }

    fn save(&self, domid: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError> {
        self.save_guest(domid, stream)
    }

    fn save_live(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        self.save_live_guest(domid, stream, pilot)
    }

    fn restore(
        &self,
        shell: &Shell,
        stream: BorrowedFd<'_>,
        spec: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError> {
        self.restore_guest(shell, stream, spec)
    }
}

impl Libxc {
    pub(super) fn set_clocks(&self, shell: &Shell) -> Result<(), XenError> {
        if shell.kind() == GuestKind::Pvh {
            self.call_domain("hvm_param_set", shell.domid(), |xch, domid| {
                // SAFETY: plain integers.
                unsafe { xc::xc_hvm_param_set(xch, domid, xc::HVM_PARAM_TIMER_MODE, TIMER_MODE) }
            })?;
        }
        self.call_domain("domain_set_tsc_info", shell.domid(), |xch, domid| {
            // SAFETY: plain integers; zeros are Xen's default mode.
            unsafe { xc::xc_domain_set_tsc_info(xch, domid, 0, 0, 0, 0) }
        })?;
        Ok(())
    }
}

fn build(
    handle: &mut Handle,
    shell: &Shell,
    spec: &BuildSpec,
    inputs: &Inputs,
    leaves_mapped: bool,
) -> Result<BuiltGuest, XenError> {
    let mut image = DomImage::allocate(handle, shell, &inputs.cmdline)?;
    image.set_channels(spec.store_port, spec.console_port);
    image.set_memory(inputs.layout);
    image.load(kernel_input(spec, &inputs.kernel)?, inputs.initramfs.as_deref())?;
    image.populate(inputs.layout)?;
    if shell.kind() == GuestKind::Pvh {
        let anywhere = image.takes_rsdp_anywhere();
        image.install(Firmware::new(shell, spec.vcpus_online, inputs.layout, anywhere)?)?;
    }
    image.load_guest()?;
    if leaves_mapped && shell.kind() == GuestKind::Pvh {
        image.leave_mapped();
    }
    image.boot()
}

/// A kernel that this side understands is copied by it; the others are libxenguest's.
fn kernel_input<'a>(spec: &BuildSpec, path: &'a CStr) -> Result<KernelInput<'a>, XenError> {
    let kernel = File::open(&spec.kernel).and_then(Kernel::open).map_err(|error| {
        XenError::new("dom_kernel_file", XenErrorKind::BadImage)
            .detail(format!("{}: {error}", spec.kernel.display()))
    })?;
    Ok(kernel.map_or(KernelInput::File(path), KernelInput::Understood))
}

/// What the caller gave, checked before libxenguest sees any of it.
struct Inputs {
    layout: Layout,
    cmdline: CString,
    kernel: CString,
    initramfs: Option<CString>,
}

impl Inputs {
    fn new(shell: &Shell, spec: &BuildSpec) -> Result<Self, XenError> {
        if !(1..=shell.vcpus_max()).contains(&spec.vcpus_online) {
            return Err(invalid("vCPUs online at boot"));
        }
        Ok(Self {
            layout: Layout::new(spec)?,
            cmdline: CString::new(spec.cmdline.as_str())
                .map_err(|_| invalid("a NUL in the command line"))?,
            kernel: readable(&spec.kernel)?,
            initramfs: spec.initramfs.as_deref().map(readable).transpose()?,
        })
    }
}

/// A file that is there, is a file, and may be read.
fn readable(path: &Path) -> Result<CString, XenError> {
    let fail = |kind, why: &dyn std::fmt::Display| {
        XenError::new("dom_kernel_file", kind).detail(format!("{}: {why}", path.display()))
    };
    let metadata = fs::metadata(path).and_then(|metadata| File::open(path).map(|_| metadata));
    match metadata {
        Ok(metadata) if metadata.is_file() => CString::new(path.as_os_str().as_bytes())
            .map_err(|error| fail(XenErrorKind::Invalid, &error)),
        Ok(_) => Err(fail(XenErrorKind::BadImage, &"not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(fail(XenErrorKind::NotFound, &error))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(fail(XenErrorKind::PermissionDenied, &error))
        }
        Err(error) => Err(fail(XenErrorKind::BadImage, &error)),
    }
}

fn invalid(what: &str) -> XenError {
    XenError::new("dom_build", XenErrorKind::Invalid).detail(what)
}
