//! libxenguest's `xc_dom_image`: a guest while it is built.

use std::ffi::{CStr, c_int};
use std::ptr::{NonNull, null, null_mut};
use std::time::Instant;

use super::ffi;
use super::handle::{Handle, told};
use super::kernel::Kernel;
use super::machine::{ACPI_INFO_ADDRESS, Firmware, Layout};
use crate::control::GuestKind;
use crate::error::{XenError, XenErrorKind};
use crate::evtchn::Port;
use crate::frame::{Gfn, PAGE_BYTES};
use crate::guest_image::BuiltGuest;
use crate::vcpu::Shell;

const DOM0: u32 = 0;
/// `XENFEAT_linux_rsdp_unrestricted`.
const FEATURE_RSDP_ANYWHERE: u32 = xenctrl_sys::XENFEAT_linux_rsdp_unrestricted;

/// How the kernel gets into the guest.
pub(super) enum KernelInput<'a> {
    /// Copied by us.
    Understood(Kernel),
    /// Unpacked and copied by libxenguest.
    File(&'a CStr),
}

/// Owns the image and what it points to.
pub(super) struct DomImage<'h> {
    handle: &'h mut Handle,
    image: NonNull<ffi::xc_dom_image>,
    domid: u32,
    /// Dropped after the image is released, since the image points into it.
    firmware: Option<Firmware>,
    /// As the firmware; `None` when libxenguest loads the kernel by itself.
    kernel: Option<Kernel>,
}

impl<'h> DomImage<'h> {
    pub(super) fn allocate(
        handle: &'h mut Handle,
        shell: &Shell,
        cmdline: &CStr,
    ) -> Result<Self, XenError> {
        let image = handle.call_pointer("dom_allocate", |xch| {
            // SAFETY: the command line is copied; null features are the default ones.
            unsafe { ffi::xc_dom_allocate(xch, cmdline.as_ptr(), null()) }
        })?;
        let domid = shell.domid().get().into();
        let mut dom = Self { handle, image, domid, firmware: None, kernel: None };
        let fields = dom.fields();
        fields.container_type = match shell.kind() {
            GuestKind::Pvh => ffi::xc_dom_image_XC_DOM_HVM_CONTAINER,
            GuestKind::Pv => ffi::xc_dom_image_XC_DOM_PV_CONTAINER,
        };
        fields.max_vcpus = shell.vcpus_max();
        fields.device_model = false;
        Ok(dom)
    }

    /// Both rings are served by dom0.
    pub(super) fn set_channels(&mut self, store: Port, console: Port) {
        let fields = self.fields();
        fields.xenstore_evtchn = store.0;
        fields.xenstore_domid = DOM0;
        fields.console_evtchn = console.0;
        fields.console_domid = DOM0;
    }

    /// Where a PVH guest's memory lies; PV starts at 0 and has no holes.
    pub(super) fn set_memory(&mut self, layout: Layout) {
        if self.is_pv() {
            return;
        }
        let fields = self.fields();
        fields.target_pages = layout.target_pages();
        fields.mmio_start = ACPI_INFO_ADDRESS;
        fields.mmio_size = (1 << 32) - ACPI_INFO_ADDRESS;
        fields.lowmem_end = layout.lowmem_end();
        fields.highmem_end = layout.highmem_end();
    }

    /// Reads and unpacks the files.
    pub(super) fn load(
        &mut self,
        kernel: KernelInput<'_>,
        initramfs: Option<&CStr>,
    ) -> Result<(), XenError> {
        self.load_kernel(kernel)?;
        if let Some(initramfs) = initramfs {
            self.load_initramfs(initramfs)?;
        }
        let domid = self.domid;
        let image = self.image.as_ptr();
        self.handle.call("dom_boot_xen_init", |xch| {
            // SAFETY: image and handle belong together; both outlive the call.
            unsafe { ffi::xc_dom_boot_xen_init(image, xch, domid) }
        })?;
        self.step("dom_parse_image", |dom| {
            // SAFETY: the image is ours.
            unsafe { ffi::xc_dom_parse_image(dom) }
        })
        .map_err(bad_image)
    }

