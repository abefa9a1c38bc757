//! `vmmctl host evacuate`: carries out what `vmmctl plan evacuation` says.
//!
//! ```text
//!   maintenance on ─► plan ─► wave after wave, a few moves at a time ─► empty
//!                                └─ one fails: no other is begun; those under way end; what was done and what is left is said
//! ```

use clap::Args;
use futures_util::StreamExt as _;
use serde::Serialize;
use vmm_proto::v1::{
    Fault, FaultCode, MigrateVm, Plan, PlanEvacuation, PlannedMove, Reply, Request, SetMaintenance,
};

use crate::commands::{plan, vm};
use crate::complete;
use crate::confirm::{Reason, confirm};
use crate::failure::{Failure, gravest};
use crate::output::{Answer, Column, Told, visible_lines};
use crate::progress::Board;
use crate::session::{Session, unexpected};
use crate::wait::{attended, begin, finished, follow_for};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl host evacuate host-1 --dry-run        who would go where, and who would stay
  vmmctl host evacuate host-1
  vmmctl host evacuate host-1 --at-once 1 -y

The host goes into maintenance, so that nothing new comes, and its VMs move while they run. It stays
in maintenance until `vmmctl host maintenance host-1 off`. When a move fails, no other is begun; the
same command goes on from there. A VM that cannot be moved stays, and the exit code is 10.")]
pub(crate) struct Evacuate {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
    /// Moves at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    at_once: u8,
    /// Only say who would go where.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What came of one move.
#[derive(Debug, Serialize)]
struct Moved {
    vm: String,
    destination: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    exit_code: u8,
}

const MOVED: &str = "moved";
const FAILED: &str = "failed";
const NOT_BEGUN: &str = "not begun";

impl Moved {
    fn of(step: &PlannedMove, outcome: &'static str) -> Self {
        let (vm, destination) = (step.vm_name.clone(), step.destination.clone());
        Self { vm, destination, outcome, task: None, error: None, exit_code: 0 }
    }

