//! `vmmctl task list`

use vmm_proto::v1::{ListTasks, Reply, Request, Task};

use super::COLUMNS;
use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::failure::Failure;
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    live::list(session, listing, Source { kinds: Kinds::TASKS, columns: COLUMNS }, tasks).await
}

/// The latest tasks, the newest first.
pub(crate) async fn tasks(session: &Session) -> Result<Vec<Task>, Failure> {
    match session.call(Request::ListTasks(ListTasks {})).await? {
        Reply::Tasks(tasks) => Ok(tasks.tasks),
        other => Err(unexpected(&other)),
    }
}
