//! The records, as they are stored and as they are held in memory.
//!
//! Quantities and phases are the wire's types, which are made to be written down; ids are typed.

use serde::{Deserialize, Serialize};
use vmm_core::host::{Reservation, ReservationReason};
use vmm_core::id::{GroupId, HostId, PoolId, SiteId, TaskId, VmId};
use vmm_core::task::Position;
use vmm_core::task::turns::Lane;
use vmm_core::units::{BytesPerSecond, Kib, MilliCpu};
use vmm_core::vm::VmState;
use vmm_proto::v1;

use crate::workflow::Plan;

/// A host of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostRecord {
    #[serde(with = "text")]
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) maintenance: bool,
    /// What its agent called itself when it was first heard: another one is another machine.
    pub(crate) machine: Option<String>,
    pub(crate) facts: Option<v1::HostFacts>,
    #[serde(with = "text", default = "first_pool")]
    pub(crate) pool: PoolId,
    #[serde(default)]
    pub(crate) labels: Labels,
}

/// Where hosts are that older managers knew.
fn first_pool() -> PoolId {
    PoolId::FIRST
}

/// What people have written on a host or a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Labels {
    /// In order, each once.
    pub(crate) tags: Vec<String>,
    /// From the root without a slash at the end; empty is the root. Only of VMs.
    pub(crate) folder: String,
    pub(crate) notes: String,
}

/// A site or a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PlaceRecord {
    Site(SiteRecord),
    Pool(PoolRecord),
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceId {
    Site(SiteId),
    Pool(PoolId),
}

/// A network and a domain of trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SiteRecord {
    #[serde(with = "text")]
    pub(crate) id: SiteId,
    pub(crate) name: String,
    pub(crate) notes: String,
}

/// Hosts between which VMs may move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolRecord {
    #[serde(with = "text")]
    pub(crate) id: PoolId,
    pub(crate) name: String,
    #[serde(with = "text")]
    pub(crate) site: SiteId,
    pub(crate) notes: String,
    /// What becomes of moves that would pay in it.
    #[serde(default)]
    pub(crate) rebalance: v1::Rebalance,
}

impl PlaceRecord {
    pub(crate) fn id(&self) -> PlaceId {
        match self {
            Self::Site(site) => PlaceId::Site(site.id),
            Self::Pool(pool) => PlaceId::Pool(pool.id),
        }
    }
}

impl PlaceId {
    /// Its key in the table of places.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Site(id) => format!("site {id}"),
            Self::Pool(id) => format!("pool {id}"),
        }
    }
}

/// VMs that shall be on one host, or on different ones; theirs say that they are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    #[serde(with = "text")]
    pub(crate) id: GroupId,
    pub(crate) name: String,
    pub(crate) rule: v1::GroupKind,
    /// A wish, not a must.
    pub(crate) soft: bool,
    pub(crate) notes: String,
}

/// A VM of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VmRecord {
    #[serde(with = "text")]
    pub(crate) id: VmId,
    /// Valid: it was a `VmSpec` before.
    pub(crate) spec: v1::Spec,
    pub(crate) phase: v1::VmPhase,
    pub(crate) reason: String,
    /// The host that has, or may have, its domain. A VM that has one is started nowhere else.
    #[serde(with = "optional_text")]
    pub(crate) host: Option<HostId>,
    /// The host that had it last; its console is read there.
    #[serde(with = "optional_text")]
    pub(crate) last_host: Option<HostId>,
    /// What it is charged on its host.
    pub(crate) charge: Option<Charge>,
    /// What its balloon was last told.
    pub(crate) memory_target_kib: u64,
    /// vCPUs that were asked for since it was built; none: those that it boots with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vcpus_target: Option<u32>,
    /// Where its memory is saved, while it is `Saved` or being restored; or shall be, while it is being saved.
    #[serde(default)]
    pub(crate) saved: Option<SavedState>,
    /// It moves between two hosts, one of which is `host`; or has, and the other may still have something of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moving: Option<Moving>,
    /// When it last started on another host, since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved_ms: Option<u64>,
    #[serde(default)]
    pub(crate) labels: Labels,
    /// The only hosts that it may be on; none: any of its pool.
    #[serde(default, with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub(crate) pin: Vec<HostId>,
    /// The groups that it is in. A VM that is forgotten is in none: nothing else says who is in a group.
    #[serde(default, with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<GroupId>,
}

impl VmRecord {
    pub(crate) fn state(&self) -> VmState {
        self.phase.into()
    }

    /// The end of its move that it is not at, whatever has become of it since.
    pub(crate) fn other_end(&self) -> Option<HostId> {
        let moving = self.moving.as_ref()?;
        Some(if moving.committed { moving.source } else { moving.destination })
    }

    /// What it is charged, and where: on its host, and while it moves on the other one, too.
    pub(crate) fn charges(&self) -> impl Iterator<Item = (HostId, Reservation)> {
        let here = self.host.zip(self.charge).map(|(host, charge)| (host, charge.into()));
        let other = self.other_end().zip(self.moving.as_ref()).map(|(host, moving)| {
            let incoming = host == moving.destination;
            let reason =
                if incoming { ReservationReason::Incoming } else { ReservationReason::Outgoing };
            (host, Reservation { reason, ..moving.charge.into() })
        });
        here.into_iter().chain(other)
    }
}

/// A VM's memory in a file, and what it needs to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedState {
    #[serde(with = "text")]
    pub(crate) host: HostId,
    /// On that host.
    pub(crate) path: String,
    /// What it was charged when it was saved: as much as it takes when it is restored.
    pub(crate) charge: Option<Charge>,
    /// What its balloon was told then.
    pub(crate) memory_target_kib: u64,
}

