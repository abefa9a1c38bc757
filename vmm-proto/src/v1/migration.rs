//! Live migration: a VM that runs moves to another host. The manager tells both agents; the agent that sends asks the one that receives.
//!
//! ```text
//!   client ── MigrateVm, PlanMigration ──► manager ── ReceiveVm, SettleMigration ──► agent of the destination
//!                                             │                                          ▲  AwaitMigration, SettleMigration (abort)
//!                                             └── SendVm, SettleMigration ──► agent of the source
//! ```
//!
//! A migration's id is 32 lowercase hex digits that the manager chose at random. It is the id of the bulk transfer too, so nobody else can know it.

use serde::{Deserialize, Serialize};

use super::plan::{RefusedHost, Way};
use super::vm::Spec;

/// To an agent: get ready for a VM that comes from another host, and wait for its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveVm {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// The name of the host that it comes from, for which its agent's certificate was issued: only that one may send, and ask.
    #[serde(rename = "@source")]
    pub source: String,
    /// Memory that its guest has now.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// vCPUs online now.
    #[serde(rename = "@vcpus-online")]
    pub vcpus_online: u32,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
}

/// To an agent: send a VM that runs to another host, which is ready for it. Answered with [`Offered`] when all of it is there and the guest stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendVm {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// The name of the host that it goes to, for which its agent's certificate was issued.
    #[serde(rename = "@destination")]
    pub destination: String,
    /// Where that host's agent listens: `host:port`.
    #[serde(rename = "@address")]
    pub address: String,
    /// How long all of it may take. After that the guest is stopped if `downtime-ms-max` allows it, and goes on where it is otherwise.
    #[serde(rename = "@deadline-ms")]
    pub deadline_ms: u64,
    /// How long the guest may stand still.
    #[serde(rename = "@downtime-ms-max")]
    pub downtime_ms_max: u64,
    /// How much of its time the guest may lose to being slowed down; 5000 when it is not said.
    #[serde(rename = "@slowdown-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub slowdown_ms_max: Option<u64>,
    /// The most that may be sent; without a cap when it is not said, or 0.
    #[serde(rename = "@bandwidth-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bytes_per_s: Option<u64>,
}

/// What becomes of a VM that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationVerdict {
    /// It is the destination's: that one starts it, the source destroys its copy.
    Commit,
    /// It is the source's: that one lets it go on, the destination discards its copy.
    Abort,
}

/// To an agent: the verdict on a migration, told as often as anybody likes. An agent may tell another to abort, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleMigration {
    /// The VM's id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// What becomes of the VM.
    #[serde(rename = "@verdict")]
    pub verdict: MigrationVerdict,
}

/// To an agent: answer when the migration's stage has changed, or after the wait at the latest. From the manager, and from the agent at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitMigration {
    /// The VM's id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// Answer after this time even when nothing has changed.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
    /// Of a VM that has arrived and runs: answer when it uses its devices again.
    #[serde(rename = "@devices", default, skip_serializing_if = "std::ops::Not::not")]
    pub devices: bool,
}

/// A destination is ready for the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiving {
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
}

/// All of a VM is at the destination; its guest stands still at the source, which waits for the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// Memory of the guest.
    #[serde(rename = "@ram-bytes")]
    pub ram_bytes: u64,
    /// What travelled.
    #[serde(rename = "@sent-bytes")]
    pub sent_bytes: u64,
    /// How often what was written meanwhile was collected.
    #[serde(rename = "@rounds")]
    pub rounds: u32,
    /// From the request until now.
    #[serde(rename = "@elapsed-ms")]
    pub elapsed_ms: u64,
    /// How long the guest has stood still so far.
    #[serde(rename = "@downtime-ms")]
    pub downtime_ms: u64,
    /// Time of the guest's that a brake took.
    #[serde(rename = "@lost-ms")]
    pub lost_ms: u64,
}

/// How far an agent is with a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MigrationStage {
    /// Destination: it waits for the stream, or reads it.
    Receiving,
    /// Destination: all is there. It waits for the verdict.
    Ready,
    /// Destination: it was told to commit, and the VM runs here.
    Started,
    /// Destination: there is nothing, and there will be nothing.
    Discarded,
    /// Source: the VM runs here and is being sent.
    Sending,
    /// Source: the guest stands still and waits for the verdict.
    Offered,
    /// Source: its copy is destroyed; the VM is the destination's.
    Gone,
    /// Source: the guest goes on here.
    Resumed,
}

/// How far an agent is with a migration, and why when it came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationState {
    /// The migration's id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// How far.
    #[serde(rename = "@stage")]
    pub stage: MigrationStage,
    /// In words, when it came to nothing.
    #[serde(rename = "@reason", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Destination: from when all of it was there until it ran.
    #[serde(rename = "@started-ms", default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// Destination: what the guest does with its devices since it runs.
    #[serde(rename = "ReturnedDevice", default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<ReturnedDevice>,
}

/// A device of a VM that runs at its destination; times from when it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedDevice {
    /// As people know it: `disk xvda`, `NIC 0`.
    #[serde(rename = "@name")]
    pub name: String,
    /// Until the guest used it again; missing while it does not.
    #[serde(rename = "@used-ms", default, skip_serializing_if = "Option::is_none")]
    pub used_ms: Option<u64>,
    /// A NIC: until the guest was heard on its network, which it tells where it is now; missing while it is silent.
    #[serde(rename = "@heard-ms", default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
}

