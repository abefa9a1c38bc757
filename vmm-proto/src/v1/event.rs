//! Events: what has changed since a cursor, each object once, as it is now.

use serde::{Deserialize, Serialize};

use super::group::Group;
use super::host::Host;
use super::place::{Pool, Site};
use super::task::Task;
use super::vm::Vm;

fn yes() -> bool {
    true
}

/// To the manager: what has changed since the cursor? Answers when something has, or after the wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitEvents {
    /// From the last [`Events`]; empty: everything there is.
    #[serde(rename = "@cursor")]
    pub cursor: String,
    /// Answer after this time even when nothing has.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
    /// At most so many objects.
    #[serde(rename = "@count-max")]
    pub count_max: u32,
    /// Are hosts of interest?
    #[serde(rename = "@hosts", default = "yes")]
    pub hosts: bool,
    /// Are VMs of interest?
    #[serde(rename = "@vms", default = "yes")]
    pub vms: bool,
    /// Are tasks of interest?
    #[serde(rename = "@tasks", default = "yes")]
    pub tasks: bool,
    /// Are pools of interest? Not when it is not said: older clients know none.
    #[serde(rename = "@pools", default, skip_serializing_if = "std::ops::Not::not")]
    pub pools: bool,
    /// Are sites of interest? Likewise.
    #[serde(rename = "@sites", default, skip_serializing_if = "std::ops::Not::not")]
    pub sites: bool,
    /// Are groups of VMs of interest? Likewise.
    #[serde(rename = "@groups", default, skip_serializing_if = "std::ops::Not::not")]
    pub groups: bool,
}

/// What kind of object is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A host.
    Host,
    /// A VM.
    Vm,
    /// A task; the oldest are forgotten.
    Task,
    /// A pool.
    Pool,
    /// A site.
    Site,
    /// A group of VMs.
    Group,
}

/// An object that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// What it was.
    #[serde(rename = "@object")]
    pub object: ObjectKind,
    /// Its id.
    #[serde(rename = "@id")]
    pub id: String,
}

/// What has changed. Changes of one object are one: its latest state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// For the next call.
    #[serde(rename = "@cursor")]
    pub cursor: String,
    /// The cursor was too old, or another manager's: everything comes anew, and what does not come is gone.
    #[serde(rename = "@resync")]
    pub resync: bool,
    /// There is more: ask on at once.
    #[serde(rename = "@more")]
    pub more: bool,
    /// Hosts that are new or changed.
    #[serde(rename = "Host", default)]
    pub hosts: Vec<Host>,
    /// VMs that are new or changed.
    #[serde(rename = "Vm", default)]
    pub vms: Vec<Vm>,
    /// Tasks that are new or changed.
    #[serde(rename = "Task", default)]
    pub tasks: Vec<Task>,
    /// Pools that are new or changed; their sums change without an event.
    #[serde(rename = "Pool", default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// Sites that are new or changed; their sums change without an event.
    #[serde(rename = "Site", default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<Site>,
    /// Groups of VMs that are new or changed, or whose VMs are elsewhere.
    #[serde(rename = "Group", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Objects that are no more.
    #[serde(rename = "Gone", default)]
    pub gone: Vec<Gone>,
}
