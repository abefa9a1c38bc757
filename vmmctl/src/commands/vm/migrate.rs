//! `vmmctl vm migrate`

use std::time::Duration;

use clap::Args;
use vmm_proto::v1::{
    Fault, FaultCode, MigrateVm, MigrationPlan, PlanMigration, RefusedHost, Reply, Request, Task,
    Way,
};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::commands::plan;
use crate::complete;
use crate::failure::Failure;
use crate::output::{Answer, Column, Told, Unit};
use crate::session::{Session, unexpected};
use crate::wait::Waiting;

/// What the manager means when no deadline is said, and what an orderly end may take beyond.
const DEADLINE_S: u64 = 3600;
const GRACE: Duration = Duration::from_secs(180);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm migrate web                        wherever it costs least
  vmmctl vm migrate web --to host-2
  vmmctl vm migrate web --dry-run              where it would go, and why nowhere else
  vmmctl vm migrate web db --to host-2 --bandwidth 50 --downtime-max 100

The VM runs on while its memory is copied. At the end it stands still for a moment: no longer than
--downtime-max, or it stays where it is. A PVH guest that writes faster than the link carries is given
less of its processors before that, so that it loses no more than --slowdown-max of its time; where that
does not help, it stays where it is. A PV guest on a host whose Xen cannot log what it writes (see PV
MOVES in `vmmctl host list -o wide`) stands still for all of the copying, if --downtime-max allows it.

