//! vCPUs: how many a domain can have, what they do, and how credit2 weighs the domain.
//!
//! The order create → allocate vCPUs → build is a type: [`VcpulessDomain`] → [`Shell`] → [`crate::BuiltGuest`]. Xen 4.17
//! panics, and the whole host with it, when HVM context is saved for a domain without vCPUs.

use crate::control::GuestKind;
use crate::domid::DomId;
use crate::error::XenError;

/// A domain that Xen has just created and that has no vCPUs yet. Only a backend makes one.
#[derive(Debug)]
pub struct VcpulessDomain {
    domid: DomId,
    kind: GuestKind,
    vcpus_max: u32,
}

impl VcpulessDomain {
    pub(crate) fn new(domid: DomId, kind: GuestKind, vcpus_max: u32) -> Self {
        Self { domid, kind, vcpus_max }
    }

    /// For the undo of a failed creation.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// The shell that it has become once the backend has allocated its vCPUs.
    pub(crate) fn into_shell(self) -> Shell {
        Shell { domid: self.domid, kind: self.kind, vcpus_max: self.vcpus_max }
    }

    /// vCPUs that it was created for.
    #[must_use]
    pub fn vcpus_max(&self) -> u32 {
        self.vcpus_max
    }
}

/// A paused domain with vCPUs and without memory: what a guest is built into.
#[derive(Debug)]
pub struct Shell {
    domid: DomId,
    kind: GuestKind,
    vcpus_max: u32,
}

impl Shell {
    /// Its number.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// PVH or PV.
    #[must_use]
    pub fn kind(&self) -> GuestKind {
        self.kind
    }

    /// vCPUs that it can ever have.
    #[must_use]
    pub fn vcpus_max(&self) -> u32 {
        self.vcpus_max
    }
}

/// One vCPU now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuInfo {
    /// Brought up by the guest.
    pub online: bool,
    /// Waiting for an event.
    pub blocked: bool,
    /// On a physical CPU now.
    pub running: bool,
    /// Time on physical CPUs since it was created.
    pub cpu_time_ns: u64,
    /// Where it ran last.
    pub pcpu_index: u32,
}

/// credit2's parameters of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit2 {
    /// Share under contention, 1..=65535; 256 is the default.
    pub weight: u16,
    /// Limit in percent of one physical CPU; 0 is none.
    pub cap_percent: u16,
}

/// Where a vCPU may run and runs best: numbers of physical CPUs, ascending; empty means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// It runs nowhere else.
    pub hard: Vec<u32>,
    /// It runs here when it can.
    pub soft: Vec<u32>,
}

/// vCPUs and their scheduler.
pub trait VcpuControl: Send + Sync {
    /// Allocates all vCPUs that the domain was created for.
    ///
    /// # Errors
    /// `NoSuchDomain`, `OutOfMemory`. The domain is still there and must be destroyed by the caller.
    fn allocate(&self, domain: VcpulessDomain) -> Result<Shell, XenError>;

    /// A shell that another process of this suite has made: checked against Xen, since nothing else proves that it has its
    /// vCPUs.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Invalid` when it has another number of vCPUs, is of another kind, or is not paused.
    fn reclaim(&self, domid: DomId, kind: GuestKind, vcpus_max: u32) -> Result<Shell, XenError>;

    /// One vCPU.
    ///
    /// # Errors
    /// `NoSuchDomain` when there is no such domain or vCPU.
    fn info(&self, domid: DomId, vcpu_index: u32) -> Result<VcpuInfo, XenError>;

    /// credit2's parameters.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Unsupported` when another scheduler runs.
    fn credit2(&self, domid: DomId) -> Result<Credit2, XenError>;

    /// Sets them.
    ///
    /// # Errors
    /// As [`VcpuControl::credit2`], and `Invalid` for weight 0.
    fn set_credit2(&self, domid: DomId, parameters: Credit2) -> Result<(), XenError>;

    /// Where a vCPU may run. A set of all CPUs that the host has is told as empty.
    ///
    /// # Errors
    /// `NoSuchDomain` when there is no such domain or vCPU.
    fn affinity(&self, domid: DomId, vcpu_index: u32) -> Result<Affinity, XenError>;

    /// Sets it.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Invalid` when `hard` names no CPU that the host has.
    fn set_affinity(
        &self,
        domid: DomId,
        vcpu_index: u32,
        affinity: &Affinity,
    ) -> Result<(), XenError>;
}
