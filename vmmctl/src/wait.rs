//! Tasks: start one, follow it, say how it ended.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;
use vmm_proto::v1::{Fault, FaultCode, Reply, Request, Task, TaskState, WaitTask};

use crate::failure::Failure;
use crate::session::{Session, unexpected};

/// The manager is asked again after this long at the latest, so that steps are seen.
const POLL: Duration = Duration::from_secs(2);
/// A task may end a little after the guest's time is up.
const MARGIN: Duration = Duration::from_secs(15);

/// Starts a change.
pub(crate) async fn begin(session: &Session, request: Request) -> Result<Task, Failure> {
    match session.call(request).await? {
        Reply::Task(task) => Ok(*task),
        other => Err(unexpected(&other)),
    }
}

/// Starts a change and waits until it is done.
pub(crate) async fn done(session: &Session, request: Request) -> Result<Task, Failure> {
    let task = begin(session, request).await?;
    finished(follow(session, task).await?)
}

/// A task that is over, if it was done.
pub(crate) fn finished(task: Task) -> Result<Task, Failure> {
    match task.state {
        TaskState::Done => Ok(task),
        _ => Err(Failure::Fault(task.fault.unwrap_or_else(|| {
            Fault::new(FaultCode::Internal, format!("task {} ended without a reason", task.task))
        }))),
    }
}

/// Waits until a task is over, the time is, or Ctrl-C comes. The task goes on in the latter two.
pub(crate) async fn follow(session: &Session, task: Task) -> Result<Task, Failure> {
    let id = task.task.clone();
    tokio::select! {
        over = until_over(session, task) => over,
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::Interrupted(format!("interrupted; {}", goes_on(&id))))
        }
    }
}

async fn until_over(session: &Session, mut task: Task) -> Result<Task, Failure> {
    let end = Instant::now() + session.timeout + MARGIN;
    let mut progress = Progress::new();
    loop {
        progress.show(&task);
        if task.state.is_over() {
            return Ok(task);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = format!("not over within {:?}; {}", session.timeout, goes_on(&task.task));
            return Err(Failure::Fault(Fault::new(FaultCode::TimedOut, message)));
        }
        let wait_ms_max = u64::try_from(left.min(POLL).as_millis()).unwrap_or(u64::MAX);
        let wait = Request::WaitTask(WaitTask { task: task.task.clone(), wait_ms_max });
        task = match session.call(wait).await? {
            Reply::Task(task) => *task,
            other => return Err(unexpected(&other)),
        };
    }
}

fn goes_on(task: &str) -> String {
    format!(
        "the task goes on. Follow it: vmmctl task wait {task}. Take it back: vmmctl task cancel {task}"
    )
}

/// Steps on stderr, if a person is there to see them.
struct Progress {
    shown: String,
    to_a_person: bool,
}

impl Progress {
    fn new() -> Self {
        Self { shown: String::new(), to_a_person: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, task: &Task) {
        if self.to_a_person && self.shown != task.step {
            let line = format!("{} {}: {}\n", task.verb, task.vm_name, task.step);
            let _ = std::io::stderr().write_all(line.as_bytes());
            self.shown.clone_from(&task.step);
        }
    }
}
