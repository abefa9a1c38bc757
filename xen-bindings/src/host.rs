//! The machine: processors, memory, version.

use crate::error::XenError;

/// The machine's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Physinfo {
    /// Physical CPUs that Xen schedules on.
    pub pcpus: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// Clock rate of a CPU.
    pub cpu_khz: u32,
    /// All memory that Xen manages.
    pub memory_total_kib: u64,
    /// Memory free now.
    pub memory_free_kib: u64,
    /// Memory freed and not yet scrubbed.
    pub memory_scrub_kib: u64,
    /// Memory claimed by builds under way.
    pub memory_claimed_kib: u64,
    /// PVH and HVM guests can run.
    pub hvm: bool,
    /// Hardware-assisted paging is there.
    pub hap: bool,
    /// Xen can shadow page tables. Without that nobody logs what a PV guest writes: it is not copied while it runs. Debian builds Xen without
    /// since XSA-495.
    pub shadow: bool,
}

/// One physical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcpuTime {
    /// Time it was idle since Xen booted.
    pub idle_ns: u64,
}

/// Which Xen this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XenVersion {
    /// 4.
    pub major: u32,
    /// 17.
    pub minor: u32,
    /// `.7` and what the distribution adds.
    pub extra: String,
    /// Kinds of guests, as Xen lists them.
    pub capabilities: String,
}

/// Facts about the machine.
pub trait HostInfo: Send + Sync {
    /// Resources.
    ///
    /// # Errors
    /// What the hypercall says.
    fn physinfo(&self) -> Result<Physinfo, XenError>;

    /// Idle time of each physical CPU, in order.
    ///
    /// # Errors
    /// What the hypercall says.
    fn pcpu_times(&self) -> Result<Vec<PcpuTime>, XenError>;

    /// The hypervisor's version.
    ///
    /// # Errors
    /// What the hypercall says.
    fn version(&self) -> Result<XenVersion, XenError>;
}
