//! The columns of a task.

use vmm_proto::v1::{Task, TaskState};

use crate::output::{Column, Tone};

type OfTask = Column<Task>;

/// The id first.
pub(crate) const COLUMNS: &[OfTask] = &[
    OfTask::text("task", |task| task.task.clone()),
    OfTask::text("verb", |task| task.verb.clone()),
    OfTask::text("vm", |task| task.vm_name.clone()),
    OfTask::text("status", |task| state(task.state).to_owned()).toned(|task| tone(task.state)),
    OfTask::text("step", |task| task.step.clone()),
    OfTask::text("fault", |task| task.fault.as_ref().map(ToString::to_string).unwrap_or_default()),
    OfTask::text("code", |task| {
        task.fault.as_ref().map(|fault| format!("{:?}", fault.code)).unwrap_or_default()
    })
    .wide(),
    OfTask::text("host", host).wide(),
    OfTask::text("vm_id", |task| task.vm.clone()).wide(),
];

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
