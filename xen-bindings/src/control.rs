//! Domains as such: create, pause, unpause, shut down, destroy, list.

use crate::domid::{DomId, DomainHandle};
use crate::error::XenError;
use crate::frame::PageCount;
use crate::vcpu::{Shell, VcpulessDomain};

/// How Xen runs the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestKind {
    /// Hardware-assisted, no device model.
    Pvh,
    /// Paravirtual.
    Pv,
}

/// What a new domain is created with. It cannot be changed later.
#[derive(Clone, Debug)]
pub struct DomainConfig {
    /// The VM's uuid.
    pub handle: DomainHandle,
    /// PVH or PV.
    pub kind: GuestKind,
    /// vCPUs that it can ever have; the spare ones start offline.
    pub vcpus_max: u32,
    /// The highest event channel port.
    pub evtchn_port_max: u32,
    /// Frames of its grant table.
    pub grant_frames_max: u32,
    /// Frames of its maptrack table.
    pub maptrack_frames_max: u32,
}

impl DomainConfig {
    /// libxl's own limits for event channels and grants.
    #[must_use]
    pub fn new(handle: DomainHandle, kind: GuestKind, vcpus_max: u32) -> Self {
        Self {
            handle,
            kind,
            vcpus_max,
            evtchn_port_max: 1023,
            grant_frames_max: 64,
            maptrack_frames_max: 1024,
        }
    }
}

/// Why a domain shut down (`SHUTDOWN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// It powered off.
    Poweroff,
    /// It wants to start again.
    Reboot,
    /// It suspended itself and can be resumed.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog fired.
    Watchdog,
    /// It asked for a soft reset.
    SoftReset,
    /// A code that this version of the suite does not know.
    Unknown(u32),
}

/// What a domain does now, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Being torn down; its id is released when the last page is.
    Dying,
    /// It has shut down; its memory is still there.
    Shutdown(ShutdownReason),
    /// Paused by the toolstack.
    Paused,
    /// A vCPU runs now.
    Running,
    /// All vCPUs wait for something, or none is scheduled just now.
    Blocked,
}

/// A domain, as Xen's list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its number.
    pub domid: DomId,
    /// The VM's uuid.
    pub handle: DomainHandle,
    /// PVH or PV.
    pub kind: GuestKind,
    /// What it does.
    pub state: RunState,
    /// Paused by the toolstack (also told when `state` is something stronger).
    pub paused: bool,
    /// Pages it holds.
    pub pages: PageCount,
    /// Pages it may hold.
    pub memory_max_kib: u64,
    /// vCPUs online now.
    pub vcpus_online: u32,
    /// The highest vCPU index that it can have.
    pub vcpu_index_max: u32,
    /// CPU time of all vCPUs since it was created.
    pub cpu_time_ns: u64,
}

/// Create, stop and look at domains.
pub trait DomainControl: Send + Sync {
    /// A new domain: paused, no vCPUs, no memory. Give it vCPUs next ([`crate::VcpuControl::allocate`]); nothing else takes a
    /// [`VcpulessDomain`], because Xen 4.17 itself panics when one is built.
    ///
    /// # Errors
    /// `Unsupported` when the host cannot run this kind, `OutOfMemory`, `Invalid`.
    fn create(&self, config: &DomainConfig) -> Result<VcpulessDomain, XenError>;

    /// The host's default CPU policy for this domain, set before the build.
    ///
    /// # Errors
    /// `NoSuchDomain`, `Exists` once the domain has run.
    fn apply_cpu_policy(&self, shell: &Shell) -> Result<(), XenError>;

    /// Stops all vCPUs. Pauses count: each needs its own unpause.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn pause(&self, domid: DomId) -> Result<(), XenError>;

    /// Takes one pause back.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Invalid` when it is not paused.
    fn unpause(&self, domid: DomId) -> Result<(), XenError>;

    /// Marks the domain as shut down with a reason, without asking the guest.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn shutdown(&self, domid: DomId, reason: ShutdownReason) -> Result<(), XenError>;

    /// Gives the domain another handle: a prepared shell becomes a VM's.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn set_handle(&self, domid: DomId, handle: DomainHandle) -> Result<(), XenError>;

    /// Lets a domain that has suspended itself go on where it is, in the same domain. Tell xenstore too
    /// ([`crate::Store::resume`]).
    ///
    /// # Errors
    /// `NoSuchDomain`; `Invalid` when it has not shut down with the reason suspend.
    fn resume(&self, domid: DomId) -> Result<(), XenError>;

    /// Ends the domain. Its id stays listed as dying until its last page is released.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn destroy(&self, domid: DomId) -> Result<(), XenError>;

    /// All domains, dom0 and dying ones included, in order of id.
    ///
    /// # Errors
    /// `PermissionDenied`, or what the hypercall says.
    fn list(&self) -> Result<Vec<DomainInfo>, XenError>;

    /// One domain; `None` when there is none with just this id. (Xen answers with the next higher one; the backend checks.)
    ///
    /// # Errors
    /// What the hypercall says, but never `NoSuchDomain`.
    fn info(&self, domid: DomId) -> Result<Option<DomainInfo>, XenError>;
}
