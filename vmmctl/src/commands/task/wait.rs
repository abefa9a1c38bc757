//! `vmmctl task wait`

use clap::Args;
use vmm_proto::v1::Task;

use super::show::look;

use crate::commands::each::{Acted, each};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{finished, follow};

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl task wait $(vmmctl vm start web-1 web-2 --no-wait)")]
pub(crate) struct Wait {
    /// Ids, one or several.
    #[arg(value_name = "TASK", required = true, add = complete::tasks())]
    tasks: Vec<String>,
}

pub(super) async fn run(session: &Session, wait: Wait) -> Result<(), Failure> {
    each(&session.look, &wait.tasks, async |id, board| {
        let over = match look(session, id).await {
            Ok(task) => follow(session, task, board).await,
            Err(failure) => Err(failure),
        };
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
