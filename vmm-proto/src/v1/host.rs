//! Hosts: the manager's inventory of them, and what an agent reports of itself.

use serde::{Deserialize, Serialize};

use super::label::Tag;
use super::list::list_request;
use super::migration::{Migration, SharedStore};
use super::place::Capacity;
use super::vm::{VmPhase, VmRates};

/// To the manager: take a host into the pool. Its agent must be reachable, or the host joins when it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddHost {
    /// The name that its agent's certificate was issued for.
    #[serde(rename = "@name")]
    pub name: String,
    /// Where its agent listens: `address:port`.
    #[serde(rename = "@address")]
    pub address: String,
    /// The pool that it comes into, by id or name; the first one when it is not said.
    #[serde(rename = "@pool", default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// To the manager: forget a host without VMs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveHost {
    /// Id or name.
    #[serde(rename = "@host")]
    pub host: String,
}

/// To the manager: switch placements on a host off or on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMaintenance {
    /// Id or name.
    #[serde(rename = "@host")]
    pub host: String,
    /// Off or on.
    #[serde(rename = "@maintenance")]
    pub maintenance: bool,
}

list_request! {
    /// To the manager: hosts. All of them in one answer, when nothing is said.
    ListHosts;
}

/// A host by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRef {
    /// Its id.
    #[serde(rename = "@host")]
    pub host: String,
}

/// Is the host heard?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostHealth {
    /// Not since the manager started.
    Unknown,
    /// Yes.
    Up,
    /// Not lately.
    Silent,
}

/// What a host has, as its agent reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Physical CPUs.
    #[serde(rename = "@pcpus")]
    pub pcpus: u32,
    /// Memory for VMs.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// What its disks sustain.
    #[serde(rename = "@disk-bytes-per-s")]
    pub disk_bytes_per_s: u64,
    /// Requests a second that its disks serve; not counted when it is not said.
    #[serde(rename = "@disk-requests-per-s", default, skip_serializing_if = "Option::is_none")]
    pub disk_requests_per_s: Option<u64>,
    /// What its network carries, both ways together; not counted when it is not said.
    #[serde(rename = "@network-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub network_bytes_per_s: Option<u64>,
    /// Where agents of other hosts reach this one, as `host:port`; as the manager does when it is not said.
    #[serde(rename = "@migration-address", default, skip_serializing_if = "Option::is_none")]
    pub migration_address: Option<String>,
    /// What a guest may be promised of its processors at most: Xen's feature sets as hexadecimal words with `-` between them.
    #[serde(rename = "@cpu-features", default, skip_serializing_if = "Option::is_none")]
    pub cpu_features: Option<String>,
    /// Whether its Xen logs what PV guests write. Where it does not, a PV guest stands still while it is copied. Not said: it does.
    #[serde(rename = "@logs-pv", default, skip_serializing_if = "Option::is_none")]
    pub logs_pv: Option<bool>,
    /// Such as `4.17.7`, or `simulated`.
    #[serde(rename = "@xen-version")]
    pub xen_version: String,
    /// `libxc` or `simulator`: a stand-in never passes for the real thing.
    #[serde(rename = "@backend")]
    pub backend: String,
    /// Version of the agent.
    #[serde(rename = "@agent-version")]
    pub agent_version: String,
}

/// What a host uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Busy CPUs in thousandths.
    #[serde(rename = "@cpu-milli")]
    pub cpu_milli: u64,
    /// Memory that Xen has free.
    #[serde(rename = "@memory-free-kib")]
    pub memory_free_kib: u64,
    /// Disk throughput of its VMs.
    #[serde(rename = "@disk-bytes-per-s")]
    pub disk_bytes_per_s: u64,
    /// Prepared VMs that wait to be taken. Their memory counts as free for VMs: they give way.
    #[serde(rename = "@shell-count", default)]
    pub shell_count: u32,
    /// Memory that they hold.
    #[serde(rename = "@shell-memory-kib", default)]
    pub shell_memory_kib: u64,
}

