//! Starts the tasks whose turn it is.

use std::sync::Arc;

use vmm_core::id::TaskId;
use vmm_core::task::turns::{Full, Lane};
use vmm_proto::v1::TaskState;

use super::App;
use super::state::State;
use crate::store::Put;
use crate::workflow::Job;

impl App {
    /// Starts the queued tasks whose turn it is, in order. What cannot be stored stays queued.
    pub(crate) fn start_next(self: &Arc<Self>) {
        while self.start_one() {}
    }

    fn start_one(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        let Some(task) = state.turns.next(&self.config.task_limits) else { return false };
        let Some(entry) = state.tasks.get(&task) else { return false };
        let (mut record, cancel) = (entry.record.clone(), entry.cancel.clone());
        record.shown.state = TaskState::Running;
        record.shown.started_ms = Some(self.now_ms());
        record.shown.waits_for = None;
        let job = Job::of(&record, cancel);
        if state.commit(vec![Put::Task(Box::new(record))]).is_err() {
            return false;
        }
        drop(state);
        if let Some(job) = job {
            self.spawn(job);
        }
        self.tell_changed();
        true
    }
}

impl State {
    /// What a task that comes now has to wait for, in words.
    pub(super) fn must_wait_for(&self, app: &App, lane: Lane) -> Option<String> {
        let full = self.turns.may_begin(lane, &app.config.task_limits).err()?;
        Some(match full {
            Full::Pool(most) => format!("one of {most} tasks of the pool"),
            Full::Lane(most) => {
                let host = self.host_name(lane.host);
                format!("one of {most} {} on host {host}", lane.class.plural())
            }
        })
    }

    /// Its place among those that wait for the same.
    pub(super) fn place(&self, task: TaskId) -> Option<u64> {
        self.turns.place(task).and_then(|place| u64::try_from(place).ok())
    }
}
