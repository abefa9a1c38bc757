//! Steps, results and ends of tasks.

use vmm_core::id::TaskId;
use vmm_proto::v1::{self, TaskState};

use super::state::State;
use super::{App, Object};
use crate::store::{Put, TaskRecord};

impl App {
    /// Changes what callers see of a task.
    pub(crate) fn update_task(&self, id: TaskId, change: impl FnOnce(&mut v1::Task)) {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get(&id) else { return };
        let mut record = entry.record.clone();
        change(&mut record.shown);
        state.commit_facts(vec![Put::Task(Box::new(record))]);
        drop(state);
        self.tell_changed();
    }

    /// Ends a task, with what must be stored together with its end.
    pub(crate) fn finish_task(&self, id: TaskId, end: TaskState, fault: Option<v1::Fault>) {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get(&id) else { return };
        let mut record = entry.record.clone();
        record.shown.state = end;
        record.shown.fault = fault;
        record.told = None;
        let mut batch = state.oldest_finished(&record, self.config.finished_tasks_max);
        batch.push(Put::Task(Box::new(record)));
        state.note_size(&id);
        state.commit_facts(batch);
        drop(state);
        self.tell_changed();
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

    /// The finished task that must go so that one more can be kept.
    pub(super) fn oldest_finished(&self, but: &TaskRecord, finished_max: usize) -> Vec<Put> {
        let finished = || {
            let others = self.tasks.values().map(|task| &task.record);
            others.filter(|record| record.is_over() && record.id != but.id)
        };
        if finished().count() < finished_max {
            return Vec::new();
        }
        let oldest = finished().min_by_key(|record| record.number);
        oldest.map(|record| Put::DropTask(record.id)).into_iter().collect()
    }
}
