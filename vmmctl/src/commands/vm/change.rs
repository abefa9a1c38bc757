//! The one way in which commands change VMs: choose them, ask for it, wait, tell.

use std::time::Duration;

use vmm_proto::v1::{Reply, Request, Task};

use super::targets::{Deed, Targets};
use crate::commands::each::{Acted, each};
use crate::failure::Failure;
use crate::progress::Board;
use crate::session::{Session, unexpected};
use crate::wait::{Waiting, finished, follow_for};

/// What is said when it is done: of the VM's name, and of the task where there was one.
type Said = Box<dyn Fn(&str, Option<&Task>) -> String>;

/// What is asked of the manager for one VM.
pub(super) struct Ask {
    request: Request,
    said: Said,
    check: fn(&Task) -> Result<(), Failure>,
    /// How long it is waited for, when that is not --timeout.
    time: Option<Duration>,
}

impl Ask {
    pub(super) fn new(
        request: Request,
        said: impl Fn(&str, Option<&Task>) -> String + 'static,
    ) -> Self {
        Self { request, said: Box::new(said), check: |_| Ok(()), time: None }
    }

    /// It is waited for so long.
    pub(super) fn within(self, time: Duration) -> Self {
        Self { time: Some(time), ..self }
    }

    /// A task that is done may still have fallen short.
    pub(super) fn checked(self, check: fn(&Task) -> Result<(), Failure>) -> Self {
        Self { check, ..self }
    }
}

/// Changes the chosen VMs.
pub(super) async fn change(
    session: &Session,
    targets: Targets,
    waiting: Waiting,
    deed: Deed,
    ask: impl AsyncFn(&str) -> Result<Ask, Failure>,
) -> Result<(), Failure> {
    let Some(names) = targets.choose(session, deed).await? else {
        return Ok(());
    };
    let one = async |name: &str, board: &Board| match ask(name).await {
        Ok(asked) => carry_out(session, (name, asked), waiting, board).await,
        Err(failure) => Acted::not(name, failure),
    };
    each(&session.look, &names, one).await
}

async fn carry_out(
    session: &Session,
    (name, asked): (&str, Ask),
    waiting: Waiting,
    board: &Board,
) -> Acted {
    let task = match session.call(asked.request.clone()).await {
        Ok(Reply::Task(task)) => *task,
        Ok(Reply::Done(_)) => return Acted::at_once(name, (asked.said)(name, None)),
        Ok(other) => return Acted::not(name, unexpected(&other)),
        Err(failure) => return Acted::not(name, failure),
    };
    if waiting.no_wait {
        return Acted::at_once(name, task.task.clone()).by(task);
    }
    let time = asked.time.unwrap_or(session.timeout);
    match follow_for(session, task, board, time).await {
        Ok(task) => ended(name, task, &asked),
        Err(failure) => Acted::not(name, failure),
    }
}

fn ended(name: &str, task: Task, asked: &Ask) -> Acted {
    if let Err(failure) = finished(task.clone()) {
        return Acted::not(name, failure).by(task);
    }
    let acted = Acted::at_once(name, (asked.said)(&task.vm_name, Some(&task)));
    match (asked.check)(&task) {
        Ok(()) => acted.by(task),
        Err(failure) => acted.failed(failure).by(task),
    }
}
