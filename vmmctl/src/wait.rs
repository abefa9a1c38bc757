//! Tasks: start one, follow it, say how it ended.

use std::time::Duration;

use tokio::time::Instant;
use vmm_proto::v1::{Fault, FaultCode, Reply, Request, Task, TaskState, WaitTask};

use crate::failure::Failure;
use crate::progress::Board;
use crate::session::{Session, unexpected};

/// The manager is asked again after this long at the latest, so that steps are seen.
const POLL: Duration = Duration::from_secs(2);
/// A task may end a little after the guest's time is up.
const MARGIN: Duration = Duration::from_secs(15);

/// Is a change waited for?
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Waiting {
    /// Wait until the task is over, as long as --timeout says. This is the usual.
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Print the task and return at once; `vmmctl task wait` follows it later.
    #[arg(long, overrides_with = "wait")]
    pub(crate) no_wait: bool,
}

/// Starts a change.
pub(crate) async fn begin(session: &Session, request: Request) -> Result<Task, Failure> {
    match session.call(request).await? {
        Reply::Task(task) => Ok(*task),
        other => Err(unexpected(&other)),
    }
}

/// A task that is over, if it was done.
pub(crate) fn finished(task: Task) -> Result<Task, Failure> {
    match task.state {
        TaskState::Done => Ok(task),
        _ => Err(falls_short(task.fault.unwrap_or_else(|| {
            Fault::new(FaultCode::Internal, format!("task {} ended without a reason", task.task))
        }))),
    }
}

/// A guest that did not do it in time: its agent says so.
fn falls_short(fault: Fault) -> Failure {
    if fault.code == FaultCode::TimedOut && fault.hop.starts_with("agent ") {
        Failure::FellShort(fault.to_string())
    } else {
        Failure::Task(fault)
    }
}

/// Waits until a task is over, or the time is; then the task goes on.
pub(crate) async fn follow(session: &Session, task: Task, board: &Board) -> Result<Task, Failure> {
    follow_for(session, task, board, session.timeout).await
}

/// As [`follow`], for so long.
pub(crate) async fn follow_for(
    session: &Session,
    mut task: Task,
    board: &Board,
    time: Duration,
) -> Result<Task, Failure> {
    let end = Instant::now() + time + MARGIN;
    loop {
        board.show(&task);
        if task.state.is_over() {
            return Ok(task);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let goes_on = goes_on(std::slice::from_ref(&task.task));
            let message = format!("not over within {time:?}; {goes_on}");
            return Err(Failure::TimedOut(message));
        }
        let wait_ms_max = u64::try_from(left.min(POLL).as_millis()).unwrap_or(u64::MAX);
        let wait = Request::WaitTask(WaitTask { task: task.task.clone(), wait_ms_max });
        task = match session.call(wait).await? {
            Reply::Task(task) => *task,
            other => return Err(unexpected(&other)),
        };
    }
}

/// Does it with its progress shown. Ctrl-C ends the wait, and says what goes on.
pub(crate) async fn attended<R>(
    board: &Board,
    work: impl Future<Output = R>,
) -> Result<R, Failure> {
    tokio::select! {
        result = work => Ok(result),
        never = board.ticks() => match never {},
        _ = tokio::signal::ctrl_c() => {
            let goes_on = goes_on(&board.under_way());
            Err(Failure::Interrupted(format!("interrupted; {goes_on}")))
        }
    }
}

fn goes_on(tasks: &[String]) -> String {
    let ids = tasks.join(" ");
    match tasks.len() {
        0 => "no task was under way that was waited for; see `vmmctl task list`".to_owned(),
        1 => format!(
            "the task goes on. Follow it: vmmctl task wait {ids}. Take it back: vmmctl task cancel {ids}"
        ),
        _ => format!(
            "the tasks go on. Follow them: vmmctl task wait {ids}. Take them back: vmmctl task cancel {ids}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_guest_that_was_too_slow_falls_short() {
        for (code, hop, exit_code) in [
            (FaultCode::TimedOut, "agent h1", 3),
            (FaultCode::TimedOut, "manager", 9),
            (FaultCode::TimedOut, "", 9),
            (FaultCode::BadState, "agent h1", 6),
        ] {
            let failure = falls_short(Fault::new(code, "x").at(hop));
            assert_eq!(failure.exit_code(), exit_code, "{code:?} at {hop:?}");
        }
    }

    #[test]
    fn whoever_stops_waiting_hears_how_to_go_on() {
        let two = goes_on(&["a".into(), "b".into()]);
        assert!(two.contains("task wait a b") && two.contains("task cancel a b"), "{two}");
        assert!(goes_on(&[]).contains("task list"));
    }
}