    fn load_kernel(&mut self, kernel: KernelInput<'_>) -> Result<(), XenError> {
        let loaded = match kernel {
            KernelInput::Understood(kernel) => {
                let bytes = self.kernel.insert(kernel).stand_in();
                let (start, length) = (bytes.as_ptr().cast(), bytes.len());
                self.step("dom_kernel_mem", |dom| {
                    // SAFETY: the image keeps the pointer; `self.kernel` outlives it and is not changed any more.
                    unsafe { ffi::xc_dom_kernel_mem(dom, start, length) }
                })
            }
            KernelInput::File(path) => self.step("dom_kernel_file", |dom| {
                // SAFETY: the path is only read during the call.
                unsafe { ffi::xc_dom_kernel_file(dom, path.as_ptr()) }
            }),
        };
        loaded.map_err(bad_image)
    }

    fn load_initramfs(&mut self, initramfs: &CStr) -> Result<(), XenError> {
        self.step("dom_module_file", |dom| {
            // SAFETY: the path is only read during the call; a module needs no command line.
            unsafe { ffi::xc_dom_module_file(dom, initramfs.as_ptr(), null()) }
        })
        .map_err(bad_image)?;
        let fields = self.fields();
        // Handed over as it is: the guest's kernel unpacks it by itself, faster than it is unpacked into foreign memory.
        fields.max_module_size = fields.modules[0].size;
        Ok(())
    }

    /// Gives the domain its memory.
    pub(super) fn populate(&mut self, layout: Layout) -> Result<(), XenError> {
        let mib = if self.is_pv() { layout.target_mib } else { layout.max_mib };
        self.step("dom_mem_init", |dom| {
            // SAFETY: the image is ours.
            unsafe { ffi::xc_dom_mem_init(dom, mib) }
        })?;
        self.step("dom_boot_mem_init", |dom| {
            // SAFETY: the image is ours.
            unsafe { ffi::xc_dom_boot_mem_init(dom) }
        })
        .map_err(no_memory)
    }

    pub(super) fn takes_rsdp_anywhere(&mut self) -> bool {
        // SAFETY: the image is ours and parsed.
        unsafe { ffi::xc_dom_feature_get(self.image.as_ptr(), FEATURE_RSDP_ANYWHERE) }
    }

    /// Points the image at the firmware, which from now on stays where it is, and tells Xen the memory map.
    pub(super) fn install(&mut self, firmware: Firmware) -> Result<(), XenError> {
        let firmware = self.firmware.insert(firmware);
        // SAFETY: as in `fields`; `firmware` is another field, which outlives libxenguest's use of the pointers set here.
        let fields = unsafe { self.image.as_mut() };
        for (module, (address, bytes)) in fields.acpi_modules.iter_mut().zip(firmware.modules()) {
            module.data = bytes.as_mut_ptr();
            module.length = u32::try_from(bytes.len()).map_err(|_| too_large())?;
            module.guest_addr_out = address;
        }
        let length = u32::try_from(firmware.e820.len()).map_err(|_| too_large())?;
        let map = firmware.e820.as_mut_ptr();
        fields.e820 = map;
        fields.e820_entries = length;
        let domid = self.domid;
        self.handle.call("domain_set_memory_map", |xch| {
            // SAFETY: the map has `length` entries and is owned by `self.firmware`.
            unsafe { xenctrl_sys::xc_domain_set_memory_map(xch, domid, map, length) }
        })?;
        Ok(())
    }

    /// Copies everything into the guest.
    pub(super) fn load_guest(&mut self) -> Result<(), XenError> {
        self.step("dom_build_image", |dom| {
            // SAFETY: the image is ours; the firmware that it points to is in `self`.
            unsafe { ffi::xc_dom_build_image(dom) }
        })
        .map_err(|error| no_memory(bad_image_without_errno(error)))?;
        self.copy_kernel()
    }

    /// libxenguest forgets what it has mapped of the guest, which so stays mapped until this process ends. Not for PV: a page
    /// that somebody can still write to cannot become a page table.
    pub(super) fn leave_mapped(&mut self) {
        self.fields().phys_pages = null_mut();
    }

    /// Sets up the first vCPU of a guest that is loaded.
    pub(super) fn boot(mut self) -> Result<BuiltGuest, XenError> {
        self.step("dom_boot_image", |dom| {
            // SAFETY: as above.
            unsafe { ffi::xc_dom_boot_image(dom) }
        })?;
        self.step("dom_gnttab_init", |dom| {
            // SAFETY: as above.
            unsafe { ffi::xc_dom_gnttab_init(dom) }
        })?;
        let (store, console) = (self.fields().xenstore_pfn, self.fields().console_pfn);
        Ok(BuiltGuest { store_gfn: self.gfn(store)?, console_gfn: self.gfn(console)? })
    }

