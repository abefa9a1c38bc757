//! How a change begins: key, task and first decision in one transaction.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use vmm_core::id::{HostId, TaskId, VmId};
use vmm_core::task::{Next, Workflow};
use vmm_proto::server::Caller;
use vmm_proto::v1::{self, Fault, FaultCode, Reply};

use super::App;
use super::state::State;
use crate::store::{KeyRecord, KeyedReply, Put, StoreError, TaskRecord, Told};
use crate::workflow::{Action, Job};

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

/// A change that is about to begin.
pub(crate) struct Begin {
    pub(crate) verb: &'static str,
    pub(crate) vm: VmId,
    pub(crate) vm_name: String,
    pub(crate) host: HostId,
    pub(crate) key: Option<KeyUse>,
    /// Stored with the task: the first step, when it is done already.
    pub(crate) puts: Vec<Put>,
    pub(crate) placement: Option<v1::Placement>,
    /// The change of a definition that the agent is told.
    pub(crate) told: Option<Told>,
    pub(crate) flow: Workflow<Action>,
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
                Reply::Task(Box::new(self.task_named(task)?.record.shown.clone()))
            }
        }))
    }

    /// Remembers the reply under the key, and forgets the oldest one beyond the limit.
    pub(crate) fn remember(
        &self,
        key: Option<KeyUse>,
        reply: KeyedReply,
        keys_max: usize,
    ) -> Vec<Put> {
        let Some(KeyUse { key, digest }) = key else { return Vec::new() };
        let number = self.keys.values().map(|record| record.number + 1).max().unwrap_or(0);
        let mut puts = vec![Put::Key(KeyRecord { key, number, digest, reply })];
        if self.keys.len() >= keys_max {
            let oldest = self.keys.values().min_by_key(|record| record.number);
            puts.extend(oldest.map(|record| Put::DropKey(record.key.clone())));
        }
        puts
    }

    fn new_task(&self, id: TaskId, begin: &Begin) -> TaskRecord {
        let number = self.tasks.values().map(|task| task.record.number + 1).max().unwrap_or(0);
        let shown = v1::Task {
            task: id.to_string(),
            verb: begin.verb.to_owned(),
            vm: begin.vm.to_string(),
            vm_name: begin.vm_name.clone(),
            state: v1::TaskState::Running,
            step: "begin".to_owned(),
            fault: None,
            placement: begin.placement.clone(),
            vcpus: None,
            memory: None,
        };
        TaskRecord { id, vm: begin.vm, number, shown, told: begin.told.clone() }
    }

    fn check_room_for_task(&self, running_max: usize) -> Result<(), Fault> {
        if self.tasks.values().filter(|task| !task.record.is_over()).count() < running_max {
            return Ok(());
        }
        let message = format!("{running_max} tasks are under way; wait for one of them");
        Err(Fault::new(FaultCode::Busy, message))
    }
}

impl App {
    /// Stores the change and starts it; answers with its task.
    pub(crate) fn begin(
        self: &Arc<Self>,
        state: &mut State,
        mut begin: Begin,
    ) -> Result<Reply, Fault> {
        if self.stop.is_cancelled() {
            return Err(Fault::new(FaultCode::Busy, "the manager is stopping; try again later"));
        }
        state.check_room_for_task(self.config.running_tasks_max)?;
        let id = self.new_task_id();
        let record = state.new_task(id, &begin);
        let shown = record.shown.clone();
        let first_is_done = !begin.puts.is_empty();
        let mut batch = std::mem::take(&mut begin.puts);
        batch.push(Put::Task(Box::new(record)));
        let keys_max = self.config.idempotency_keys_max;
        batch.extend(state.remember(begin.key.take(), KeyedReply::Task(id.to_string()), keys_max));
        state.commit(batch).map_err(|error| store_fault(&error))?;
        if first_is_done && matches!(begin.flow.step(), Next::Do(..)) {
            begin.flow.succeeded();
        }
        let cancel = state.tasks.get(&id).map(|task| task.cancel.clone()).unwrap_or_default();
        self.spawn(Job::new(id, begin.vm, begin.host, cancel, begin.flow));
        self.tell_changed();
        Ok(Reply::Task(Box::new(shown)))
    }
}

impl App {
    /// Stores a change that is done by that; answers with its task, which is over.
    pub(crate) fn done_at_once(&self, state: &mut State, begin: Begin) -> Result<Reply, Fault> {
        let mut record = state.new_task(self.new_task_id(), &begin);
        (record.shown.state, record.shown.step) = (v1::TaskState::Done, "stored".to_owned());
        let shown = record.shown.clone();
        let mut batch = state.oldest_finished(&record, self.config.finished_tasks_max);
        let keys_max = self.config.idempotency_keys_max;
        batch.extend(begin.puts);
        batch.extend(state.remember(begin.key, KeyedReply::Task(shown.task.clone()), keys_max));
        batch.push(Put::Task(Box::new(record)));
        state.commit(batch).map_err(|error| store_fault(&error))?;
        Ok(Reply::Task(Box::new(shown)))
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
