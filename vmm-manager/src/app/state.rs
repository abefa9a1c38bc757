//! The state and the one way to change it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::cpu::Features;
use vmm_core::host::{Health, HostCapacity, HostLoad, Ledger};
use vmm_core::id::{HostId, PoolId, TaskId, VmId};
use vmm_core::scheduler::{CostModel, Preference};
use vmm_core::task::turns::Turns;
use vmm_proto::v1;

use super::decisions::Decisions;
use super::groups::Groups;
use super::news::{Journal, Object};
use super::own::Owned;
use super::problem::Histories;
use super::profiles::Profiles;
use crate::store::{Contents, HostRecord, KeyRecord, Put, Store, StoreError, TaskRecord, VmRecord};
use crate::view::{Measured, Places};

/// Within this time after a manager has begun, hosts that can be heard are heard.
const HEARING: Duration = Duration::from_secs(30);

/// A host, and what is known of it now.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) record: HostRecord,
    pub(crate) ledger: Ledger,
    pub(crate) load: Option<HostLoad>,
    /// Directories that it has in common with others.
    pub(crate) stores: Vec<v1::SharedStore>,
    /// What its processors can do.
    pub(crate) features: Features,
    pub(crate) heard: Option<Instant>,
    /// What its agent reported last.
    pub(crate) observed: BTreeMap<VmId, v1::ReportedVm>,
    /// The poll that brought it.
    pub(crate) observed_poll: u64,
    /// The next poll must ask for everything: news was passed over while a task owned the VM.
    pub(crate) refresh: bool,
    /// As callers were told last.
    pub(crate) health_told: Health,
}

impl Host {
    fn new(record: HostRecord) -> Self {
        let mut host = Self {
            record,
            ledger: Ledger::default(),
            load: None,
            stores: Vec::new(),
            features: Features::default(),
            heard: None,
            observed: BTreeMap::new(),
            observed_poll: 0,
            refresh: false,
            health_told: Health::from_silence(None),
        };
        host.take_capacity();
        host
    }

    fn take_capacity(&mut self) {
        let facts = self.record.facts.as_ref();
        self.features = features(facts.and_then(|facts| facts.cpu_features.as_deref()));
        let capacity = facts.map(HostCapacity::from);
        self.ledger.set_capacity(capacity.unwrap_or_default());
    }

    pub(crate) fn health(&self, now: Instant) -> Health {
        Health::from_silence(self.heard.map(|heard| now.saturating_duration_since(heard)))
    }
}

/// As an agent says it; nothing, if it says nothing that can be read.
pub(super) fn features(told: Option<&str>) -> Features {
    told.and_then(|told| told.parse().ok()).unwrap_or_default()
}

/// A VM, and what is known of it now.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) record: VmRecord,
    /// The task that owns it; nothing else changes it.
    pub(crate) owner: Option<TaskId>,
    /// When the last task let go of it. Polls that were sent before bring old news.
    pub(crate) settled: u64,
    pub(crate) vcpus_online: u32,
    pub(crate) memory_now_kib: u64,
    /// What it was promised of its processor.
    pub(crate) features: Features,
    /// How it differs from what was asked for, as callers are told, and since when it has.
    pub(crate) drift: Option<String>,
    pub(crate) drifts_since: Option<Instant>,
    /// What it was measured to use; means something while it has a domain.
    pub(crate) measured: Option<Measured>,
    /// How far its move is, as its source reported last.
    pub(crate) migration: Option<v1::Migration>,
    /// What it was measured to use over time; gone when the manager ends.
    pub(crate) histories: Histories,
}

