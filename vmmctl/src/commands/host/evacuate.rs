//! `vmmctl host evacuate`: the manager moves the VMs off a host; here the wait is, and what came of it.

use clap::Args;
use serde::Serialize;
use vmm_proto::v1::{
    EvacuateHost, Fault, FaultCode, Plan, Reply, Request, Task, TaskChild, TaskState,
};

use crate::commands::vm::MoveLimits;
use crate::commands::{plan, task, vm};
use crate::complete;
use crate::confirm::{Reason, confirm};
use crate::failure::{Failure, gravest};
use crate::output::{Answer, Column, Told};
use crate::progress::Board;
use crate::session::{Session, unexpected};
use crate::wait::{Waiting, attended, begin, follow_for};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl host evacuate host-1 --dry-run        who would go where, and who would stay
  vmmctl host evacuate host-1
  vmmctl host evacuate host-1 --at-once 1 -y

The host goes into maintenance, so that nothing new comes, and its VMs move while they run: the
manager does that, whether or not somebody waits here. It stays in maintenance until `vmmctl host
maintenance host-1 off`. A VM that cannot be moved, or whose move fails, stays, and the others go
on; the same command tries again. Where a VM stays that no host can take, the exit code is 10.
`vmmctl task cancel` takes back the moves that are under way; then the host is in maintenance only
if it was before.")]
pub(crate) struct Evacuate {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
    /// Moves at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    at_once: u8,
    #[command(flatten)]
    limits: MoveLimits,
    /// Only say who would go where.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What came of one VM.
#[derive(Debug, Serialize)]
struct Moved {
    vm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    exit_code: u8,
}

impl Moved {
    fn of(child: &TaskChild) -> Self {
        let fault = child.code.zip(child.message.clone());
        let failure = fault.map(|(code, message)| Failure::Task(Fault::new(code, message)));
        let outcome = match (child.state, child.code) {
            (TaskState::Done, _) => "moved",
            (TaskState::Failed, Some(FaultCode::NoCapacity)) => "stays",
            (TaskState::Failed, _) => "failed",
            (TaskState::Cancelled, _) if child.task.is_none() => "not begun",
            (TaskState::Cancelled, _) => "cancelled",
            _ => "under way",
        };
        Self {
            vm: child.vm_name.clone(),
            destination: child.host.clone(),
            outcome,
            task: child.task.clone(),
            error: child.message.clone(),
            exit_code: failure.map_or(0, |failure| failure.exit_code()),
        }
    }
}

type OfMoved = Column<Moved>;

const COLUMNS: &[OfMoved] = &[
    OfMoved::text("vm", |moved| moved.vm.clone()),
    OfMoved::text("destination", |moved| moved.destination.clone().unwrap_or_default()),
    OfMoved::text("outcome", |moved| moved.outcome.to_owned()),
    OfMoved::text("error", |moved| moved.error.clone().unwrap_or_default()),
];

pub(super) async fn run(session: &Session, evacuate: Evacuate) -> Result<(), Failure> {
    let Evacuate { host, at_once, limits, dry_run, yes, waiting } = &evacuate;
    let ask = EvacuateHost {
        host: host.clone(),
        dry_run: *dry_run,
        at_once: Some(u32::from(*at_once)),
        downtime_ms_max: limits.downtime_max,
        slowdown_ms_max: limits.slowdown_max,
        deadline_s: limits.deadline,
        bandwidth_bytes_per_s: limits.bandwidth_bytes_per_s(),
    };
    if *dry_run {
        return plan::show_plan(&session.look, &planned(session, ask).await?);
    }
    let question = format!("move all VMs off host {host}, and let no new one come?");
    confirm(&question, Reason::Loses, *yes).await?;
    let task = begin(session, Request::EvacuateHost(ask)).await?;
    if waiting.no_wait {
        return session.look.print(&Answer::one(&task, task::COLUMNS));
    }
    let task = followed(session, task, limits.deadline).await?;
    let moved: Vec<Moved> = task.children.iter().map(Moved::of).collect();
    session.look.print(&Answer::list(&moved, COLUMNS).told(|| told(host, &task, &moved)))?;
    verdict(&task, &moved)
}

async fn planned(session: &Session, ask: EvacuateHost) -> Result<Plan, Failure> {
    match session.call(Request::EvacuateHost(ask)).await? {
        Reply::Plan(plan) => Ok(plan),
        other => Err(unexpected(&other)),
    }
}

/// It takes as long as its moves may take one after the other, at most.
async fn followed(session: &Session, task: Task, deadline_s: Option<u64>) -> Result<Task, Failure> {
    let board = Board::new(1);
    let moves = u32::try_from(task.children.len()).unwrap_or(u32::MAX).max(1);
    let time = vm::time_for(session.timeout, deadline_s).saturating_mul(moves);
    attended(&board, follow_for(session, task, &board, time)).await?
}

fn told(host: &str, task: &Task, moved: &[Moved]) -> Told {
    let line = match (task.state, moved.len()) {
        (TaskState::Done, 0) => format!("nothing was on host {host}; it is in maintenance"),
        (TaskState::Done, _) => format!("host {host} is empty, and in maintenance"),
        (TaskState::Cancelled, _) => format!("the evacuation of host {host} was cancelled"),
        _ => format!("host {host} is not empty"),
    };
    Told::line(line).table(COLUMNS, moved)
}

/// Empty, or what is left: as grave as the gravest of it.
fn verdict(task: &Task, moved: &[Moved]) -> Result<(), Failure> {
    if task.state == TaskState::Done {
        return Ok(());
    }
    let fault = task.fault.clone().unwrap_or_else(|| {
        Fault::new(FaultCode::Internal, format!("task {} ended without a reason", task.task))
    });
    let own = Failure::Task(fault.clone());
    if task.state == TaskState::Cancelled {
        return Err(own);
    }
    let codes = moved.iter().map(|moved| moved.exit_code).filter(|code| *code > 0);
    let exit_code = gravest(codes.chain([own.exit_code()]));
    Err(Failure::Several { exit_code, message: fault.message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Screen;

    fn child(vm: &str, state: TaskState, fault: Option<(FaultCode, &str)>) -> TaskChild {
        TaskChild {
            vm_name: vm.into(),
            state,
            task: Some("t".into()),
            host: fault.is_none().then(|| "h2".to_owned()),
            code: fault.map(|(code, _)| code),
            message: fault.map(|(_, message)| message.to_owned()),
            ..TaskChild::default()
        }
    }

    fn ended(state: TaskState, code: Option<FaultCode>, children: Vec<TaskChild>) -> Task {
        let fault = code.map(|code| Fault::new(code, "host h1 is not empty; these stay: …"));
        Task { state, fault, children, ..Task::default() }
    }

    fn check(task: &Task, expect: Option<u8>) {
        let moved: Vec<Moved> = task.children.iter().map(Moved::of).collect();
        let code = verdict(task, &moved).err().map(|failure| failure.exit_code());
        assert_eq!(code, expect, "{task:?}");
    }

    #[test]
    fn the_exit_code_is_that_of_the_gravest_that_stays() {
        let done = || child("a", TaskState::Done, None);
        let stays = || child("db", TaskState::Failed, Some((FaultCode::NoCapacity, "no room")));
        let failed = || child("b", TaskState::Failed, Some((FaultCode::HostFailed, "cut")));
        check(&ended(TaskState::Done, None, vec![done()]), None);
        check(&ended(TaskState::Done, None, Vec::new()), None);
        let no_room = Some(FaultCode::NoCapacity);
        check(&ended(TaskState::Failed, no_room, vec![done(), stays()]), Some(10));
        let grave = Failure::Task(Fault::new(FaultCode::HostFailed, "x")).exit_code();
        let both = ended(TaskState::Failed, no_room, vec![done(), stays(), failed()]);
        check(&both, Some(gravest([10, grave])));
        let cancelled = Failure::Task(Fault::new(FaultCode::Cancelled, "x")).exit_code();
        let waits = child("c", TaskState::Cancelled, None);
        check(
            &ended(TaskState::Cancelled, Some(FaultCode::Cancelled), vec![done(), waits]),
            Some(cancelled),
        );
    }

    #[test]
    fn who_left_and_who_stays_is_told() {
        let not_begun = TaskChild { task: None, ..child("c", TaskState::Cancelled, None) };
        let stays = child("db", TaskState::Failed, Some((FaultCode::NoCapacity, "no room")));
        let children = vec![child("a", TaskState::Done, None), not_begun, stays];
        let task = ended(TaskState::Failed, Some(FaultCode::NoCapacity), children);
        let moved: Vec<Moved> = task.children.iter().map(Moved::of).collect();
        let text = told("h1", &task, &moved).lay_out(Screen::PIPE, true);
        assert_eq!(format!("\n{text}"), GOLDEN);
    }

    const GOLDEN: &str = "
host h1 is not empty

VM  DESTINATION  OUTCOME    ERROR
a   h2           moved      -
c   h2           not begun  -
db  -            stays      no room
";
}
