//! How a change begins: key, task and first decision in one transaction.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use vmm_core::id::{GroupId, HostId, PoolId, SiteId, TaskId, VmId};
use vmm_core::task::{Next, Position};
use vmm_proto::server::Caller;
use vmm_proto::v1::{self, Fault, FaultCode, Reply, TargetKind, TaskState};

use super::state::State;
use super::{App, Decided, Detail, Made};
use crate::store::{Course, HostRecord, Item, KeyRecord, KeyedReply, Put, StoreError, TaskRecord};
use crate::workflow::{Job, Plan};

/// The key that a change was asked for with, and what was asked.
#[derive(Clone, Debug)]
pub(crate) struct KeyUse {
    key: String,
    digest: String,
}

impl KeyUse {
    /// `None` for a request that changes nothing.
    ///
    /// # Errors
    /// A change without a key: its repetition after a lost reply would be another change.
    pub(crate) fn of(caller: &Caller, request: &v1::Request) -> Result<Option<Self>, Fault> {
        let verb = v1::verb(request);
        let Some(key) = &caller.idempotency_key else {
            let message =
                format!("{} changes something, so it needs an idempotency key", verb.name);
            return if verb.mutating {
                Err(Fault::new(FaultCode::BadRequest, message))
            } else {
                Ok(None)
            };
        };
        let bytes = serde_json::to_vec(request).map_err(|error| {
            Fault::new(FaultCode::Internal, format!("the request cannot be digested: {error}"))
        })?;
        let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        Ok(Some(Self { key: format!("{} {key}", caller.principal), digest }))
    }
}

/// Where a change comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) key: Option<KeyUse>,
    /// Who asked for it.
    pub(crate) initiator: String,
    /// What was asked for.
    pub(crate) request: Box<v1::Request>,
    /// The task that it is another try of.
    pub(crate) retry_of: Option<TaskId>,
    /// The task that it is a part of.
    pub(crate) parent: Option<TaskId>,
}

/// What a change is about.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Vm(VmId, String),
    Host(HostId, String),
    Vms(Vec<Item>),
    Pool(PoolId, String),
    Site(SiteId, String),
    Group(GroupId, String),
}

/// A change that is done by being stored.
pub(crate) struct Deed {
    pub(crate) target: Target,
    pub(crate) origin: Origin,
    /// For its task's log.
    pub(crate) note: Option<String>,
}

/// A change that is about to begin.
pub(crate) struct Begin {
    pub(crate) vm: VmId,
    pub(crate) vm_name: String,
    pub(crate) host: Option<HostId>,
    pub(crate) origin: Origin,
    /// Stored with the task: the first step, when it is done already.
    pub(crate) puts: Vec<Put>,
    pub(crate) placement: Option<Box<Choice>>,
    pub(crate) plan: Plan,
}

/// Where a VM goes: what its task tells of that, and what is kept of it.
pub(crate) struct Choice {
    pub(crate) shown: v1::Placement,
    pub(crate) made: Made,
}

impl From<Decided> for Choice {
    fn from(decided: Decided) -> Self {
        Self { shown: v1::Placement::from(&decided.decision), made: decided.made(None) }
    }
}

impl State {
    /// The reply that this key got before.
    pub(crate) fn replayed(&self, key: Option<&KeyUse>) -> Result<Option<Reply>, Fault> {
        let Some(key) = key else { return Ok(None) };
        let Some(known) = self.keys.get(&key.key) else { return Ok(None) };
        if known.digest != key.digest {
            let message = "this idempotency key was used for another request; use a new one";
            return Err(Fault::new(FaultCode::IdempotencyMismatch, message));
        }
        Ok(Some(match &known.reply {
            KeyedReply::Done => Reply::Done(v1::Done {}),
            KeyedReply::Host(host) => Reply::HostRef(v1::HostRef { host: host.clone() }),
            KeyedReply::Task(task) => {
                let record = &self.task_named(task)?.record;
                Reply::Task(Box::new(self.show_task(record, Detail::Full)))
            }
        }))
    }

    /// Remembers the reply under the key, and forgets the oldest one beyond the limit.
    pub(crate) fn remember(&self, key: Option<KeyUse>, reply: KeyedReply, app: &App) -> Vec<Put> {
        let Some(KeyUse { key, digest }) = key else { return Vec::new() };
        let (number, at_ms) = (self.key_number, app.now_ms());
        let mut puts = vec![Put::Key(KeyRecord { key, number, digest, reply, at_ms })];
        if self.keys.len() >= app.config.idempotency_keys_max {
            puts.extend(self.keys_by_age.values().next().cloned().map(Put::DropKey));
        }
        puts
    }