/// A task, and how to stop it.
#[derive(Debug)]
pub(crate) struct TaskEntry {
    pub(crate) record: TaskRecord,
    pub(crate) cancel: CancellationToken,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) hosts: BTreeMap<HostId, Host>,
    pub(crate) vms: BTreeMap<VmId, Vm>,
    /// The VMs that are recorded on a host.
    on_host: BTreeMap<HostId, BTreeSet<VmId>>,
    /// Which VMs have which name, address, disk.
    pub(super) owned: Owned,
    pub(crate) tasks: BTreeMap<TaskId, TaskEntry>,
    /// Those that are not over.
    pub(super) open_tasks: BTreeSet<TaskId>,
    pub(crate) keys: BTreeMap<String, KeyRecord>,
    /// Who runs, and who waits.
    pub(super) turns: Turns,
    /// Tasks that are over, and keys, the oldest first.
    pub(crate) finished: BTreeMap<u64, TaskId>,
    pub(crate) keys_by_age: BTreeMap<u64, String>,
    /// The parts of a task, by their VMs.
    children: BTreeMap<TaskId, BTreeMap<VmId, TaskId>>,
    /// The next one's.
    pub(super) task_number: u64,
    pub(super) key_number: u64,
    /// Sites and pools.
    pub(crate) places: Places,
    store: Store,
    /// Orders polls and the ends of tasks.
    sequence: u64,
    /// What changed when.
    pub(crate) journal: Journal,
    /// When this manager began: the midnight of histories.
    pub(super) started: Instant,
    /// What date that was, since 1970-01-01T00:00:00Z.
    started_ms: u64,
    /// What the scheduler decided of late.
    pub(crate) decisions: Decisions,
    /// What VMs that are made alike use.
    pub(super) profiles: Profiles,
    /// VMs that shall be together, or apart.
    pub(crate) groups: Groups,
    /// Moves that would pay, when that was looked at last.
    pub(crate) advice: BTreeMap<PoolId, u64>,
    /// Prices placements.
    pub(crate) cost_model: CostModel,
}

impl State {
    /// As stored, at this date.
    pub(super) fn new(
        store: Store,
        contents: Contents,
        preference: Preference,
        started_ms: u64,
    ) -> Self {
        let mut state = Self {
            hosts: BTreeMap::new(),
            vms: BTreeMap::new(),
            on_host: BTreeMap::new(),
            owned: Owned::default(),
            tasks: BTreeMap::new(),
            open_tasks: BTreeSet::new(),
            keys: BTreeMap::new(),
            turns: Turns::default(),
            finished: BTreeMap::new(),
            keys_by_age: BTreeMap::new(),
            children: BTreeMap::new(),
            task_number: 0,
            key_number: 0,
            places: Places::default(),
            store,
            sequence: 0,
            journal: Journal::default(),
            started: Instant::now(),
            started_ms,
            decisions: Decisions::default(),
            profiles: Profiles::default(),
            groups: Groups::default(),
            advice: BTreeMap::new(),
            cost_model: CostModel::new(preference),
        };
        let hosts = contents.hosts.into_iter().map(|host| Put::Host(Box::new(host)));
        let vms = contents.vms.into_iter().map(|vm| Put::Vm(Box::new(vm)));
        let tasks = contents.tasks.into_iter().map(|task| Put::Task(Box::new(task)));
        let keys = contents.keys.into_iter().map(Put::Key);
        let decisions = contents.decisions.into_iter().map(|made| Put::Decision(Box::new(made)));
        let places = state.places.records().chain(contents.places).map(Put::Place);
        let groups = contents.groups.into_iter().map(Put::Group);
        for put in
            places.chain(hosts).chain(groups).chain(vms).chain(tasks).chain(keys).chain(decisions)
        {
            state.take(put);
        }
        state
    }

