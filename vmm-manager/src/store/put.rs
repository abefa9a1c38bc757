//! Records as rows: each is a JSON value under its kind and id, so that a person who has lost everything else can read them.
//!
//! ```text
//!   /smps-vmm/schema            /smps-vmm/host/ID   /smps-vmm/task/ID
//!   /smps-vmm/manager: owner    /smps-vmm/vm/ID     /smps-vmm/key/PRINCIPAL KEY
//!   /smps-vmm/decision/NUMBER   /smps-vmm/place/ID
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use vmm_core::id::{GroupId, HostId, TaskId, VmId};

use super::error::{StoreError, failed};
use super::kv::{Key, KeyValue, Operation, Range};
use super::{
    DecisionRecord, GroupRecord, HostRecord, KeyRecord, PlaceId, PlaceRecord, TaskRecord, VmRecord,
};

/// Says which version of the records is stored.
pub(super) const SCHEMA_KEY: &[u8] = b"/smps-vmm/schema";
/// Says who owns the store.
pub(super) const OWNER_KEY: &[u8] = b"/smps-vmm/manager";

/// Rows read at once.
const PAGE_ROWS: usize = 1000;

/// A kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Host,
    Vm,
    Task,
    Key,
    Place,
    Decision,
    Group,
}

impl Space {
    /// What the keys of its records begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Host => "/smps-vmm/host/",
            Self::Vm => "/smps-vmm/vm/",
            Self::Task => "/smps-vmm/task/",
            Self::Key => "/smps-vmm/key/",
            Self::Place => "/smps-vmm/place/",
            Self::Decision => "/smps-vmm/decision/",
            Self::Group => "/smps-vmm/group/",
        }
    }

    pub(super) fn key(self, id: &str) -> Key {
        format!("{}{id}", self.prefix()).into_bytes()
    }

    /// For people.
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Vm => "VM",
            Self::Task => "task",
            Self::Key => "idempotency key",
            Self::Place => "site or pool",
            Self::Decision => "decision",
            Self::Group => "group",
        }
    }
}

/// One change of the store.
#[derive(Clone, Debug)]
pub(crate) enum Put {
    Host(HostRecord),
    DropHost(HostId),
    Vm(Box<VmRecord>),
    DropVm(VmId),
    Task(Box<TaskRecord>),
    DropTask(TaskId),
    Key(KeyRecord),
    DropKey(String),
    Place(PlaceRecord),
    DropPlace(PlaceId),
    Decision(Box<DecisionRecord>),
    DropDecision(u64),
    Group(GroupRecord),
    DropGroup(GroupId),
}

impl Put {
    /// The row that it changes, and how.
    pub(super) fn operation(&self) -> Result<(Key, Operation), StoreError> {
        Ok(match self {
            Self::Host(host) => (Space::Host.key(&host.id.to_string()), put(host)?),
            Self::Vm(vm) => (Space::Vm.key(&vm.id.to_string()), put(vm)?),
            Self::Task(task) => (Space::Task.key(&task.id.to_string()), put(task)?),
            Self::Key(key) => (Space::Key.key(&key.key), put(key)?),
            Self::Place(place) => (Space::Place.key(&place.id().key()), put(place)?),
            Self::Decision(made) => (decision_key(made.number), put(made)?),
            Self::Group(group) => (Space::Group.key(&group.id.to_string()), put(group)?),
            Self::DropGroup(id) => (Space::Group.key(&id.to_string()), Operation::Delete),
            Self::DropDecision(number) => (decision_key(*number), Operation::Delete),
            Self::DropPlace(id) => (Space::Place.key(&id.key()), Operation::Delete),
            Self::DropHost(id) => (Space::Host.key(&id.to_string()), Operation::Delete),
            Self::DropVm(id) => (Space::Vm.key(&id.to_string()), Operation::Delete),
            Self::DropTask(id) => (Space::Task.key(&id.to_string()), Operation::Delete),
            Self::DropKey(key) => (Space::Key.key(key), Operation::Delete),
        })
    }
}

/// In order of the numbers.
fn decision_key(number: u64) -> Key {
    Space::Decision.key(&format!("{number:020}"))
}

fn put<T: Serialize>(record: &T) -> Result<Operation, StoreError> {
    let value = serde_json::to_vec(record).map_err(|source| StoreError::Form { source })?;
    Ok(Operation::Put { value, lease: None })
}

/// All that is stored.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) hosts: Vec<HostRecord>,
    pub(crate) vms: Vec<VmRecord>,
    pub(crate) tasks: Vec<TaskRecord>,
    pub(crate) keys: Vec<KeyRecord>,
    pub(crate) places: Vec<PlaceRecord>,
    pub(crate) decisions: Vec<DecisionRecord>,
    pub(crate) groups: Vec<GroupRecord>,
}

impl Contents {
    /// Reads it. Whoever reads owns the store, so nobody changes it meanwhile.
    pub(super) async fn read(kv: &dyn KeyValue) -> Result<Self, StoreError> {
        Ok(Self {
            hosts: records(kv, Space::Host).await?,
            vms: records(kv, Space::Vm).await?,
            tasks: records(kv, Space::Task).await?,
            keys: records(kv, Space::Key).await?,
            places: records(kv, Space::Place).await?,
            decisions: records(kv, Space::Decision).await?,
            groups: records(kv, Space::Group).await?,
        })
    }
}

/// All records of a kind.
pub(super) async fn records<T: DeserializeOwned>(
    kv: &dyn KeyValue,
    space: Space,
) -> Result<Vec<T>, StoreError> {
    let mut range = Range::of(space.prefix().as_bytes(), PAGE_ROWS);
    let mut records = Vec::new();
    loop {
        let page = kv.range(range.clone()).await.map_err(failed("reading"))?;
        for row in &page.rows {
            let id = row.key.get(space.prefix().len()..).unwrap_or_default();
            let record = serde_json::from_slice(&row.value).map_err(|source| {
                let key = String::from_utf8_lossy(id).into_owned();
                StoreError::Record { kind: space.name(), key, source }
            })?;
            records.push(record);
        }
        range.after = page.rows.into_iter().next_back().map(|row| row.key);
        if !page.more {
            return Ok(records);
        }
    }
}
