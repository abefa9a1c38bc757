//! Orphans: VMs that agents run and the manager does not know, such as those of a store that was lost, or of a host of another pool.

use serde::{Deserialize, Serialize};

use super::vm::VmPhase;

/// To the manager: all orphans on the hosts that are heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOrphans {}

/// To the manager: destroy an orphan. Nobody can get it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyOrphan {
    /// The host that has it: id or name.
    #[serde(rename = "@host")]
    pub host: String,
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
}

/// A VM that a host runs and the manager does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The host, by name.
    #[serde(rename = "@host")]
    pub host: String,
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// What it does.
    #[serde(rename = "@phase")]
    pub phase: VmPhase,
    /// vCPUs online.
    #[serde(rename = "@vcpus-online")]
    pub vcpus_online: u32,
    /// Memory that it holds, charged to nobody.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// Xen's number of it on that host, for people who look there.
    #[serde(rename = "@domid", default, skip_serializing_if = "Option::is_none")]
    pub domid: Option<u16>,
}

/// All orphans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// In order of host and id.
    #[serde(rename = "Orphan", default)]
    pub orphans: Vec<Orphan>,
}
