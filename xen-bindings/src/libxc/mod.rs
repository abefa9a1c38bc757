//! The real hypervisor, through libxenctrl and libxenguest.
//!
//! ```text
//!   Xen { control, vcpu, memory, host, evtchn, image, guest_memory, guest_state, rings } store
//!              all the same  Arc<Libxc>                                                store::client::Client (no C in it)
//!                       │
//!                 handle.rs   a pool: an xc_interface belongs to one thread at a time
//!                       │     call() = clear the log, clear errno, run, then errno + log → XenError
//!              xenctrl-sys │ ffi.rs (libxenguest)
//! ```
//!
//! This module owns every `unsafe` of the suite, one `SAFETY` comment a block. The rules that make the blocks sound:
//!
//! - A raw `xc_interface` is lent to a closure for one call and never kept.
//! - Out-parameters are plain C structs that live on this side's stack or in a `Vec` of the stated length.
//! - xenctrl-sys has C's enums as Rust enums, where an unknown value is undefined behaviour. We use its integer constants and
//!   convert at the edge; the one enum that C hands to us (a log level) is bound again as a number in [`ffi`].
//! - A guest's memory is never referred to where it lies, since the guest writes to it: it is copied, page by page.
//! - What libxenguest keeps a pointer to (e820, firmware modules) is owned by the object whose `Drop` ends libxenguest's use.
//!
//! What Xen does not tell: a PVH guest is an HVM guest without a device model, so any HVM guest is listed as PVH. A PV guest
//! starts all its vCPUs by itself and then puts the spare ones away; `vcpus_online` reaches PVH guests only, through ACPI.
//!
//! What fails: errno gives the kind ([`error`]); libxenguest often fails with errno 0 and says why only in its log, so each
//! handle has a logger of its own whose lines end up in the error's detail ([`log`]).

#![allow(unsafe_code)]

mod affinity;
mod control;
mod dom_image;
mod error;
mod evtchn;
mod ffi;
mod foreign;
mod guest_memory;
mod guest_state;
mod handle;
mod host;
mod image;
mod kernel;
mod log;
mod log_dirty;
mod machine;
mod memory;
mod saved;
mod shared_ring;
mod vcpu;

use std::ffi::c_int;
use std::path::Path;
use std::sync::{Arc, Mutex};

use xenctrl_sys::xc_interface;

use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::store::client::{self, Client};
use crate::{Loader, StoreError, Xen};

use self::foreign::ForeignMemory;
use self::handle::Handles;
use self::shared_ring::GrantTable;

/// The tracing target of one event a library call: its `operation` and `elapsed_us`.
pub const STEPS: &str = "xen_bindings::steps";

/// Connects to the hypervisor and to the xenstore daemon at its usual socket.
///
/// # Errors
/// `PermissionDenied` or `NotFound` outside dom0; `NotFound` without a xenstore daemon.
pub fn open() -> Result<Xen, XenError> {
    open_at(Path::new(client::DEFAULT_SOCKET))
}

/// As [`open`], with another socket of the xenstore daemon.
///
/// # Errors
/// As [`open`].
pub fn open_at(store_socket: &Path) -> Result<Xen, XenError> {
    let libxc = Arc::new(Libxc::new()?);
    let store = Client::connect(store_socket).map_err(store_unreachable)?;
    Ok(Xen {
        control: libxc.clone(),
        vcpu: libxc.clone(),
        memory: libxc.clone(),
        host: libxc.clone(),
        evtchn: libxc.clone(),
        image: libxc.clone(),
        guest_memory: libxc.clone(),
        guest_state: libxc.clone(),
        rings: libxc,
        store: Arc::new(store),
    })
}

/// As [`open`], for a process that only loads guests. A PVH guest that it has built stays mapped until the process ends, since
/// unmapping page by page takes longer in a PV dom0: end it before the guest is destroyed, or that waits for it.
///
/// # Errors
/// As [`open`].
pub fn open_loader() -> Result<Loader, XenError> {
    let libxc = Arc::new(Libxc { leaves_mapped: true, ..Libxc::new()? });
    Ok(Loader { vcpu: libxc.clone(), image: libxc })
}

/// What the hypervisor itself has logged, as `xl dmesg` shows it: for diagnostics, since its words follow no contract.
///
/// # Errors
/// As [`open`].
pub fn hypervisor_log() -> Result<String, XenError> {
    Libxc::new()?.console_ring()
}

fn store_unreachable(error: StoreError) -> XenError {
    XenError::new("xenstore_connect", XenErrorKind::NotFound).detail(error.to_string())
}

/// Implements every capability but the store.
struct Libxc {
    handles: Handles,
    /// Opened when somebody maps a guest's memory.
    memory: Mutex<Option<Arc<ForeignMemory>>>,
    grants: GrantTable,
    /// What a build has mapped of a PVH guest is left to the end of the process.
    leaves_mapped: bool,
}

impl Libxc {
    fn new() -> Result<Self, XenError> {
        Ok(Self {
            handles: Handles::open()?,
            memory: Mutex::default(),
            grants: GrantTable::default(),
            leaves_mapped: false,
        })
    }

    /// One libxc call about the host.
    fn call(
        &self,
        operation: &'static str,
        work: impl FnOnce(*mut xc_interface) -> c_int,
    ) -> Result<c_int, XenError> {
        self.handles.lend(|handle| handle.call(operation, work))?
    }

    /// One libxc call about a domain.
    fn call_domain(
        &self,
        operation: &'static str,
        domid: DomId,
        work: impl FnOnce(*mut xc_interface, u32) -> c_int,
    ) -> Result<c_int, XenError> {
        self.call(operation, |xch| work(xch, domid.get().into()))
            .map_err(|error| error.domain(domid))
    }
}
