//! `vmmctl plan …`: what the scheduler would do. Nothing is changed.

use clap::{Args, Subcommand};
use vmm_proto::v1::{
    Fault, FaultCode, Growth, KeptVm, Part, Plan, PlanEvacuation, PlanGrowth, PlanMoves,
    PlannedMove, RefusedHost, Reply, Request, Way,
};

use crate::complete;
use crate::failure::Failure;
use crate::output::{Answer, Column, Look, Told, Unit};
use crate::session::{Session, unexpected};
use crate::size;

const EXAMPLES: &str = "\
Examples:
  vmmctl plan moves
  vmmctl plan moves --pool fast --most 2
  vmmctl plan evacuation host-1
  vmmctl plan growth web --vcpus 4 --memory 8G

Costs have no unit; 1 is about what an idle host is worth. Moves of one wave fit at the same time.
Nothing is moved: `vmmctl vm migrate` and `vmmctl host evacuate` do that, and a pool by itself
after `vmmctl pool set POOL --rebalance carry-out`.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Which moves would pay now, and who stays although it costs much where it is.
    Moves(Moves),
    /// Where everybody on a host would go.
    Evacuation {
        /// Name or id.
        #[arg(add = complete::hosts())]
        host: String,
    },
    /// How a VM that runs would get this much: in place, or by a move; the cheapest way first.
    Growth(Grow),
}

#[derive(Debug, Args)]
pub(crate) struct Moves {
    /// Within this pool only.
    #[arg(long, add = complete::pools())]
    pool: Option<String>,
    /// How many moves at most.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    most: Option<u32>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Grow {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// vCPUs online in all.
    #[arg(long, value_name = "COUNT", group = "what")]
    vcpus: Option<u32>,
    /// Memory in all, as 4G.
    #[arg(long, value_name = "SIZE", value_parser = size::kib, group = "what")]
    memory: Option<u64>,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Moves(Moves { pool, most }) => {
            let request = Request::PlanMoves(PlanMoves { pool, moves_max: most });
            show_plan(&session.look, &plan(session, request).await?)
        }
        Command::Evacuation { host } => {
            let request = Request::PlanEvacuation(PlanEvacuation { host });
            show_plan(&session.look, &plan(session, request).await?)
        }
        Command::Growth(Grow { vm, vcpus, memory }) => {
            let request = Request::PlanGrowth(PlanGrowth { vm, vcpus, memory_kib: memory });
            match session.call(request).await? {
                Reply::Growth(growth) => show_growth(&session.look, &growth),
                other => Err(unexpected(&other)),
            }
        }
    }
}

async fn plan(session: &Session, request: Request) -> Result<Plan, Failure> {
    match session.call(request).await? {
        Reply::Plan(plan) => Ok(plan),
        other => Err(unexpected(&other)),
    }
}

pub(in crate::commands) fn show_plan(look: &Look, plan: &Plan) -> Result<(), Failure> {
    let answer = Answer::list(&plan.moves, MOVES).whole(plan)?;
    look.print(&answer.told(|| told_plan(plan)))
}

/// Nobody who has room is a failure, after the table that says why.
pub(in crate::commands) fn show_growth(look: &Look, growth: &Growth) -> Result<(), Failure> {
    let answer = Answer::list(&growth.ways, WAYS).whole(growth)?;
    look.print(&answer.told(|| told_growth(growth)))?;
    if growth.ways.is_empty() {
        let message = "no host can give the VM that much; make room, or ask for less";
        return Err(Failure::Fault(Fault::new(FaultCode::NoCapacity, message)));
    }
    Ok(())
}

type OfMove = Column<PlannedMove>;

const MOVES: &[OfMove] = &[
    OfMove::count("wave", |step| Some(step.wave.into())),
    OfMove::text("vm", |step| step.vm_name.clone()),
    OfMove::text("source", |step| step.source.clone()),
    OfMove::text("destination", |step| step.destination.clone()),
    OfMove::decimal("here", |step| Some(step.cost_here)),
    OfMove::decimal("there", |step| Some(step.cost_there)),
    OfMove::decimal("move", |step| Some(step.cost_move)),
    OfMove::number("time", Unit::Ns, |step| step.move_ms.map(|ms| ms.saturating_mul(1_000_000))),
    OfMove::number("downtime", Unit::Us, |step| step.downtime_ms.map(|ms| ms.saturating_mul(1000))),
    OfMove::text("why", |step| step.reason.clone()),
];

type OfKept = Column<KeptVm>;

const KEPT: &[OfKept] = &[
    OfKept::text("stays", |kept| kept.vm_name.clone()),
    OfKept::text("host", |kept| kept.host.clone()),
    OfKept::decimal("here", |kept| Some(kept.cost_here)),
    OfKept::text("why", |kept| kept.reason.clone()),
];