    fn failed(step: &PlannedMove, task: Option<String>, failure: &Failure) -> Self {
        let (error, exit_code) = (Some(failure.to_string()), failure.exit_code());
        Self { task, error, exit_code, ..Self::of(step, FAILED) }
    }
}

type OfMoved = Column<Moved>;

const COLUMNS: &[OfMoved] = &[
    OfMoved::text("vm", |moved| moved.vm.clone()),
    OfMoved::text("destination", |moved| moved.destination.clone()),
    OfMoved::text("outcome", |moved| moved.outcome.to_owned()),
    OfMoved::text("error", |moved| moved.error.clone().unwrap_or_default()),
];

pub(super) async fn run(session: &Session, evacuate: Evacuate) -> Result<(), Failure> {
    let Evacuate { host, at_once, dry_run, yes } = evacuate;
    if dry_run {
        return plan::show_plan(&session.look, &planned(session, &host).await?);
    }
    let question = format!("move all VMs off host {host}, and let no new one come?");
    confirm(&question, Reason::Loses, yes).await?;
    let set = SetMaintenance { host: host.clone(), maintenance: true };
    match session.call(Request::SetMaintenance(set)).await? {
        Reply::Done(_) => {}
        other => return Err(unexpected(&other)),
    }
    let plan = planned(session, &host).await?;
    let moved = carry_out(session, &plan, usize::from(at_once)).await?;
    let answer = Answer::list(&moved, COLUMNS);
    let is_empty = !has_failed(&moved) && plan.kept.is_empty();
    session.look.print(&answer.told(|| told(&host, is_empty, &moved)))?;
    verdict(&host, &plan, &moved)
}

fn told(host: &str, is_empty: bool, moved: &[Moved]) -> Told {
    let line = match (is_empty, moved.len()) {
        (true, 0) => format!("nothing was on host {host}; it is in maintenance"),
        (true, _) => format!("host {host} is empty, and in maintenance"),
        (false, _) => format!("host {host} is not empty"),
    };
    Told::line(line).table(COLUMNS, moved)
}

async fn planned(session: &Session, host: &str) -> Result<Plan, Failure> {
    let ask = PlanEvacuation { host: host.to_owned() };
    match session.call(Request::PlanEvacuation(ask)).await? {
        Reply::Plan(plan) => Ok(plan),
        other => Err(unexpected(&other)),
    }
}

/// Wave after wave: what a wave makes room for is in the next one.
async fn carry_out(session: &Session, plan: &Plan, at_once: usize) -> Result<Vec<Moved>, Failure> {
    let board = Board::new(plan.moves.len());
    let work = async {
        let mut done: Vec<Moved> = Vec::with_capacity(plan.moves.len());
        for wave in plan.moves.chunk_by(|one, next| one.wave == next.wave) {
            if has_failed(&done) {
                done.extend(wave.iter().map(|step| Moved::of(step, NOT_BEGUN)));
            } else {
                done.extend(one_wave(session, wave, &board, at_once).await);
            }
        }
        done
    };
    attended(&board, work).await
}

fn has_failed(done: &[Moved]) -> bool {
    done.iter().any(|moved| moved.outcome == FAILED)
}

async fn one_wave(
    session: &Session,
    wave: &[PlannedMove],
    board: &Board,
    at_once: usize,
) -> Vec<Moved> {
    let stop = std::cell::Cell::new(false);
    let moves = futures_util::stream::iter(wave).map(|step| async {
        if stop.get() {
            return Moved::of(step, NOT_BEGUN);
        }
        let moved = one(session, step, board).await;
        if moved.outcome == FAILED {
            stop.set(true);
        }
        board.over(moved.task.as_deref());
        board.aside(|| tell(&moved));
        moved
    });
    moves.buffered(at_once).collect().await
}

/// A line while others go on.
fn tell(moved: &Moved) {
    let Moved { vm, destination, .. } = moved;
    match &moved.error {
        None => eprintln!("{vm} runs on {destination} now"),
        Some(error) => eprintln!("vmmctl: {vm}: {}", visible_lines(error)),
    }
}

async fn one(session: &Session, step: &PlannedMove, board: &Board) -> Moved {
    let (vm, host) = (step.vm.clone(), Some(step.destination.clone()));
    let request = Request::MigrateVm(MigrateVm { vm, host, ..MigrateVm::default() });
    let task = match begin(session, request).await {
        Ok(task) => task,
        Err(failure) => return Moved::failed(step, None, &failure),
    };
    let id = Some(task.task.clone());
    let time = vm::time_for(session.timeout, None);
    match follow_for(session, task, board, time).await.and_then(finished) {
        Ok(_) => Moved { task: id, ..Moved::of(step, MOVED) },
        Err(failure) => Moved::failed(step, id, &failure),
    }
}

/// Empty, or what is left.
fn verdict(host: &str, plan: &Plan, moved: &[Moved]) -> Result<(), Failure> {
    let names = |outcome: &str| -> Vec<&str> {
        let of = moved.iter().filter(|moved| moved.outcome == outcome);
        of.map(|moved| moved.vm.as_str()).collect()
    };
    let (done, failed, left) = (names(MOVED), names(FAILED), names(NOT_BEGUN));
    if !failed.is_empty() {
        let exit_code = gravest(moved.iter().map(|moved| moved.exit_code));
        let mut message = format!(
            "{} of {} moves were done; {} failed",
            done.len(),
            moved.len(),
            failed.join(", ")
        );
        if !left.is_empty() {
            message.push_str(&format!("; not begun: {}", left.join(", ")));
        }
        message.push_str(&format!(". Host {host} is in maintenance; the same command goes on"));
        return Err(Failure::Several { exit_code, message });
    }
    if !plan.kept.is_empty() {
        let stay = |kept: &vmm_proto::v1::KeptVm| format!("{} ({})", kept.vm_name, kept.reason);
        let stay: Vec<String> = plan.kept.iter().map(stay).collect();
        let message = format!("host {host} is not empty; these stay: {}", stay.join("; "));
        return Err(Failure::Fault(Fault::new(FaultCode::NoCapacity, message)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::KeptVm;

    use super::*;

    fn step(vm: &str) -> PlannedMove {
        PlannedMove { vm_name: vm.into(), destination: "h2".into(), ..PlannedMove::default() }
    }

    fn check(moved: &[Moved], kept: &[&str], expect: Option<(u8, &str)>) {
        let kept = kept.iter().map(|vm| KeptVm { vm_name: (*vm).into(), ..KeptVm::default() });
        let plan = Plan { kept: kept.collect(), ..Plan::default() };
        match (verdict("h1", &plan, moved), expect) {
            (Ok(()), None) => {}
            (Err(failure), Some((code, words))) => {
                assert_eq!(failure.exit_code(), code, "{failure}");
                assert!(failure.to_string().contains(words), "{failure}");
            }
            (told, expect) => panic!("{told:?}, not {expect:?}"),
        }
    }

    #[test]
    fn a_host_is_empty_or_what_is_left_is_said() {
        let fault = Fault::new(FaultCode::HostFailed, "the link was cut");
        let failed = || Moved::failed(&step("b"), None, &Failure::Fault(fault.clone()));
        let moved = || Moved::of(&step("a"), MOVED);
        check(&[moved()], &[], None);
        check(&[], &[], None);
        check(&[moved()], &["db"], Some((10, "these stay: db")));
        let left = Moved::of(&step("c"), NOT_BEGUN);
        let code = failed().exit_code;
        check(
            &[moved(), failed(), left],
            &["db"],
            Some((code, "1 of 3 moves were done; b failed; not begun: c")),
        );
    }
}
