//! `vmmctl decision show` and `record`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use vmm_proto::v1::{
    CarriedMove, CarryOut, Decision, Progress, ReadDecision, Reply, Request, ShowDecision,
    TaskState,
};

use super::list::word;
use crate::commands::plan::{told_growth, told_plan};
use crate::commands::task::{state, utc};
use crate::commands::vm::{told_placement, told_placements};
use crate::failure::Failure;
use crate::output::{Answer, Column, Told, write};
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, decision: u64) -> Result<(), Failure> {
    match session.call(Request::ShowDecision(ShowDecision { decision })).await? {
        Reply::Decision(made) => {
            let answer = Answer::one(&*made, COLUMNS).whole(&made)?;
            session.look.print(&answer.told(|| told(&made)))
        }
        other => Err(unexpected(&other)),
    }
}

const COLUMNS: &[Column<Decision>] =
    &[Column::count("number", |made: &Decision| Some(made.decision))];

fn told(made: &Decision) -> Told {
    let about = made.vm_name.as_ref().map_or_else(String::new, |vm| format!(" {vm}"));
    let head = format!(
        "decision {}, {}: {}{about}: {}",
        made.decision,
        utc(made.at_ms),
        word(made.question),
        made.answer
    );
    let parts = [
        made.placement.as_ref().map(told_placement),
        made.placements.as_ref().map(told_placements),
        made.plan.as_ref().map(told_plan),
        made.growth.as_ref().map(told_growth),
        made.carry_out.as_ref().map(told_carried),
    ];
    parts.into_iter().flatten().fold(Told::line(head), Told::and)
}

type OfCarried = Column<CarriedMove>;

const CARRIED: &[OfCarried] = &[
    OfCarried::text("vm", |moved| moved.vm_name.clone()),
    OfCarried::text("source", |moved| moved.source.clone()),
    OfCarried::text("destination", |moved| moved.destination.clone()),
    OfCarried::text("status", |moved| status(moved).to_owned()),
    OfCarried::text("task", |moved| moved.task.clone().unwrap_or_default()),
    OfCarried::text("why", |moved| moved.message.clone().unwrap_or_default()),
];

fn status(moved: &CarriedMove) -> &'static str {
    match (moved.state, &moved.task) {
        (TaskState::Done, _) => "moved",
        (TaskState::Queued, None) => "waits",
        (TaskState::Cancelled, None) => "not begun",
        (other, _) => state(other),
    }
}

fn told_carried(carried: &CarryOut) -> Told {
    let pool = &carried.pool;
    let head = match carried.progress {
        Progress::UnderWay => format!("the manager is carrying it out in pool {pool}"),
        Progress::Done => format!("the manager carried it out in pool {pool}"),
        Progress::Stopped => format!("the manager began to carry it out in pool {pool}"),
    };
    let line = match &carried.reason {
        Some(reason) => format!("{head}, and stopped: {reason}"),
        None => head,
    };
    Told::line(line).table(CARRIED, &carried.moves)
}

/// The text as it is, whatever form of output is asked for.
pub(super) async fn record(session: &Session, decision: u64) -> Result<(), Failure> {
    let mut text = Vec::new();
    loop {
        let offset = Some(u64::try_from(text.len()).unwrap_or(u64::MAX));
        let reply = session.call(Request::ReadDecision(ReadDecision { decision, offset })).await?;
        let Reply::DecisionText(piece) = &reply else { return Err(unexpected(&reply)) };
        let bytes = BASE64.decode(&piece.data).map_err(|_| unexpected(&reply))?;
        text.extend_from_slice(&bytes);
        let is_whole = u64::try_from(text.len()).is_ok_and(|len| len >= piece.size_bytes);
        if is_whole || bytes.is_empty() {
            return write(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::{Candidate, DecisionKind, Placement};

    use super::*;
    use crate::screen::Screen;

    const GOLDEN: &str = "
decision 42, 2023-11-14 22:13:20: place web: to h1

    HOST   COST    CPU  MEMORY  DISK I/O  WHY
->  h1    0.750  0.250   0.500     0.000  lowest cost
";

    const CARRIED_GOLDEN: &str = "
decision 7, 2023-11-14 22:13:20: rebalance: 2 moves would pay
the manager began to carry it out in pool fast, and stopped: web was not moved: the link was cut

VM   SOURCE  DESTINATION  STATUS     TASK  WHY
web  h1      h2           failed     t-1   the link was cut
db   h1      h3           not begun  -     -
";

    #[test]
    fn what_came_of_a_plan_is_told_move_by_move() {
        let moved = |vm: &str, to: &str, state| CarriedMove {
            vm_name: vm.into(),
            source: "h1".into(),
            destination: to.into(),
            state,
            ..CarriedMove::default()
        };
        let failed = CarriedMove {
            task: Some("t-1".into()),
            message: Some("the link was cut".into()),
            ..moved("web", "h2", TaskState::Failed)
        };
        let made = Decision {
            decision: 7,
            at_ms: 1_700_000_000_000,
            question: DecisionKind::Rebalance,
            answer: "2 moves would pay".into(),
            carry_out: Some(CarryOut {
                progress: Progress::Stopped,
                pool: "fast".into(),
                reason: Some("web was not moved: the link was cut".into()),
                moves: vec![failed, moved("db", "h3", TaskState::Cancelled)],
            }),
            ..Decision::default()
        };
        assert_eq!(format!("\n{}", told(&made).lay_out(Screen::PIPE, true)), CARRIED_GOLDEN);
    }

    #[test]
    fn a_placement_is_shown_with_every_hosts_terms() {
        let candidate = Candidate {
            host: "h1".into(),
            eligible: true,
            cost_cpu: 0.25,
            cost_memory: 0.5,
            cost: 0.75,
            reason: "lowest cost".into(),
            cost_disk_io: 0.0,
            parts: Vec::new(),
        };
        let made = Decision {
            decision: 42,
            at_ms: 1_700_000_000_000,
            question: DecisionKind::Place,
            vm_name: Some("web".into()),
            answer: "to h1".into(),
            placement: Some(Placement { chosen: Some("h1".into()), candidates: vec![candidate] }),
            ..Decision::default()
        };
        assert_eq!(format!("\n{}", told(&made).lay_out(Screen::PIPE, true)), GOLDEN);
    }
}
