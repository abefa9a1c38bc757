//! Steps, results and ends of tasks.

use std::sync::Arc;

use vmm_core::id::TaskId;
use vmm_proto::v1::{self, TaskState};

use super::state::State;
use super::{App, Object};
use crate::store::{Course, Put, TaskRecord};

impl App {
    /// Changes what is known of a task.
    pub(crate) fn update_task(&self, id: TaskId, change: impl FnOnce(&mut TaskRecord)) {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get(&id) else { return };
        let mut record = entry.record.clone();
        change(&mut record);
        if record != entry.record {
            state.commit_facts(vec![Put::Task(Box::new(record))]);
            drop(state);
            self.tell_changed();
        }
    }

    /// Adds a line to its log.
    pub(crate) fn log_task(&self, id: TaskId, line: &str) {
        let now_ms = self.now_ms();
        self.update_task(id, |record| record.log(now_ms, line));
    }

    /// Ends a task, and starts those that waited for it.
    pub(crate) fn finish_task(
        self: &Arc<Self>,
        id: TaskId,
        end: TaskState,
        fault: Option<v1::Fault>,
    ) {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get(&id) else { return };
        let mut record = entry.record.clone();
        self.end_record(&mut record, end, fault);
        let mut batch = state.oldest_finished(self.config.finished_tasks_max);
        batch.push(Put::Task(Box::new(record)));
        state.note_size(&id);
        state.commit_facts(batch);
        drop(state);
        self.tell_changed();
        self.start_next();
    }

    /// What is kept of a task that is over: what happened, and what was asked for if it did not happen.
    pub(super) fn end_record(
        &self,
        record: &mut TaskRecord,
        end: TaskState,
        fault: Option<v1::Fault>,
    ) {
        let now_ms = self.now_ms();
        match &fault {
            Some(fault) => record.log(now_ms, &format!("{end:?}: {}", fault.message)),
            None => record.log(now_ms, &format!("{end:?}")),
        }
        record.shown.state = end;
        record.shown.fault = fault;
        record.shown.finished_ms = Some(now_ms);
        record.shown.waits_for = None;
        (record.plan, record.told, record.course) = (None, None, Course::default());
        if end == TaskState::Done {
            record.request = None;
        }
    }
}

impl State {
    /// What the guest did with its vCPUs and memory shows at once, before the host's next report.
    fn note_size(&mut self, id: &TaskId) {
        let Some(shown) = self.tasks.get(id).map(|entry| entry.record.shown.clone()) else {
            return;
        };
        let Some(vm) = shown.vm.parse().ok().and_then(|vm| self.vms.get_mut(&vm)) else { return };
        if let Some(vcpus) = shown.vcpus {
            vm.vcpus_online = vcpus.online;
        }
        if let Some(memory) = shown.memory {
            vm.memory_now_kib = memory.reached_kib;
        }
        self.journal.touched(Object::Vm(vm.record.id));
    }

    /// The finished task that must go so that one more can be kept. The parts of a task stay as long as it is open.
    pub(super) fn oldest_finished(&self, finished_max: usize) -> Vec<Put> {
        if self.finished.len() < finished_max {
            return Vec::new();
        }
        let mut oldest = self.finished.values().filter(|task| !self.is_part_of_open(**task));
        oldest.next().map(|task| Put::DropTask(*task)).into_iter().collect()
    }

    /// Is it a part of a task that is not over?
    pub(crate) fn is_part_of_open(&self, task: TaskId) -> bool {
        let parent = self.tasks.get(&task).and_then(|entry| entry.record.parent);
        parent.and_then(|id| self.tasks.get(&id)).is_some_and(|entry| !entry.record.is_over())
    }
}