/// A host of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    #[serde(rename = "@host")]
    pub host: String,
    /// Its name.
    #[serde(rename = "@name")]
    pub name: String,
    /// Where its agent listens.
    #[serde(rename = "@address")]
    pub address: String,
    /// Is it heard?
    #[serde(rename = "@health")]
    pub health: HostHealth,
    /// Time since the last report.
    #[serde(rename = "@heard-ms-ago", default, skip_serializing_if = "Option::is_none")]
    pub heard_ms_ago: Option<u64>,
    /// Takes no new VM.
    #[serde(rename = "@maintenance")]
    pub maintenance: bool,
    /// VMs placed on it.
    #[serde(rename = "@vm-count")]
    pub vm_count: u64,
    /// Memory reserved on it.
    #[serde(rename = "@memory-reserved-kib")]
    pub memory_reserved_kib: u64,
    /// Processor time reserved on it, in thousandths of a CPU.
    #[serde(rename = "@cpu-reserved-milli")]
    pub cpu_reserved_milli: u64,
    /// Disk throughput reserved on it.
    #[serde(rename = "@disk-reserved-bytes-per-s")]
    pub disk_reserved_bytes_per_s: u64,
    /// Its pool, by name.
    #[serde(rename = "@pool", default, skip_serializing_if = "String::is_empty")]
    pub pool: String,
    /// The site of that pool, by name.
    #[serde(rename = "@site", default, skip_serializing_if = "String::is_empty")]
    pub site: String,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// What it has; missing until its agent was heard once.
    #[serde(rename = "Facts", default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<HostFacts>,
    /// What it uses; missing until its agent was heard since the manager started.
    #[serde(rename = "Load", default, skip_serializing_if = "Option::is_none")]
    pub load: Option<HostLoad>,
    /// Its tags, in order.
    #[serde(rename = "Tag", default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// Hosts: all, or a page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// Ask for those after this; missing on the last page.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Of all that are wanted, on this page or not; when totals were asked for.
    #[serde(rename = "Totals", default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Capacity>,
    /// In the order that was asked for.
    #[serde(rename = "Host", default)]
    pub hosts: Vec<Host>,
}

/// To an agent: report when something has changed since `cursor`, or after the wait at the latest. The heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitReport {
    /// From the last report; empty for the first.
    #[serde(rename = "@cursor")]
    pub cursor: String,
    /// Answer after this time even when nothing has changed.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// What an agent reports: always all of it, so that a lost report costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReport {
    /// For the next [`AwaitReport`]; starts anew when the agent does.
    #[serde(rename = "@cursor")]
    pub cursor: String,
    /// The host's id, kept by the agent on its disk.
    #[serde(rename = "@host")]
    pub host: String,
    /// What the host has.
    #[serde(rename = "Facts")]
    pub facts: HostFacts,
    /// What it uses.
    #[serde(rename = "Load")]
    pub load: HostLoad,
    /// Directories that this host has in common with others.
    #[serde(rename = "SharedStore", default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<SharedStore>,
    /// The VMs that the agent knows.
    #[serde(rename = "ReportedVm", default)]
    pub vms: Vec<ReportedVm>,
}

/// A VM in an agent's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedVm {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Grows with each change on this host.
    #[serde(rename = "@generation")]
    pub generation: u64,
    /// What it does.
    #[serde(rename = "@phase")]
    pub phase: VmPhase,
    /// In words, when it stopped by itself or failed.
    #[serde(rename = "@reason", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// vCPUs online in the guest.
    #[serde(rename = "@vcpus-online")]
    pub vcpus_online: u32,
    /// Memory that it holds.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// Xen's number of it on this host, for people who look there; never an identity.
    #[serde(rename = "@domid", default, skip_serializing_if = "Option::is_none")]
    pub domid: Option<u16>,
    /// What it was promised of its processor, as in [`HostFacts::cpu_features`]: a host that has less cannot take it while it runs.
    #[serde(rename = "@cpu-features", default, skip_serializing_if = "Option::is_none")]
    pub cpu_features: Option<String>,
    /// What it was measured to use, of the samples that the agent takes anyway. It comes with every report, and none is sent for its sake.
    #[serde(rename = "Rates", default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<VmRates>,
    /// It moves, or has moved and the agent waits to hear that this is known.
    #[serde(rename = "Migration", default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}
