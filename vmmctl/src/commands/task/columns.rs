//! The columns of a task.

use vmm_proto::v1::{Task, TaskState};

use super::when::utc;
use crate::output::{Column, Tone};

type OfTask = Column<Task>;

/// The id first.
pub(crate) const COLUMNS: &[OfTask] = &[
    OfTask::text("task", |task| task.task.clone()),
    OfTask::text("verb", |task| task.verb.clone()),
    OfTask::text("about", about),
    OfTask::text("status", |task| state(task.state).to_owned()).toned(|task| tone(task.state)),
    OfTask::text("step", |task| task.step.clone()),
    OfTask::text("fault", |task| task.fault.as_ref().map(ToString::to_string).unwrap_or_default()),
    OfTask::text("code", |task| {
        task.fault.as_ref().map(|fault| format!("{:?}", fault.code)).unwrap_or_default()
    })
    .wide(),
    OfTask::text("host", host).wide(),
    OfTask::text("initiator", |task| task.initiator.clone().unwrap_or_default()).wide(),
    OfTask::count("progress_done", |task| task.progress_done).wide(),
    OfTask::count("progress_all", |task| task.progress_all).wide(),
    OfTask::text("waits_for", |task| task.waits_for.clone().unwrap_or_default()).wide(),
    OfTask::text("decided", |task| task.created_ms.map(utc).unwrap_or_default()).wide(),
    OfTask::text("over", |task| task.finished_ms.map(utc).unwrap_or_default()).wide(),
    OfTask::text("parent", |task| task.parent.clone().unwrap_or_default()).wide(),
    OfTask::text("vm_id", |task| task.vm.clone()).wide(),
];

/// A VM, or what else it is about.
fn about(task: &Task) -> String {
    task.target_name.clone().unwrap_or_else(|| task.vm_name.clone())
}

fn host(task: &Task) -> String {
    let placed = || task.placement.as_ref().and_then(|placement| placement.chosen.clone());
    task.host.clone().or_else(placed).unwrap_or_default()
}

/// In words.
pub(crate) fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Running => "running",
        TaskState::Cancelling => "cancelling",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}

fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Queued | TaskState::Running | TaskState::Cancelling => Tone::Moving,
        TaskState::Done => Tone::Good,
        TaskState::Failed => Tone::Bad,
        TaskState::Cancelled => Tone::Quiet,
    }
}
