//! `vmmctl task retry`

use clap::Args;
use vmm_proto::v1::{Request, RetryTask, Task};

use super::follow::{Question, ask};
use crate::commands::each::Acted;
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{Waiting, finished};

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl task retry $(vmmctl task list --where status=failed -o name)

What a task that failed or was cancelled was to do is asked for again, as a new task.")]
pub(crate) struct Retry {
    /// Ids, one or several.
    #[arg(value_name = "TASK", required = true, add = complete::tasks())]
    tasks: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, retry: Retry) -> Result<(), Failure> {
    let request = |task| Request::RetryTask(RetryTask { task });
    ask(session, &retry.tasks, retry.waiting.no_wait, Question { request, ended }).await
}

fn ended(id: &str, task: Task) -> Acted {
    match finished(task.clone()) {
        Ok(_) => Acted::at_once(id, format!("{} {}: done", task.verb, task.vm_name)).by(task),
        Err(failure) => Acted::not(id, failure).by(task),
    }
}