    /// The date, by a clock that nobody sets while the manager runs.
    pub(crate) fn date_ms(&self, now: Instant) -> u64 {
        let ran = now.saturating_duration_since(self.started).as_millis();
        self.started_ms.saturating_add(u64::try_from(ran).unwrap_or(u64::MAX))
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Takes all of it over, and hands it to the store; nothing of it when the store refuses. It is acted on when it is stored.
    pub(crate) fn commit(&mut self, batch: Vec<Put>) -> Result<(), StoreError> {
        self.store.decide(&batch)?;
        batch.into_iter().for_each(|put| self.take(put));
        Ok(())
    }

    /// As [`State::commit`], for facts: they are true whether or not the store takes them.
    pub(crate) fn commit_facts(&mut self, batch: Vec<Put>) {
        if let Err(error) = self.store.note(&batch) {
            tracing::error!(error = &error as &dyn std::error::Error, "facts could not be stored");
        }
        batch.into_iter().for_each(|put| self.take(put));
    }

    fn take(&mut self, put: Put) {
        match put {
            Put::Host(record) => self.take_host(*record),
            Put::Vm(record) => self.take_vm(*record),
            Put::Task(record) => self.take_task(*record),
            Put::Key(record) => self.take_key(record),
            Put::DropHost(id) => {
                self.hosts.remove(&id);
                self.journal.gone(Object::Host(id));
                self.touch_home(id);
            }
            Put::DropVm(id) => {
                self.discharge(id);
                self.enrol(id, None);
                self.move_on_host(id, None);
                if let Some(vm) = self.vms.remove(&id) {
                    self.owned.loses(id, &vm.record.spec);
                }
                self.journal.gone(Object::Vm(id));
            }
            Put::DropTask(id) => self.drop_task(id),
            Put::DropKey(key) => {
                if let Some(record) = self.keys.remove(&key) {
                    self.keys_by_age.remove(&record.number);
                }
            }
            Put::Decision(made) => self.decisions.take(*made),
            Put::Group(record) => {
                let id = record.id;
                self.groups.take(record);
                self.touch_group(id);
            }
            Put::DropGroup(id) => {
                self.journal.gone(Object::Group(id));
                self.groups.drop(id);
            }
            Put::DropDecision(number) => self.decisions.drop(number),
            Put::Place(record) => self.take_place(record),
            Put::DropPlace(id) => {
                self.journal.gone(Object::from(id));
                self.places.drop(id);
            }
        }
    }

    /// Notes which hosts began to be heard or ceased to, and their VMs with them. True when any did.
    pub(crate) fn note_health(&mut self, now: Instant) -> bool {
        let mut changed = BTreeSet::new();
        for (id, host) in &mut self.hosts {
            let health = host.health(now);
            if std::mem::replace(&mut host.health_told, health) != health {
                changed.insert(*id);
            }
        }
        for id in &changed {
            self.journal.touched(Object::Host(*id));
        }
        for id in changed.iter().filter_map(|host| self.on_host.get(host)).flatten() {
            self.journal.touched(Object::Vm(*id));
        }
        !changed.is_empty()
    }

    fn take_host(&mut self, record: HostRecord) {
        self.journal.touched(Object::Host(record.id));
        match self.hosts.get_mut(&record.id) {
            Some(host) => {
                let (id, moved) = (record.id, host.record.pool != record.pool);
                host.record = record;
                host.take_capacity();
                if moved {
                    self.touch_home(id);
                }
            }
            None => drop(self.hosts.insert(record.id, Host::new(record))),
        }
    }

    fn take_vm(&mut self, record: VmRecord) {
        self.discharge(record.id);
        self.enrol(record.id, Some(&record));
        self.move_on_host(record.id, record.host);
        self.journal.touched(Object::Vm(record.id));
        for (host, reservation) in record.charges() {
            let Some(host) = self.hosts.get_mut(&host) else { continue };
            // Whether it fits was decided before it was stored.
            host.ledger.acknowledge(record.id, reservation);
            self.journal.touched(Object::Host(host.record.id));
        }
        match self.vms.get_mut(&record.id) {
            Some(vm) => {
                if vm.record.spec != record.spec {
                    self.owned.loses(record.id, &vm.record.spec);
                    self.owned.gains(record.id, &record.spec);
                }
                vm.record = record;
            }
            None => {
                self.owned.gains(record.id, &record.spec);
                let (vcpus_online, memory_now_kib) = (0, 0);
                let (measured, histories) = (None, Histories::default());
                let vm = Vm {
                    record,
                    owner: None,
                    settled: 0,
                    vcpus_online,
                    memory_now_kib,
                    features: Features::default(),
                    drift: None,
                    drifts_since: None,
                    measured,
                    migration: None,
                    histories,
                };
                self.vms.insert(vm.record.id, vm);
            }
        }
    }

    /// Keeps the index of VMs by host, before the VM's record changes.
    fn move_on_host(&mut self, vm: VmId, to: Option<HostId>) {
        let from = self.vms.get(&vm).and_then(|vm| vm.record.host);
        if let Some(from) = from.filter(|from| Some(*from) != to)
            && let Some(there) = self.on_host.get_mut(&from)
        {
            there.remove(&vm);
            if there.is_empty() {
                self.on_host.remove(&from);
            }
        }
        if let Some(to) = to {
            self.on_host.entry(to).or_default().insert(vm);
        }
    }

    /// The VMs that are recorded on a host.
    pub(crate) fn vms_on(&self, host: HostId) -> impl Iterator<Item = VmId> {
        self.on_host.get(&host).into_iter().flatten().copied()
    }

    /// The VMs that are recorded on a host, or charged there because they come or have just left.
    pub(crate) fn vms_charged_on(&self, host: HostId) -> impl Iterator<Item = &Vm> {
        let ledger = self.hosts.get(&host).map(|host| host.ledger.reservations());
        let charged = ledger.into_iter().flatten().map(|(vm, _)| vm);
        let ids: BTreeSet<VmId> = self.vms_on(host).chain(charged).collect();
        ids.into_iter().filter_map(|vm| self.vms.get(&vm))
    }

    fn discharge(&mut self, vm: VmId) {
        let Some(record) = self.vms.get(&vm).map(|vm| &vm.record) else { return };
        for id in record.host.into_iter().chain(record.other_end()) {
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            host.ledger.release(vm);
            self.journal.touched(Object::Host(id));
        }
    }

    fn take_task(&mut self, record: TaskRecord) {
        self.journal.touched(Object::Task(record.id));
        let over = record.is_over();
        let settled = if over { self.next_sequence() } else { 0 };
        if let Some(vm) = self.vms.get_mut(&record.vm) {
            if !over {
                vm.owner = Some(record.id);
            } else if vm.owner == Some(record.id) {
                vm.owner = None;
                vm.migration = None;
                vm.settled = settled;
                let at = [vm.record.host, vm.record.last_host, record.host];
                self.ask_for_everything_of(record.vm, at);
            }
        }
        self.index_task(&record);
        match self.tasks.get_mut(&record.id) {
            Some(entry) => entry.record = record,
            None => {
                let entry = TaskEntry { record, cancel: CancellationToken::new() };
                self.tasks.insert(entry.record.id, entry);
            }
        }
    }

    /// News of the VM may have been passed over: by the hosts that it is or was on, and by any other that reports it.
    fn ask_for_everything_of(&mut self, vm: VmId, at: [Option<HostId>; 3]) {
        for (id, host) in &mut self.hosts {
            host.refresh |= at.contains(&Some(*id)) || host.observed.contains_key(&vm);
        }
    }

    fn index_task(&mut self, record: &TaskRecord) {
        self.task_number = self.task_number.max(record.number + 1);
        if let Some(parent) = record.parent {
            self.children.entry(parent).or_default().insert(record.vm, record.id);
        }
        if record.is_over() {
            self.finished.insert(record.number, record.id);
            self.open_tasks.remove(&record.id);
        } else {
            self.open_tasks.insert(record.id);
        }
        match record.lane() {
            Some(lane) if record.is_queued() => self.turns.wait(record.number, record.id, lane),
            Some(lane) if !record.is_over() => self.turns.begin(record.id, lane),
            _ => self.turns.forget(record.id),
        }
    }

    fn drop_task(&mut self, id: TaskId) {
        self.journal.gone(Object::Task(id));
        self.turns.forget(id);
        self.open_tasks.remove(&id);
        self.children.remove(&id);
        let Some(TaskEntry { record, .. }) = self.tasks.remove(&id) else { return };
        self.finished.remove(&record.number);
        if let Some(children) = record.parent.and_then(|parent| self.children.get_mut(&parent)) {
            children.remove(&record.vm);
        }
    }

    fn take_key(&mut self, record: KeyRecord) {
        self.key_number = self.key_number.max(record.number + 1);
        self.keys_by_age.insert(record.number, record.key.clone());
        self.keys.insert(record.key.clone(), record);
    }

    /// After it has begun, a manager has heard nobody: what it would refuse for that, it may admit a moment later.
    pub(crate) fn knows_its_hosts(&self, now: Instant) -> bool {
        let ran = now.saturating_duration_since(self.started);
        ran >= HEARING || self.hosts.values().all(|host| host.health(now) != Health::Unknown)
    }

    /// Tasks that are not over.
    pub(crate) fn open_records(&self) -> impl Iterator<Item = &TaskRecord> {
        let open = self.open_tasks.iter().filter_map(|task| self.tasks.get(task));
        open.map(|entry| &entry.record)
    }

    /// The part of a task that is about this VM.
    pub(crate) fn child_of(&self, parent: TaskId, vm: VmId) -> Option<&TaskRecord> {
        let child = self.children.get(&parent)?.get(&vm)?;
        self.tasks.get(child).map(|entry| &entry.record)
    }
}
