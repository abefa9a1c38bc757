//! Sites and pools: where hosts are, and between which of them VMs may move.
//!
//! A site is a network and a domain of trust; a pool is some hosts of one site. One site and one pool are there from the beginning: hosts
//! that were put nowhere else are in them.

use serde::{Deserialize, Serialize};

use super::list::list_request;

/// To the manager: make a site, or change it. What is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefineSite {
    /// Its name; or to change one, its id.
    #[serde(rename = "@site")]
    pub site: String,
    /// It is there already, and shall be called so.
    #[serde(rename = "@new-name", default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// To the manager: forget a site without pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveSite {
    /// Id or name.
    #[serde(rename = "@site")]
    pub site: String,
}

/// What becomes of moves that would pay in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rebalance {
    /// Nobody looks for them.
    Off,
    /// They are looked for, counted and kept.
    #[default]
    Advise,
    /// The manager makes them, too.
    CarryOut,
}

/// To the manager: make a pool, or change it. What is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinePool {
    /// Its name; or to change one, its id.
    #[serde(rename = "@pool")]
    pub pool: String,
    /// It is there already, and shall be called so.
    #[serde(rename = "@new-name", default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// The site that it lies in, by id or name; a new one in the first site when it is not said.
    #[serde(rename = "@site", default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// What becomes of moves that would pay; a new one advises when it is not said.
    #[serde(rename = "@rebalance", default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<Rebalance>,
}

/// To the manager: forget a pool without hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovePool {
    /// Id or name.
    #[serde(rename = "@pool")]
    pub pool: String,
}

/// To the manager: put a host into a pool. Nothing may be on it, unless it is in that pool already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHostPool {
    /// Id or name.
    #[serde(rename = "@host")]
    pub host: String,
    /// Id or name.
    #[serde(rename = "@pool")]
    pub pool: String,
}

list_request! {
    /// To the manager: sites.
    ListSites;
    /// To the manager: pools.
    ListPools;
}

/// What some hosts have and use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// How many they are.
    #[serde(rename = "@host-count")]
    pub host_count: u64,
    /// Of these, those that are heard.
    #[serde(rename = "@host-up-count")]
    pub host_up_count: u64,
    /// VMs on them.
    #[serde(rename = "@vm-count")]
    pub vm_count: u64,
    /// Physical CPUs.
    #[serde(rename = "@pcpus")]
    pub pcpus: u64,
    /// Processor time reserved, in thousandths of a CPU.
    #[serde(rename = "@cpu-reserved-milli")]
    pub cpu_reserved_milli: u64,
    /// Busy CPUs in thousandths, as measured last.
    #[serde(rename = "@cpu-used-milli")]
    pub cpu_used_milli: u64,
    /// Memory for VMs.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// Of this, reserved.
    #[serde(rename = "@memory-reserved-kib")]
    pub memory_reserved_kib: u64,
    /// What their disks sustain.
    #[serde(rename = "@disk-bytes-per-s")]
    pub disk_bytes_per_s: u64,
    /// Of this, reserved.
    #[serde(rename = "@disk-reserved-bytes-per-s")]
    pub disk_reserved_bytes_per_s: u64,
    /// Disk throughput of their VMs, as measured last.
    #[serde(rename = "@disk-used-bytes-per-s")]
    pub disk_used_bytes_per_s: u64,
}

/// A site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its id.
    #[serde(rename = "@site")]
    pub site: String,
    /// Its name.
    #[serde(rename = "@name")]
    pub name: String,
    /// The one that was there from the beginning: it cannot be removed.
    #[serde(rename = "@first")]
    pub first: bool,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Pools in it.
    #[serde(rename = "@pool-count")]
    pub pool_count: u64,
    /// Of all hosts in them.
    #[serde(rename = "Capacity")]
    pub capacity: Capacity,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its id.
    #[serde(rename = "@pool")]
    pub pool: String,
    /// Its name.
    #[serde(rename = "@name")]
    pub name: String,
    /// Its site, by name.
    #[serde(rename = "@site")]
    pub site: String,
    /// The one that was there from the beginning: hosts that join come into it, and it cannot be removed.
    #[serde(rename = "@first")]
    pub first: bool,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Moves that would pay, as the manager found when it looked last; missing when none would.
    #[serde(rename = "@advised-moves", default, skip_serializing_if = "Option::is_none")]
    pub advised_moves: Option<u64>,
    /// What becomes of them.
    #[serde(rename = "@rebalance", default)]
    pub rebalance: Rebalance,
    /// Of its hosts.
    #[serde(rename = "Capacity")]
    pub capacity: Capacity,
}

/// A page of sites.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sites {
    /// Ask for those after this; missing on the last page.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// All that are wanted, on this page or not; when totals were asked for.
    #[serde(rename = "@count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// In the order that was asked for.
    #[serde(rename = "Site", default)]
    pub sites: Vec<Site>,
}

/// A page of pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    /// Ask for those after this; missing on the last page.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// All that are wanted, on this page or not; when totals were asked for.
    #[serde(rename = "@count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// In the order that was asked for.
    #[serde(rename = "Pool", default)]
    pub pools: Vec<Pool>,
}
