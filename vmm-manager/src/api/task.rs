//! Tasks: list, wait, cancel.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vmm_proto::server::Caller;
use vmm_proto::v1::{CancelTask, Fault, FaultCode, Reply, TaskState, Tasks, WaitTask};

use crate::app::{App, store_fault};
use crate::store::{Put, TaskRecord};

/// What of a caller's deadline is kept for the way back.
pub(super) const REPLY_MARGIN: Duration = Duration::from_millis(500);

pub(super) fn list(app: &App) -> Reply {
    let state = app.lock();
    let mut records: Vec<_> = state.tasks.values().map(|task| &task.record).collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.number));
    Reply::Tasks(Tasks { tasks: records.into_iter().map(|record| record.shown.clone()).collect() })
}

/// Answers when the task is over, or when the wait is.
pub(super) async fn wait(app: &App, caller: &Caller, wait: &WaitTask) -> Result<Reply, Fault> {
    let asked = Duration::from_millis(wait.wait_ms_max).min(app.config.task_wait_max);
    let left = caller.deadline.map_or(asked, |deadline| deadline.saturating_sub(REPLY_MARGIN));
    let end = Instant::now() + asked.min(left);
    let mut changes = app.changes();
    loop {
        let record = find(app, &wait.task)?;
        let ended = app.stop.is_cancelled();
        if record.is_over() || ended || timeout_at(end, changes.changed()).await.is_err() {
            return Ok(Reply::Task(Box::new(find(app, &wait.task)?.shown)));
        }
    }
}

fn find(app: &App, task: &str) -> Result<TaskRecord, Fault> {
    Ok(app.lock().task_named(task)?.record.clone())
}

/// Asks a task to stop between two steps and take back what it did.
pub(super) fn cancel(app: &App, cancel: &CancelTask) -> Result<Reply, Fault> {
    let mut state = app.lock();
    let entry = state.task_named(&cancel.task)?;
    let (mut record, token) = (entry.record.clone(), entry.cancel.clone());
    if record.is_over() {
        let message = "the task is over; there is nothing to cancel";
        return Err(Fault::new(FaultCode::BadState, message));
    }
    if record.shown.state == TaskState::Running {
        record.shown.state = TaskState::Cancelling;
        let put = Put::Task(Box::new(record.clone()));
        state.commit(vec![put]).map_err(|error| store_fault(&error))?;
    }
    token.cancel();
    drop(state);
    app.tell_changed();
    Ok(Reply::Task(Box::new(record.shown)))
}