/// A move of a VM, while the host that it is not on is charged for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    /// The migration's id, as agents know it.
    pub(crate) migration: String,
    #[serde(with = "text")]
    pub(crate) source: HostId,
    #[serde(with = "text")]
    pub(crate) destination: HostId,
    /// It is the destination's. Of a move that no task makes any more: it has started there.
    #[serde(default)]
    pub(crate) committed: bool,
    /// What it is charged at the end that it is not at.
    pub(crate) charge: Charge,
}

/// A reservation, stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) cpu_milli: u64,
    pub(crate) memory_kib: u64,
    pub(crate) disk_bytes_per_s: u64,
    pub(crate) running: bool,
}

impl From<Charge> for Reservation {
    fn from(charge: Charge) -> Self {
        Reservation {
            cpu: MilliCpu(charge.cpu_milli),
            memory: Kib(charge.memory_kib),
            disk: BytesPerSecond(charge.disk_bytes_per_s),
            reason: if charge.running {
                ReservationReason::Running
            } else {
                ReservationReason::Start
            },
        }
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    #[serde(with = "text")]
    pub(crate) id: TaskId,
    #[serde(with = "text")]
    pub(crate) vm: VmId,
    /// Counts up with each task of the pool.
    pub(crate) number: u64,
    /// As callers see it, but for what the present decides: children, and its place among those that wait.
    pub(crate) shown: v1::Task,
    /// In records of older managers: the change of a definition that an agent was being told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told: Option<Told>,
    /// The host that it is carried out on.
    #[serde(default, with = "optional_text")]
    pub(crate) host: Option<HostId>,
    /// What is being done, until it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<Plan>,
    /// How far that is.
    #[serde(default)]
    pub(crate) course: Course,
    /// What was asked for, so that it can be asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Box<v1::Request>>,
    /// The task that it is a part of.
    #[serde(default, with = "optional_text")]
    pub(crate) parent: Option<TaskId>,
    /// The VMs that it is about, when they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) items: Vec<Item>,
    /// It empties its host, which was in maintenance before: so it stays when that is cancelled.
    #[serde(default)]
    pub(crate) was_in_maintenance: bool,
}

/// One of the VMs of a task that is about several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    #[serde(with = "text")]
    pub(crate) vm: VmId,
    /// As it was then.
    pub(crate) name: String,
    /// Where it shall go, when that was planned.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<HostId>,
}

/// How far a task has come: the workflow's position, and what the steps behind it have left open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Course {
    pub(crate) begun: usize,
    pub(crate) in_step: bool,
    pub(crate) rolling_back: bool,
    pub(crate) reached: usize,
    pub(crate) left_over: Vec<usize>,
    /// What the agent was told may have been done, or not.
    pub(crate) unresolved: bool,
    /// The VM was built, whatever became of it then.
    pub(crate) built: bool,
    /// Why it is being taken back.
    pub(crate) fault: Option<v1::Fault>,
}

impl Course {
    pub(crate) fn position(&self) -> Position {
        Position {
            begun: self.begun,
            in_step: self.in_step,
            rolling_back: self.rolling_back,
            reached: self.reached,
            left_over: self.left_over.clone(),
        }
    }

    /// At this position, and nothing left open.
    pub(crate) fn at(position: &Position) -> Self {
        Self {
            begun: position.begun,
            in_step: position.in_step,
            rolling_back: position.rolling_back,
            reached: position.reached,
            left_over: position.left_over.clone(),
            ..Self::default()
        }
    }
}

/// A change of a VM's definition that its agent is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) request: v1::Request,
    /// What takes it back.
    pub(crate) back: v1::Request,
    /// How long the agent may take for either.
    pub(crate) wait_ms: u64,
}

impl TaskRecord {
    pub(crate) fn is_over(&self) -> bool {
        self.shown.state.is_over()
    }

    /// Nothing of it was done beyond what was stored with it.
    pub(crate) fn is_queued(&self) -> bool {
        self.shown.state == v1::TaskState::Queued
    }

    /// The change of a definition that an agent is being told.
    pub(crate) fn told(&self) -> Option<&Told> {
        self.plan.as_ref().and_then(Plan::told)
    }

    /// Where it takes a place, while it is open.
    pub(crate) fn lane(&self) -> Option<Lane> {
        Some(Lane { host: self.host?, class: self.plan.as_ref()?.class() })
    }
}

/// A decision of the scheduler, with all that it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecisionRecord {
    /// Counts up with each decision.
    pub(crate) number: u64,
    /// Since 1970-01-01T00:00:00Z.
    pub(crate) at_ms: u64,
    pub(crate) question: v1::DecisionKind,
    /// The VM that it is about, and what that was called.
    #[serde(default, with = "optional_text")]
    pub(crate) vm: Option<VmId>,
    #[serde(default)]
    pub(crate) vm_name: Option<String>,
    #[serde(default, with = "optional_text")]
    pub(crate) task: Option<TaskId>,
    pub(crate) answer: String,
    /// What the scheduler was asked, as text: gzip, base64.
    pub(crate) made_of: String,
    /// What came of its moves, where the manager makes them by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) carried: Option<v1::CarryOut>,
}

/// What was answered to a change that had a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    /// Principal and key.
    pub(crate) key: String,
    /// Counts up with each key.
    pub(crate) number: u64,
    /// Of the request.
    pub(crate) digest: String,
    pub(crate) reply: KeyedReply,
    /// When, since 1970-01-01T00:00:00Z; 0 in records of older managers.
    #[serde(default)]
    pub(crate) at_ms: u64,
}

/// What is answered when the key comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyedReply {
    /// The task, as it is then.
    Task(String),
    /// The id of a host that was added.
    Host(String),
    /// Nothing more to say.
    Done,
}

mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(id: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        ids: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}

mod optional_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        id: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        id.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}
