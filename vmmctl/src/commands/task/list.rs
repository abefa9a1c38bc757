//! `vmmctl task list`

use vmm_proto::v1::{ListTasks, Reply, Request, Task};

use super::COLUMNS;
use crate::args::Listing;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    let tasks = tasks(session).await?;
    listing.apply(&session.look).print(&Answer::list(&tasks, COLUMNS))
}

/// The latest tasks, the newest first.
pub(in crate::commands) async fn tasks(session: &Session) -> Result<Vec<Task>, Failure> {
    match session.call(Request::ListTasks(ListTasks {})).await? {
        Reply::Tasks(tasks) => Ok(tasks.tasks),
        other => Err(unexpected(&other)),
    }
}
