//! `vmmctl task retry`

use clap::Args;
use vmm_proto::v1::{Request, RetryTask, Task};

use crate::commands::each::{Acted, each};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{Waiting, begin, finished, follow};

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
    let no_wait = retry.waiting.no_wait;
    each(&session.look, &retry.tasks, async |id, board| {
        let request = Request::RetryTask(RetryTask { task: id.to_owned() });
        let task = match begin(session, request).await {
            Ok(task) if no_wait => return Acted::at_once(id, task.task.clone()).by(task),
            Ok(task) => task,
            Err(failure) => return Acted::not(id, failure),
        };
        let over = follow(session, task, board).await;
        over.map_or_else(|failure| Acted::not(id, failure), |task| ended(id, task))
    })
    .await
}

fn ended(id: &str, task: Task) -> Acted {
    match finished(task.clone()) {
        Ok(_) => Acted::at_once(id, format!("{} {}: done", task.verb, task.vm_name)).by(task),
        Err(failure) => Acted::not(id, failure).by(task),
    }
}