It can be taken back (Ctrl-C says how) until the other host has it; then everything is as before. A
VM moves within its pool, and only if its disks lie below a directory that both hosts share.")]
pub(crate) struct Migrate {
    /// Names or ids, one or several.
    #[arg(value_name = "VM", required = true, add = complete::vms())]
    vms: Vec<String>,
    /// The host that it shall run on, by name or id [default: wherever it costs least].
    #[arg(long, value_name = "HOST", add = complete::hosts())]
    to: Option<String>,
    #[command(flatten)]
    limits: MoveLimits,
    /// Only say where it would go, what that takes, and why other hosts cannot have it.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What a move may take.
#[derive(Debug, Args)]
pub(in crate::commands) struct MoveLimits {
    /// How long a guest may stand still, in milliseconds [default: 300].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(in crate::commands) downtime_max: Option<u64>,
    /// How much of its time a guest that writes faster than the link carries may lose to being slowed down, in
    /// milliseconds; 0: it is not slowed down [default: 5000].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub(in crate::commands) slowdown_max: Option<u64>,
    /// How long it may be copied, in seconds; after that it stays where it is [default: 3600].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(in crate::commands) deadline: Option<u64>,
    /// The most that may be sent for it, in MiB a second [default: what the link carries].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    bandwidth: Option<u64>,
}

impl MoveLimits {
    pub(in crate::commands) fn bandwidth_bytes_per_s(&self) -> Option<u64> {
        self.bandwidth.map(|mib| mib.saturating_mul(1 << 20))
    }
}

/// What is asked for each of them.
struct How {
    host: Option<String>,
    limits: MoveLimits,
}

impl How {
    fn request(&self, vm: &str) -> MigrateVm {
        MigrateVm {
            vm: vm.to_owned(),
            host: self.host.clone(),
            downtime_ms_max: self.limits.downtime_max,
            slowdown_ms_max: self.limits.slowdown_max,
            deadline_s: self.limits.deadline,
            bandwidth_bytes_per_s: self.limits.bandwidth_bytes_per_s(),
        }
    }
}

pub(super) async fn run(session: &Session, migrate: Migrate) -> Result<(), Failure> {
    let Migrate { vms, to, limits, dry_run, waiting } = migrate;
    let how = How { host: to, limits };
    if dry_run {
        return try_out(session, &vms, &how).await;
    }
    let time = time_for(session.timeout, how.limits.deadline);
    let ask = async |vm: &str| {
        let request = Request::MigrateVm(how.request(vm));
        Ok(Ask::new(request, said).within(time))
    };
    change(session, Targets::named(vms, false), waiting, Deed::harmless("migrate"), ask).await
}

/// A move is waited for as long as it may take, unless somebody wants to wait longer.
pub(in crate::commands) fn time_for(timeout: Duration, deadline_s: Option<u64>) -> Duration {
    timeout.max(Duration::from_secs(deadline_s.unwrap_or(DEADLINE_S)) + GRACE)
}

fn said(name: &str, task: Option<&Task>) -> String {
    let line =
        task.and_then(|task| task.lines.iter().find_map(|line| line.text.strip_prefix("from ")));
    match line.and_then(|line| line.rsplit_once(" to host ")) {
        Some((_, host)) => format!("{name} runs on {host} now"),
        None => format!("{name} runs on its new host"),
    }
}

async fn try_out(session: &Session, vms: &[String], how: &How) -> Result<(), Failure> {
    let mut plans = Vec::new();
    for vm in vms {
        let asked = how.request(vm);
        let ask = PlanMigration {
            vm: asked.vm,
            host: asked.host,
            downtime_ms_max: asked.downtime_ms_max,
            slowdown_ms_max: asked.slowdown_ms_max,
            deadline_s: asked.deadline_s,
            bandwidth_bytes_per_s: asked.bandwidth_bytes_per_s,
        };
        match session.call(Request::PlanMigration(ask)).await? {
            Reply::MigrationPlan(plan) => plans.push(plan),
            other => return Err(unexpected(&other)),
        }
    }
    let answer = Answer::list(&plans, PLANS);
    let answer = match plans.as_slice() {
        [one] => answer.whole(one)?,
        _ => answer,
    };
    session.look.print(&answer.told(|| Told::apart(plans.iter().map(told))))?;
    let stuck = plans.iter().filter(|plan| plan.destination.is_none()).count();
    if stuck == 0 {
        return Ok(());
    }
    let fault = Fault::new(FaultCode::NoCapacity, "no host can take it; the reasons stand above");
    let failure = Failure::Fault(fault);
    if plans.len() == 1 {
        return Err(failure);
    }
    let message = format!("{stuck} of {} can go nowhere, as said above", plans.len());
    Err(Failure::Several { exit_code: failure.exit_code(), message })
}

type OfPlan = Column<MigrationPlan>;

const PLANS: &[OfPlan] = &[
    OfPlan::text("vm", |plan| plan.vm_name.clone()),
    OfPlan::text("source", |plan| plan.source.clone()),
    OfPlan::text("destination", |plan| plan.destination.clone().unwrap_or_default()),
    OfPlan::number("time", Unit::Ns, |plan| {
        chosen(plan)?.move_ms.map(|ms| ms.saturating_mul(1_000_000))
    }),
    OfPlan::number("downtime", Unit::Us, |plan| {
        chosen(plan)?.downtime_ms.map(|ms| ms.saturating_mul(1000))
    }),
];

type OfWay = Column<Way>;

const WAYS: &[OfWay] = &[
    OfWay::text("host", |way| way.host.clone()),
    OfWay::decimal("cost", |way| Some(way.cost)),
    OfWay::number("time", Unit::Ns, |way| way.move_ms.map(|ms| ms.saturating_mul(1_000_000))),
    OfWay::number("downtime", Unit::Us, |way| way.downtime_ms.map(|ms| ms.saturating_mul(1000))),
    OfWay::text("parts", |way| plan::in_words(&way.parts)),
];

type OfRefused = Column<RefusedHost>;

const REFUSED: &[OfRefused] = &[
    OfRefused::text("cannot", |refused| refused.host.clone()),
    OfRefused::text("why", |refused| refused.reason.clone()),
];

/// The way to the host that it would go to.
fn chosen(plan: &MigrationPlan) -> Option<&Way> {
    plan.ways.iter().find(|way| Some(&way.host) == plan.destination.as_ref())
}

fn told(plan: &MigrationPlan) -> Told {
    let MigrationPlan { vm_name, source, .. } = plan;
    let line = match (&plan.destination, chosen(plan).and_then(|way| way.move_ms)) {
        (None, _) => format!("{vm_name} stays on {source}: no host can take it"),
        (Some(to), None) => format!(
            "{vm_name} would move from {source} to {to}; it may write faster than the link carries, and would be slowed down then"
        ),
        (Some(to), Some(_)) => format!("{vm_name} would move from {source} to {to}"),
    };
    let line = line + &too_long(plan).unwrap_or_default();
    Told::line(line).table(WAYS, &plan.ways).table(REFUSED, &plan.refused)
}

/// It would be given up before it stands still for longer than it may.
fn too_long(plan: &MigrationPlan) -> Option<String> {
    let (downtime, allowed) = (chosen(plan)?.downtime_ms?, plan.downtime_ms_max);
    (downtime > allowed).then(|| {
        format!(
            ", but it may stand still for {allowed} ms only and would need {downtime} ms: say --downtime-max {downtime}, or more"
        )
    })
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::{Part, TaskLine};

    use super::*;
    use crate::screen::Screen;

    fn check(plan: &MigrationPlan, golden: &str) {
        assert_eq!(format!("\n{}", told(plan).lay_out(Screen::PIPE, true)), golden);
    }

    fn plan() -> MigrationPlan {
        let way = |host: &str, move_ms| Way {
            host: host.into(),
            cost: 0.25,
            move_ms,
            downtime_ms: move_ms.map(|_| 210),
            parts: vec![Part { name: "cpu".into(), cost: 0.25 }],
            ..Way::default()
        };
        let refused = |host: &str, reason: &str| RefusedHost {
            host: host.into(),
            by: String::new(),
            reason: reason.into(),
        };
        MigrationPlan {
            vm_name: "web".into(),
            source: "h1".into(),
            destination: Some("h2".into()),
            downtime_ms_max: 300,
            ways: vec![way("h2", Some(9000)), way("h3", None)],
            refused: vec![refused("h4", "is in maintenance")],
            ..MigrationPlan::default()
        }
    }

    #[test]
    fn a_dry_run_says_where_to_and_why_nowhere_else() {
        check(&plan(), GOING);
        let stuck = MigrationPlan { destination: None, ways: Vec::new(), ..plan() };
        check(&stuck, STUCK);
        let other = MigrationPlan { destination: Some("h3".into()), ..plan() };
        assert!(told(&other).lay_out(Screen::PIPE, true).contains("slowed down"));
        let short = MigrationPlan { downtime_ms_max: 200, ..plan() };
        assert!(told(&short).lay_out(Screen::PIPE, true).contains("--downtime-max 210"));
    }

    #[test]
    fn whoever_moved_is_told_where_it_runs_now() {
        let line = TaskLine { at_ms: 1, text: "from host h1 to host h2".into() };
        let task = Task { lines: vec![line], ..Task::default() };
        assert_eq!(said("web", Some(&task)), "web runs on h2 now");
        assert_eq!(said("web", None), "web runs on its new host");
    }

    #[test]
    fn a_move_is_waited_for_until_its_deadline() {
        let s = Duration::from_secs;
        assert_eq!(time_for(s(60), None), s(3780));
        assert_eq!(time_for(s(60), Some(100)), s(280));
        assert_eq!(time_for(s(9000), Some(100)), s(9000));
    }

    const GOING: &str = "
web would move from h1 to h2

HOST   COST    TIME   DOWNTIME  PARTS
h2    0.250  9.00 s  210.00 ms  cpu 0.250
h3    0.250       -          -  cpu 0.250

CANNOT  WHY
h4      is in maintenance
";

    const STUCK: &str = "
web stays on h1: no host can take it

CANNOT  WHY
h4      is in maintenance
";
}