    /// A task that is decided now.
    pub(super) fn new_task(&self, app: &App, target: Target, origin: &Origin) -> TaskRecord {
        let id = app.new_task_id();
        let other = |kind, id: String, name| (NO_VM, vec![], kind, Some(id), name);
        let (vm, items, kind, about, name) = match target {
            Target::Vm(vm, name) => (vm, vec![], TargetKind::Vm, Some(vm.to_string()), name),
            Target::Host(host, name) => other(TargetKind::Host, host.to_string(), name),
            Target::Pool(pool, name) => other(TargetKind::Pool, pool.to_string(), name),
            Target::Site(site, name) => other(TargetKind::Site, site.to_string(), name),
            Target::Group(group, name) => other(TargetKind::Group, group.to_string(), name),
            Target::Vms(items) => {
                let name = format!("{} VMs", items.len());
                (NO_VM, items, TargetKind::Vms, None, name)
            }
        };
        let is_vm = kind == TargetKind::Vm;
        let shown = v1::Task {
            task: id.to_string(),
            verb: v1::verb(&origin.request).name.to_owned(),
            vm: if is_vm { vm.to_string() } else { String::new() },
            vm_name: if is_vm { name.clone() } else { String::new() },
            state: TaskState::Running,
            step: "begin".to_owned(),
            target_kind: Some(kind),
            target: about,
            target_name: Some(name),
            initiator: Some(origin.initiator.clone()),
            created_ms: Some(app.now_ms()),
            retry_of: origin.retry_of.map(|task| task.to_string()),
            parent: origin.parent.map(|task| task.to_string()),
            ..v1::Task::default()
        };
        TaskRecord {
            id,
            vm,
            number: self.task_number,
            shown,
            told: None,
            host: None,
            plan: None,
            course: Course::default(),
            request: Some(origin.request.clone()),
            parent: origin.parent,
            items,
            was_in_maintenance: false,
        }
    }

    /// The task of a change that has a plan: under way, or queued.
    pub(super) fn planned_task(&self, app: &App, begin: &Begin) -> TaskRecord {
        let target = Target::Vm(begin.vm, begin.vm_name.clone());
        let mut record = self.new_task(app, target, &begin.origin);
        let mut flow = begin.plan.workflow(Position::default());
        if !begin.puts.is_empty() && matches!(flow.step(), Next::Do(..)) {
            flow.succeeded();
        }
        record.course = Course::at(flow.position());
        record.show_steps(&flow);
        let placement = begin.placement.as_ref();
        record.shown.placement = placement.map(|of| shortened(of.shown.clone()));
        record.shown.host = begin.host.map(|host| self.host_name(host));
        (record.host, record.plan) = (begin.host, Some(begin.plan.clone()));
        match record.lane().and_then(|lane| self.must_wait_for(app, lane)) {
            Some(what) => record.queue(app.now_ms(), what),
            None => record.shown.started_ms = record.shown.created_ms,
        }
        record
    }

    fn check_room_for_task(&self, queued_max: usize) -> Result<(), Fault> {
        if self.turns.waiting_count() < queued_max {
            return Ok(());
        }
        let message = format!("{queued_max} tasks are queued; wait for some of them");
        Err(Fault::new(FaultCode::Busy, message))
    }
}

/// Candidates that a task remembers: the first is the winner, the last are the worst.
const CANDIDATES_MAX: usize = 16;

fn shortened(mut placement: v1::Placement) -> v1::Placement {
    placement.candidates.truncate(CANDIDATES_MAX);
    placement
}

/// Of a task that is about something else.
const NO_VM: VmId = VmId::from_bytes([0; 16]);

impl App {
    /// Stores the change, and starts it when its turn comes; answers with its task.
    pub(crate) fn begin(
        self: &Arc<Self>,
        state: &mut State,
        mut begin: Begin,
    ) -> Result<Reply, Fault> {
        self.check_takes_changes()?;
        state.check_room_for_task(self.config.queued_tasks_max)?;
        let record = state.planned_task(self, &begin);
        let mut batch = std::mem::take(&mut begin.puts);
        let reply = KeyedReply::Task(record.shown.task.clone());
        batch.extend(state.remember(begin.origin.key.take(), reply, self));
        batch.push(Put::Task(Box::new(record.clone())));
        state.commit(batch).map_err(|error| store_fault(&error))?;
        if let Some(choice) = begin.placement {
            self.keep_decision(Made { task: Some(record.id), ..choice.made });
        }
        if !record.is_queued() {
            let entry = state.tasks.get(&record.id);
            let cancel = entry.map(|entry| entry.cancel.clone()).unwrap_or_default();
            Job::of(&record, cancel).into_iter().for_each(|job| self.spawn(job));
        }
        self.tell_changed();
        Ok(Reply::Task(Box::new(state.show_task(&record, Detail::Full))))
    }

