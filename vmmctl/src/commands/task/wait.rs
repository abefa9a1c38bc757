//! `vmmctl task wait`

use clap::Args;
use vmm_proto::v1::{Reply, Request, WaitTask};

use crate::commands::tell;
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wait::{finished, follow};

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Its id.
    task: String,
}

pub(super) async fn run(session: &Session, wait: Wait) -> Result<(), Failure> {
    let now = Request::WaitTask(WaitTask { task: wait.task, wait_ms_max: 0 });
    let task = match session.call(now).await? {
        Reply::Task(task) => *task,
        other => return Err(unexpected(&other)),
    };
    let task = finished(follow(session, task).await?)?;
    tell::task(&session.look, &task, &format!("{} {}: done", task.verb, task.vm_name))
}