/// Which end of a migration a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationRole {
    /// The VM is there, and leaves.
    Source,
    /// It comes.
    Destination,
}

/// What the source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationActivity {
    /// The guest gives back what it does not need.
    Compact,
    /// Writes begin to be logged.
    Log,
    /// Every page goes once.
    FirstPass,
    /// What was written meanwhile follows.
    Sprint,
    /// The guest suspends.
    Stopping,
    /// It stands still, and what is left follows.
    Rest,
    /// For the other end, or for the verdict.
    Waiting,
}

/// A migration of a VM as one end of it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Its id.
    #[serde(rename = "@migration")]
    pub migration: String,
    /// Which end.
    #[serde(rename = "@role")]
    pub role: MigrationRole,
    /// The name of the host at the other end.
    #[serde(rename = "@peer")]
    pub peer: String,
    /// How far.
    #[serde(rename = "@stage")]
    pub stage: MigrationStage,
    /// What the source is doing; a destination does not say.
    #[serde(rename = "@activity", default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<MigrationActivity>,
    /// How often what was written meanwhile was collected.
    #[serde(rename = "@rounds")]
    pub rounds: u32,
    /// What has travelled.
    #[serde(rename = "@sent-bytes")]
    pub sent_bytes: u64,
    /// What is left to travel, before it is packed.
    #[serde(rename = "@left-bytes")]
    pub left_bytes: u64,
    /// What the guest writes; missing while that is not known.
    #[serde(rename = "@dirty-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub dirty_bytes_per_s: Option<u64>,
    /// How long the guest would stand still if it were stopped now, or has stood still.
    #[serde(rename = "@downtime-ms", default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// How long it will take from now on.
    #[serde(rename = "@left-ms", default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// How much of the guest's processor time is withheld; none when it is not said.
    #[serde(rename = "@brake-percent", default, skip_serializing_if = "Option::is_none")]
    pub brake_percent: Option<u32>,
}

/// A directory in which files are the same on every host that reports one of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedStore {
    /// Which.
    #[serde(rename = "@name")]
    pub name: String,
    /// Where it is on this host: an absolute path.
    #[serde(rename = "@path")]
    pub path: String,
}

/// To the manager: move a VM that runs to another host of its pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Where to, by id or name; wherever it costs least when it is not said.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How long the guest may stand still.
    #[serde(rename = "@downtime-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms_max: Option<u64>,
    /// How much of its time the guest may lose to being slowed down.
    #[serde(rename = "@slowdown-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub slowdown_ms_max: Option<u64>,
    /// How long it may be copied.
    #[serde(rename = "@deadline-s", default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The most that may be sent.
    #[serde(rename = "@bandwidth-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bytes_per_s: Option<u64>,
}

/// To the manager: take a host out of use. Nothing new comes to it, and the VMs on it move to other hosts of its pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvacuateHost {
    /// Id or name.
    #[serde(rename = "@host")]
    pub host: String,
    /// Only say who would go where: the answer is a plan.
    #[serde(rename = "@dry-run")]
    pub dry_run: bool,
    /// Moves at the same time; 2 when it is not said.
    #[serde(rename = "@at-once", default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// How long each guest may stand still.
    #[serde(rename = "@downtime-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms_max: Option<u64>,
    /// How much of its time the guest may lose to being slowed down.
    #[serde(rename = "@slowdown-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub slowdown_ms_max: Option<u64>,
    /// How long each may be copied.
    #[serde(rename = "@deadline-s", default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The most that may be sent for each of them.
    #[serde(rename = "@bandwidth-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bytes_per_s: Option<u64>,
}

/// To the manager: what [`MigrateVm`] would do. Nothing is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanMigration {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Where to, by id or name; wherever it costs least when it is not said.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How long the guest may stand still.
    #[serde(rename = "@downtime-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms_max: Option<u64>,
    /// How much of its time the guest may lose to being slowed down.
    #[serde(rename = "@slowdown-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub slowdown_ms_max: Option<u64>,
    /// How long it may be copied.
    #[serde(rename = "@deadline-s", default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The most that may be sent.
    #[serde(rename = "@bandwidth-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bytes_per_s: Option<u64>,
}

/// Where a VM would move, and why nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MigrationPlan {
    /// The VM's id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The VM's name.
    #[serde(rename = "@vm-name")]
    pub vm_name: String,
    /// The name of the host that it is on.
    #[serde(rename = "@source")]
    pub source: String,
    /// The name of the host that it would move to; missing when none can take it.
    #[serde(rename = "@destination", default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How long the guest may stand still.
    #[serde(rename = "@downtime-ms-max")]
    pub downtime_ms_max: u64,
    /// How long it may be copied.
    #[serde(rename = "@deadline-s")]
    pub deadline_s: u64,
    /// The hosts that could take it, the best first.
    #[serde(rename = "Way", default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// Hosts that cannot, and why.
    #[serde(rename = "RefusedHost", default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedHost>,
}
