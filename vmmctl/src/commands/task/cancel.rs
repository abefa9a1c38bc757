//! `vmmctl task cancel`

use clap::Args;
use vmm_proto::v1::{CancelTask, Request, TaskState};

use crate::commands::tell;
use crate::failure::Failure;
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
    let how = match task.state {
        TaskState::Cancelled => "cancelled and taken back",
        _ => "it was done before it could be cancelled",
    };
    tell::task(&session.look, &task, &format!("{} {}: {how}", task.verb, task.vm_name))
}
