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
    /// On a physical CPU at the time of the sample.
    #[serde(rename = "@running", default)]
    pub running: bool,
    /// Waiting for an event at the time of the sample; neither this nor running: it waits for a CPU.
    #[serde(rename = "@blocked", default)]
    pub blocked: bool,
    /// The CPU that it ran on last.
    #[serde(rename = "@pcpu", default)]
    pub pcpu: u32,
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
    /// Requests that failed, when the backend counts them.
    #[serde(rename = "@errors", default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
}

/// A NIC's counters since it was attached, as the guest sees them: it sends what the backend receives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicCounters {
    /// Its number.
    #[serde(rename = "@index")]
    pub index: u32,
    /// Bytes that the guest received.
    #[serde(rename = "@received-bytes")]
    pub received_bytes: u64,
    /// Packets that the guest received.
    #[serde(rename = "@received-packets")]
    pub received_packets: u64,
    /// Packets for the guest that were dropped.
    #[serde(rename = "@received-drops")]
    pub received_drops: u64,
    /// Bytes that the guest sent.
    #[serde(rename = "@sent-bytes")]
    pub sent_bytes: u64,
    /// Packets that the guest sent.
    #[serde(rename = "@sent-packets")]
    pub sent_packets: u64,
    /// Packets of the guest that were dropped.
    #[serde(rename = "@sent-drops")]
    pub sent_drops: u64,
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
    /// Memory that the guest says is free in it, when it says so.
    #[serde(rename = "@memory-guest-free-kib", default, skip_serializing_if = "Option::is_none")]
    pub memory_guest_free_kib: Option<u64>,
    /// Throughput of all disks since the sample before.
    #[serde(rename = "@disk-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_s: Option<u64>,
    /// Throughput of all NICs, both ways, since the sample before.
    #[serde(rename = "@network-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub network_bytes_per_s: Option<u64>,
    /// Each vCPU.
    #[serde(rename = "Vcpu", default)]
    pub vcpus: Vec<Vcpu>,
    /// Each disk.
    #[serde(rename = "Disk", default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskCounters>,
    /// Each NIC.
    #[serde(rename = "Nic", default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<NicCounters>,
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
    /// How busy it was since the sample before, in thousandths.
    #[serde(rename = "@busy-milli", default, skip_serializing_if = "Option::is_none")]
    pub busy_milli: Option<u64>,
}

/// A disk of the host's: counters since it booted, and what they came to since the sample before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDisk {
    /// Its name in dom0.
    #[serde(rename = "@device")]
    pub device: String,
    /// Requests read.
    #[serde(rename = "@reads")]
    pub reads: u64,
    /// Requests written.
    #[serde(rename = "@writes")]
    pub writes: u64,
    /// Bytes read.
    #[serde(rename = "@read-bytes")]
    pub read_bytes: u64,
    /// Bytes written.
    #[serde(rename = "@written-bytes")]
    pub written_bytes: u64,
    /// Throughput.
    #[serde(rename = "@bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
    /// Mean time of a request, from its arrival to its end; missing when there was none.
    #[serde(rename = "@latency-us", default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
}

/// A network interface of the host's, guests' backends left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNic {
    /// Its name in dom0.
    #[serde(rename = "@device")]
    pub device: String,
    /// Bytes received since the host booted.
    #[serde(rename = "@received-bytes")]
    pub received_bytes: u64,
    /// Bytes sent.
    #[serde(rename = "@sent-bytes")]
    pub sent_bytes: u64,
    /// Packets dropped, both ways.
    #[serde(rename = "@drops")]
    pub drops: u64,
    /// Throughput both ways since the sample before.
    #[serde(rename = "@bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
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
    /// Such as `4.17.7`.
    #[serde(rename = "@xen-version", default, skip_serializing_if = "String::is_empty")]
    pub xen_version: String,
    /// Kinds of guests, as Xen lists them.
    #[serde(rename = "@xen-capabilities", default, skip_serializing_if = "String::is_empty")]
    pub xen_capabilities: String,
    /// Each physical CPU.
    #[serde(rename = "Pcpu", default)]
    pub pcpus: Vec<Pcpu>,
    /// Each disk of dom0's.
    #[serde(rename = "Disk", default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<HostDisk>,
    /// Each physical interface and bridge of dom0's.
    #[serde(rename = "Nic", default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<HostNic>,
}
