//! Something is asked about tasks, and each is followed until it is over.

use vmm_proto::v1::{Request, Task};

use crate::commands::each::{Acted, each};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{begin, follow};

/// What is asked of a task by its id, and what is said when it is over.
pub(super) struct Question {
    pub(super) request: fn(String) -> Request,
    pub(super) ended: fn(&str, Task) -> Acted,
}

pub(super) async fn ask(
    session: &Session,
    tasks: &[String],
    no_wait: bool,
    question: Question,
) -> Result<(), Failure> {
    each(&session.look, tasks, async |id, board| {
        let task = match begin(session, (question.request)(id.to_owned())).await {
            Ok(task) if no_wait => return Acted::at_once(id, task.task.clone()).by(task),
            Ok(task) => task,
            Err(failure) => return Acted::not(id, failure),
        };
        let over = follow(session, task, board).await;
        over.map_or_else(|failure| Acted::not(id, failure), |task| (question.ended)(id, task))
    })
    .await
}