    /// Stores a task that others carry out, part by part.
    pub(crate) fn begin_parent(
        &self,
        state: &mut State,
        items: Vec<Item>,
        origin: Origin,
    ) -> Result<TaskRecord, Fault> {
        let record = state.new_task(self, Target::Vms(items), &origin);
        self.begin_parts(state, record, origin, Vec::new())
    }

    /// Stores the task that empties a host, and that the host is in maintenance.
    pub(crate) fn begin_evacuation(
        &self,
        state: &mut State,
        host: HostRecord,
        items: Vec<Item>,
        origin: Origin,
    ) -> Result<TaskRecord, Fault> {
        let target = Target::Host(host.id, host.name.clone());
        let mut record = state.new_task(self, target, &origin);
        (record.host, record.shown.host) = (Some(host.id), Some(host.name.clone()));
        (record.items, record.was_in_maintenance) = (items, host.maintenance);
        let closed = Put::Host(Box::new(HostRecord { maintenance: true, ..host }));
        self.begin_parts(state, record, origin, vec![closed])
    }

    fn begin_parts(
        &self,
        state: &mut State,
        mut record: TaskRecord,
        mut origin: Origin,
        mut batch: Vec<Put>,
    ) -> Result<TaskRecord, Fault> {
        self.check_takes_changes()?;
        let all = u64::try_from(record.items.len()).ok();
        (record.shown.progress_done, record.shown.progress_all) = (Some(0), all);
        record.shown.started_ms = record.shown.created_ms;
        let reply = KeyedReply::Task(record.shown.task.clone());
        batch.extend(state.remember(origin.key.take(), reply, self));
        batch.push(Put::Task(Box::new(record.clone())));
        state.commit(batch).map_err(|error| store_fault(&error))?;
        Ok(record)
    }

    pub(super) fn check_takes_changes(&self) -> Result<(), Fault> {
        if self.stop.is_cancelled() {
            return Err(Fault::new(FaultCode::Busy, "the manager is stopping; try again later"));
        }
        Ok(())
    }

    /// Stores a change that is done by that, with a task that is over; answers with the task, and remembers `reply`, or the task, under
    /// its key.
    pub(crate) fn done_at_once(
        &self,
        state: &mut State,
        Deed { target, mut origin, note }: Deed,
        mut batch: Vec<Put>,
        reply: Option<KeyedReply>,
    ) -> Result<Reply, Fault> {
        let mut record = state.new_task(self, target, &origin);
        record.shown.step = "stored".to_owned();
        record.shown.started_ms = record.shown.created_ms;
        note.into_iter().for_each(|note| record.log(self.now_ms(), &note));
        self.end_record(&mut record, TaskState::Done, None);
        let shown = state.show_task(&record, Detail::Full);
        let reply = reply.unwrap_or_else(|| KeyedReply::Task(shown.task.clone()));
        batch.extend(state.remember(origin.key.take(), reply, self));
        batch.extend(state.oldest_finished(self.config.finished_tasks_max));
        batch.push(Put::Task(Box::new(record)));
        state.commit(batch).map_err(|error| store_fault(&error))?;
        Ok(Reply::Task(Box::new(shown)))
    }

    /// Stores that a part was refused: nothing of it was begun.
    pub(crate) fn refused(&self, state: &mut State, target: Target, origin: &Origin, fault: Fault) {
        let record = self.refused_task(state, target, origin, fault);
        state.commit_facts(vec![Put::Task(Box::new(record))]);
    }

    pub(super) fn refused_task(
        &self,
        state: &State,
        target: Target,
        origin: &Origin,
        fault: Fault,
    ) -> TaskRecord {
        let mut record = state.new_task(self, target, origin);
        record.shown.step = "refused".to_owned();
        self.end_record(&mut record, TaskState::Failed, Some(fault.at("manager")));
        record
    }
}

/// What a caller hears when a decision could not be stored, or nobody knows whether it was. With the same key he may ask again.
pub(crate) fn store_fault(error: &StoreError) -> Fault {
    tracing::error!(error = error as &dyn std::error::Error, "a decision could not be stored");
    match error {
        StoreError::Lost { .. } => {
            let message = format!("whether this was decided is not known: {error}");
            Fault::new(FaultCode::Busy, message)
        }
        StoreError::Behind | StoreError::Superseded | StoreError::Closed => {
            Fault::new(FaultCode::Busy, format!("nothing was done: {error}"))
        }
        _ => Fault::new(FaultCode::Internal, format!("nothing was done: {error}")),
    }
}
