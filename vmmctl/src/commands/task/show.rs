//! `vmmctl task show` and `task log`: one task, with its steps, its parts and what it noted.

use std::time::Duration;

use clap::Args;
use vmm_proto::v1::{PhaseStatus, Reply, Request, Task, TaskChild, TaskLine, TaskPhase, WaitTask};

use super::{COLUMNS, state, when::utc};
use crate::complete;
use crate::failure::Failure;
use crate::output::{Answer, Column, Told, Tone};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl task show $(vmmctl task list -o name | head -1)")]
pub(crate) struct Show {
    /// Its id.
    #[arg(add = complete::tasks())]
    task: String,
}

type OfPhase = Column<TaskPhase>;
type OfChild = Column<TaskChild>;
type OfLine = Column<TaskLine>;

const PHASES: &[OfPhase] = &[
    OfPhase::text("step", |phase| phase.name.clone()),
    OfPhase::text("status", |phase| phase_status(phase.status).to_owned()).toned(tone),
];

const CHILDREN: &[OfChild] = &[
    OfChild::text("vm", |child| child.vm_name.clone()),
    OfChild::text("status", |child| state(child.state).to_owned()),
    OfChild::text("task", |child| child.task.clone().unwrap_or_default()),
    OfChild::text("fault", |child| child.message.clone().unwrap_or_default()),
];

const LINES: &[OfLine] =
    &[OfLine::text("at", |line| utc(line.at_ms)), OfLine::text("text", |line| line.text.clone())];

/// Everything of one task.
pub(super) async fn show(session: &Session, show: Show) -> Result<(), Failure> {
    let task = look(session, &show.task).await?;
    session.look.print(&Answer::one(&task, COLUMNS).told(|| told(&task)))
}

/// What it noted, the latest last.
pub(super) async fn log(session: &Session, show: Show) -> Result<(), Failure> {
    let task = look(session, &show.task).await?;
    session.look.print(&Answer::list(&task.lines, LINES))
}

/// A task as it is now.
pub(super) async fn look(session: &Session, task: &str) -> Result<Task, Failure> {
    let now = Request::WaitTask(WaitTask { task: task.to_owned(), wait_ms_max: 0 });
    match session.call(now).await? {
        Reply::Task(task) => Ok(*task),
        other => Err(unexpected(&other)),
    }
}

fn told(task: &Task) -> Told {
    let about = task.target_name.clone().unwrap_or_else(|| task.vm_name.clone());
    let at = |ms: Option<u64>| ms.map(utc).unwrap_or_default();
    let waits = match (task.place, &task.waits_for) {
        (Some(place), Some(what)) => format!("{what}, at place {place}"),
        _ => String::new(),
    };
    Told::fields(vec![
        ("task", task.task.clone()),
        ("verb", task.verb.clone()),
        ("about", about),
        ("status", state(task.state).to_owned()),
        ("step", task.step.clone()),
        ("waits for", waits),
        ("host", task.host.clone().unwrap_or_default()),
        ("asked by", task.initiator.clone().unwrap_or_default()),
        ("decided", at(task.created_ms)),
        ("begun", at(task.started_ms)),
        ("over", at(task.finished_ms)),
        ("took", took(task)),
        ("fault", task.fault.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("again for", task.retry_of.clone().unwrap_or_default()),
        ("part of", task.parent.clone().unwrap_or_default()),
    ])
    .table(PHASES, &task.phases)
    .table(CHILDREN, &task.children)
    .table(LINES, &task.lines)
}

fn took(task: &Task) -> String {
    let times = task.started_ms.zip(task.finished_ms);
    let took = times.map(|(begun, over)| Duration::from_millis(over.saturating_sub(begun)));
    took.map(|took| format!("{took:?}")).unwrap_or_default()
}

fn phase_status(status: PhaseStatus) -> &'static str {
    match status {
        PhaseStatus::Waiting => "waiting",
        PhaseStatus::Running => "running",
        PhaseStatus::Done => "done",
        PhaseStatus::TakingBack => "being taken back",
        PhaseStatus::TakenBack => "taken back",
        PhaseStatus::LeftOver => "left over: somebody must look",
    }
}

fn tone(phase: &TaskPhase) -> Tone {
    match phase.status {
        PhaseStatus::Waiting | PhaseStatus::TakenBack => Tone::Quiet,
        PhaseStatus::Running | PhaseStatus::TakingBack => Tone::Moving,
        PhaseStatus::Done => Tone::Good,
        PhaseStatus::LeftOver => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::TaskState;

    use super::*;
    use crate::screen::Screen;

    const GOLDEN: &str = "
task      7
verb      StartVm
about     web
status    failed
step      taking back: build
host      h1
asked by  operator/ada
decided   2026-11-22 15:16:26
took      1.5s

STEP    STATUS
decide  done
build   left over: somebody must look

AT                   TEXT
2026-11-22 15:16:27  no\\x1b room
";

    #[test]
    fn a_task_says_who_what_when_and_how_far() {
        let phase = |name: &str, status| TaskPhase { name: name.into(), status };
        let task = Task {
            task: "7".into(),
            verb: "StartVm".into(),
            vm_name: "web".into(),
            state: TaskState::Failed,
            step: "taking back: build".into(),
            host: Some("h1".into()),
            initiator: Some("operator/ada".into()),
            created_ms: Some(1_795_360_586_000),
            started_ms: None,
            phases: vec![phase("decide", PhaseStatus::Done), phase("build", PhaseStatus::LeftOver)],
            lines: vec![TaskLine { at_ms: 1_795_360_587_900, text: "no\x1b room".into() }],
            ..Task::default()
        };
        let task = Task { finished_ms: Some(2500), started_ms: Some(1000), ..task };
        let text = told(&task).lay_out(Screen::PIPE, true);
        let text =
            text.lines().filter(|line| !line.starts_with("begun") && !line.starts_with("over"));
        let text: String = text.map(|line| format!("{line}\n")).collect();
        assert_eq!(format!("\n{text}"), GOLDEN);
    }
}