    /// The kernel's place is mapped and cleared by now.
    fn copy_kernel(&mut self) -> Result<(), XenError> {
        const OPERATION: &str = "dom_copy_kernel";
        let Some(kernel) = &self.kernel else { return Ok(()) };
        // SAFETY: as in `fields`; the kernel is another field.
        let segment = unsafe { &self.image.as_ref().kernel_seg };
        let (pfn, pages) = (segment.pfn, segment.pages);
        let image = self.image.as_ptr();
        let place = self.handle.call_pointer("dom_pfn_to_ptr", |_| {
            // SAFETY: the image is ours, and the segment is the one that it has just mapped.
            unsafe { ffi::xc_dom_pfn_to_ptr(image, pfn, pages) }
        })?;
        let length = usize::try_from(pages.saturating_mul(PAGE_BYTES)).unwrap_or(0);
        // SAFETY: a mapping of so many pages, whole and writable, until the image is booted or released; nobody else has it,
        // since the domain is paused and has never run.
        let place = unsafe { std::slice::from_raw_parts_mut(place.cast().as_ptr(), length) };
        let start = Instant::now();
        let copied = kernel.copy(place);
        told(OPERATION, start);
        copied.map_err(|error| {
            XenError::new(OPERATION, XenErrorKind::BadImage).detail(error.to_string())
        })
    }

    /// `xc_dom_p2m`, which is inline in C and so not in the library.
    fn gfn(&mut self, pfn: u64) -> Result<Gfn, XenError> {
        // SAFETY: the image is ours.
        if unsafe { ffi::xc_dom_translated(self.image.as_ptr()) } {
            return Ok(Gfn(pfn));
        }
        let fields = self.fields();
        let outside = || {
            XenError::new("dom_p2m", XenErrorKind::Other(0)).detail(format!("no frame {pfn:#x}"))
        };
        let index = usize::try_from(pfn).map_err(|_| outside())?;
        if pfn >= fields.p2m_size || fields.pv_p2m.is_null() {
            return Err(outside());
        }
        // SAFETY: the table has `p2m_size` entries and the index is below that.
        Ok(Gfn(unsafe { *fields.pv_p2m.add(index) }))
    }

    fn is_pv(&mut self) -> bool {
        self.fields().container_type == ffi::xc_dom_image_XC_DOM_PV_CONTAINER
    }

    fn fields(&mut self) -> &mut ffi::xc_dom_image {
        // SAFETY: allocated by xc_dom_allocate, released only by our Drop, reached only through `&mut self`.
        unsafe { self.image.as_mut() }
    }

    fn step(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(*mut ffi::xc_dom_image) -> c_int,
    ) -> Result<(), XenError> {
        let image = self.image.as_ptr();
        self.handle.call(operation, |_| work(image))?;
        Ok(())
    }
}

impl Drop for DomImage<'_> {
    fn drop(&mut self) {
        let start = Instant::now();
        // SAFETY: allocated by xc_dom_allocate and released once, before the firmware and the handle's borrow end.
        unsafe { ffi::xc_dom_release(self.image.as_ptr()) };
        told("dom_release", start);
    }
}

/// A step that only looks at files: whatever the library dislikes is the file, unless dom0 itself lacks memory.
fn bad_image(error: XenError) -> XenError {
    match error.kind() {
        XenErrorKind::OutOfMemory | XenErrorKind::PermissionDenied => error,
        _ => error.with_kind(XenErrorKind::BadImage),
    }
}

/// libxenguest fails without an errno where it refuses the image by itself, such as a kernel larger than the memory.
fn bad_image_without_errno(error: XenError) -> XenError {
    match error.kind() {
        XenErrorKind::Other(0) => error.with_kind(XenErrorKind::BadImage),
        _ => error,
    }
}

/// Populating on a full host is EBUSY.
fn no_memory(error: XenError) -> XenError {
    match error.kind() {
        XenErrorKind::Busy => error.with_kind(XenErrorKind::OutOfMemory),
        _ => error,
    }
}

fn too_large() -> XenError {
    XenError::new("dom_build", XenErrorKind::Invalid).detail("firmware of 4 GiB")
}
