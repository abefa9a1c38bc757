//! `vmmctl task cancel`

use clap::Args;
use vmm_proto::v1::{CancelTask, Request, Task, TaskState};

use super::follow::{Question, ask};
use crate::commands::each::Acted;
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{Waiting, finished};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl task cancel 0d026341-1efe-4e7a-a79e-c0b0788fad54
  vmmctl task cancel $(vmmctl task list --where status=open -o name)

A task that was nearly over may be done all the same; then it says so.")]
pub(crate) struct Cancel {
    /// Ids, one or several.
    #[arg(value_name = "TASK", required = true, add = complete::tasks())]
    tasks: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, cancel: Cancel) -> Result<(), Failure> {
    let request = |task| Request::CancelTask(CancelTask { task });
    ask(session, &cancel.tasks, cancel.waiting.no_wait, Question { request, ended }).await
}

fn ended(id: &str, task: Task) -> Acted {
    let said = |how: &str| format!("{} {}: {how}", task.verb, task.vm_name);
    if task.state == TaskState::Cancelled {
        return Acted::at_once(id, said("cancelled and taken back")).by(task);
    }
    match finished(task.clone()) {
        Ok(_) => Acted::at_once(id, said("it was done before it could be cancelled")).by(task),
        Err(failure) => Acted::not(id, failure).by(task),
    }
}