type OfWay = Column<Way>;

const WAYS: &[OfWay] = &[
    OfWay::text("host", |way| way.host.clone()),
    OfWay::text("how", |way| if way.in_place { "in place" } else { "by a move" }.to_owned()),
    OfWay::decimal("cost", |way| Some(way.cost)),
    OfWay::text("parts", parts),
    OfWay::number("downtime", Unit::Us, |way| way.downtime_ms.map(|ms| ms.saturating_mul(1000))),
];

type OfRefused = Column<RefusedHost>;

const REFUSED: &[OfRefused] = &[
    OfRefused::text("cannot", |refused| refused.host.clone()),
    OfRefused::text("why", |refused| refused.reason.clone()),
];

fn parts(way: &Way) -> String {
    in_words(&way.parts)
}

/// Each part with its cost, but for those that would read 0.000.
pub(in crate::commands) fn in_words(parts: &[Part]) -> String {
    let told = parts.iter().filter(|part| part.cost.abs() >= 0.0005);
    told.map(|part| format!("{} {:.3}", part.name, part.cost)).collect::<Vec<_>>().join(", ")
}

pub(in crate::commands) fn told_plan(plan: &Plan) -> Told {
    let count = plan.moves.len();
    let line = match count {
        0 => "no move pays".to_owned(),
        1 => format!("1 move; {}", relief(plan)),
        _ => format!("{count} moves; {}", relief(plan)),
    };
    Told::line(line).table(MOVES, &plan.moves).table(KEPT, &plan.kept)
}

fn relief(plan: &Plan) -> String {
    format!(
        "the load would cost {:.3} instead of {:.3}",
        plan.potential_after, plan.potential_before
    )
}

pub(in crate::commands) fn told_growth(growth: &Growth) -> Told {
    let line = match growth.ways.first() {
        None => "nobody has room".to_owned(),
        Some(way) if way.in_place => format!("best in place, on {}", way.host),
        Some(way) => format!("best by a move to {}", way.host),
    };
    Told::line(line).table(WAYS, &growth.ways).table(REFUSED, &growth.refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Screen;

    fn check(told: &Told, golden: &str) {
        assert_eq!(format!("\n{}", told.lay_out(Screen::PIPE, true)), golden);
    }

    #[test]
    fn a_plan_tells_each_move_with_its_costs_and_who_stays() {
        let step = PlannedMove {
            wave: 1,
            vm_name: "web".into(),
            source: "h1".into(),
            destination: "h2".into(),
            cost_here: 1.5,
            cost_there: 0.25,
            cost_move: 0.04,
            move_ms: Some(9000),
            downtime_ms: Some(210),
            reason: "relieves cpu most".into(),
            ..PlannedMove::default()
        };
        let kept = KeptVm {
            vm_name: "db".into(),
            host: "h1".into(),
            cost_here: 0.5,
            reason: "it has disks".into(),
            ..KeptVm::default()
        };
        let plan = Plan {
            potential_before: 2.5,
            potential_after: 1.25,
            moves: vec![step],
            kept: vec![kept],
        };
        check(&told_plan(&plan), PLAN);
        check(&told_plan(&Plan::default()), "\nno move pays\n");
    }

    #[test]
    fn growth_says_the_best_way_first_and_who_cannot() {
        let way = |host: &str, in_place, cost| Way {
            host: host.into(),
            in_place,
            cost,
            parts: vec![Part { name: "cpu".into(), cost }],
            ..Way::default()
        };
        let growth = Growth {
            ways: vec![way("h1", true, 0.25), way("h2", false, 0.5)],
            refused: vec![RefusedHost {
                host: "h3".into(),
                by: "health".into(),
                reason: "is silent".into(),
            }],
        };
        check(&told_growth(&growth), GROWTH);
        check(&told_growth(&Growth::default()), "\nnobody has room\n");
    }

    const PLAN: &str = "
1 move; the load would cost 1.250 instead of 2.500

WAVE  VM   SOURCE  DESTINATION   HERE  THERE   MOVE    TIME   DOWNTIME  WHY
   1  web  h1      h2           1.500  0.250  0.040  9.00 s  210.00 ms  relieves cpu most

STAYS  HOST   HERE  WHY
db     h1    0.500  it has disks
";

    const GROWTH: &str = "
best in place, on h1

HOST  HOW         COST  PARTS      DOWNTIME
h1    in place   0.250  cpu 0.250         -
h2    by a move  0.500  cpu 0.500         -

CANNOT  WHY
h3      is silent
";
}
