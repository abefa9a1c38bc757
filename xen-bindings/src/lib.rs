//! Xen's own operations, and nothing above them.
//!
//! A host is a [`Xen`]: a bundle of small capability traits (one file each), synchronous and object-safe. The caller
//! decides where to block. Three things implement or hold them:
//!
//! - `libxc` (feature `libxc`): the real hypervisor through libxenctrl and libxenguest. The only `unsafe` of the suite.
//! - [`store::client`]: the xenstore daemon over its Unix socket, in safe Rust.
//! - [`sim`]: a model of a Xen machine with Xen's own rules, seeded, on a clock that it is given.
//! - [`stream`]: Xen's migration streams, read and written; nothing behind a trait, since a stream is bytes alone.
//! - [`contract`]: one suite over the traits. It runs on the simulator in every test run and on real Xen in the lab, so that
//!   the simulator cannot drift.
//!
//! What fails: every operation answers [`XenError`] or [`store::StoreError`], which name the operation, the domain and the
//! kind of failure; a value from Xen that we do not know is an error, never a guess.

#[cfg(any(feature = "libxc", test))]
mod acpi;
pub mod contract;
pub mod control;
pub mod cpu_policy;
pub mod domid;
pub mod error;
pub mod evtchn;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gfn_set;
pub mod guest_image;
pub mod guest_memory;
pub mod guest_state;
pub mod host;
#[cfg(feature = "libxc")]
pub mod libxc;
pub mod log_dirty;
pub mod memory;
pub mod page_type;
pub mod shared_ring;
pub mod sim;
pub mod store;
pub mod stream;
pub mod vcpu;

use std::sync::Arc;

pub use control::{DomainConfig, DomainControl, DomainInfo, GuestKind, RunState, ShutdownReason};
pub use cpu_policy::{CpuPolicy, CpuidLeaf, MsrEntry};
pub use domid::{DomId, DomainHandle};
pub use error::{XenError, XenErrorKind};
pub use evtchn::{EventChannels, Port};
pub use frame::{Gfn, Mfn, PageCount, Pfn};
pub use gfn_set::{GfnBatch, GfnSet};
pub use guest_image::{
    BuildSpec, BuiltGuest, GIVEN_UP, GuestImage, Next, Precopy, RestoreSpec, SavePilot,
};
pub use guest_memory::{GuestMemory, MappedPages};
pub use guest_state::GuestState;
pub use host::{HostInfo, PcpuTime, Physinfo, XenVersion};
pub use log_dirty::{DirtyCounts, DirtyLog, Leftover};
pub use memory::DomainMemory;
pub use page_type::{PageTable, PageType};
pub use shared_ring::{GrantRef, RingCounters, SharedRings};
pub use store::{Store, StoreError, StoreOps, StorePath, StoreTransaction};
pub use vcpu::{Affinity, Credit2, Shell, VcpuControl, VcpuInfo, VcpulessDomain};

/// One Xen host: the capabilities of one backend. Cheap to clone.
#[derive(Clone)]
pub struct Xen {
    /// Domains as such: create, pause, unpause, shut down, destroy, list.
    pub control: Arc<dyn DomainControl>,
    /// vCPUs: how many, what they do, credit2 parameters.
    pub vcpu: Arc<dyn VcpuControl>,
    /// A domain's memory limits.
    pub memory: Arc<dyn DomainMemory>,
    /// The machine under it.
    pub host: Arc<dyn HostInfo>,
    /// Event channels between dom0 and a guest.
    pub evtchn: Arc<dyn EventChannels>,
    /// Kernel and initramfs into a domain's memory.
    pub image: Arc<dyn GuestImage>,
    /// A PVH guest's memory, while it runs.
    pub guest_memory: Arc<dyn GuestMemory>,
    /// What a guest is besides its memory.
    pub guest_state: Arc<dyn GuestState>,
    /// Rings between its drivers and dom0's.
    pub rings: Arc<dyn SharedRings>,
    /// Xenstore.
    pub store: Arc<dyn Store>,
}

/// What a process has that only loads guests into shells that another process has made: no xenstore, no other operation.
#[derive(Clone)]
pub struct Loader {
    /// To reclaim the shell.
    pub vcpu: Arc<dyn VcpuControl>,
    /// To load it.
    pub image: Arc<dyn GuestImage>,
}
