//! Statistics: counters as Xen and dom0 keep them, and the rates since the sample before.

use serde::{Deserialize, Serialize};

/// A VM's statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetVmStats {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
}

/// A host's statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetHostStats {
    /// Id or name; to an agent, its own host whatever is said.
    #[serde(rename = "@host")]
    pub host: String,
}

/// One vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpu {
    /// Its number.
    #[serde(rename = "@index")]
    pub index: u32,
    /// Brought up by the guest.
    #[serde(rename = "@online")]
    pub online: bool,
    /// Time on physical CPUs since the VM started.
    #[serde(rename = "@cpu-time-ns")]
    pub cpu_time_ns: u64,
}

/// A disk's counters since the VM started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounters {
    /// Its name in the guest.
    #[serde(rename = "@device")]
    pub device: String,
    /// Read requests.
    #[serde(rename = "@reads")]
    pub reads: u64,
    /// Write requests.
    #[serde(rename = "@writes")]
    pub writes: u64,
    /// Bytes read.
    #[serde(rename = "@read-bytes")]
    pub read_bytes: u64,
    /// Bytes written.
    #[serde(rename = "@written-bytes")]
    pub written_bytes: u64,
}

/// A VM's statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStats {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// When, on the host's monotonic clock.
    #[serde(rename = "@at-ms")]
    pub at_ms: u64,
    /// CPUs used since the sample before, in thousandths.
    #[serde(rename = "@cpu-milli", default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// CPU time of all vCPUs since the VM started.
    #[serde(rename = "@cpu-time-ns")]
    pub cpu_time_ns: u64,
    /// Memory that it holds.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// What its balloon is told to aim at.
    #[serde(rename = "@memory-target-kib")]
    pub memory_target_kib: u64,
    /// What it may hold.
    #[serde(rename = "@memory-max-kib")]
    pub memory_max_kib: u64,
    /// Disk throughput since the sample before.
    #[serde(rename = "@disk-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_s: Option<u64>,
    /// Each vCPU.
    #[serde(rename = "Vcpu", default)]
    pub vcpus: Vec<Vcpu>,
    /// Its disk.
    #[serde(rename = "Disk", default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskCounters>,
}

/// One physical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pcpu {
    /// Its number.
    #[serde(rename = "@index")]
    pub index: u32,
    /// Time it was idle since Xen booted.
    #[serde(rename = "@idle-ns")]
    pub idle_ns: u64,
}

/// A host's statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStats {
    /// When, on its monotonic clock.
    #[serde(rename = "@at-ms")]
    pub at_ms: u64,
    /// Busy CPUs since the sample before, in thousandths.
    #[serde(rename = "@cpu-milli", default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// All memory that Xen manages.
    #[serde(rename = "@memory-total-kib")]
    pub memory_total_kib: u64,
    /// Memory that Xen has free.
    #[serde(rename = "@memory-free-kib")]
    pub memory_free_kib: u64,
    /// Disk throughput of all VMs since the sample before.
    #[serde(rename = "@disk-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_s: Option<u64>,
    /// Each physical CPU.
    #[serde(rename = "Pcpu", default)]
    pub pcpus: Vec<Pcpu>,
}
