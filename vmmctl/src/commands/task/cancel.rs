//! `vmmctl task cancel`

use clap::Args;
use vmm_proto::v1::{CancelTask, Request, TaskState};

use crate::failure::Failure;
use crate::output::print;
use crate::session::Session;
use crate::wait::{begin, finished, follow};

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Its id.
    task: String,
}

/// A task that was nearly over may be done all the same.
pub(super) async fn run(session: &Session, cancel: Cancel) -> Result<(), Failure> {
    let task = begin(session, Request::CancelTask(CancelTask { task: cancel.task })).await?;
    let task = follow(session, task).await?;
    let task = if task.state == TaskState::Cancelled { task } else { finished(task)? };
    print(session.format, &task, |task| match task.state {
        TaskState::Cancelled => {
            format!("{} {}: cancelled and taken back\n", task.verb, task.vm_name)
        }
        _ => format!("{} {}: it was done before it could be cancelled\n", task.verb, task.vm_name),
    })
}
