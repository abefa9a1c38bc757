//! `vmmctl decision list`

use clap::Args;
use vmm_proto::v1::{Decision, DecisionKind, ListDecisions, Progress, Reply, Request};

use crate::commands::task::utc;
use crate::complete;
use crate::failure::Failure;
use crate::output::{Answer, Column};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this VM only: its name, also one that it had then, or its id.
    #[arg(long, add = complete::vms())]
    vm: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
}

pub(super) async fn run(session: &Session, list: List) -> Result<(), Failure> {
    let most = usize::try_from(list.most).unwrap_or(usize::MAX);
    let (mut decisions, mut before) = (Vec::new(), None);
    loop {
        let left = most.saturating_sub(decisions.len());
        let count_max = Some(u32::try_from(left).unwrap_or(u32::MAX));
        let ask = ListDecisions { vm: list.vm.clone(), before, count_max };
        let reply = session.call(Request::ListDecisions(ask)).await?;
        let Reply::Decisions(page) = reply else { return Err(unexpected(&reply)) };
        decisions.extend(page.decisions);
        before = page.next;
        if before.is_none() || decisions.len() >= most {
            return session.look.print(&Answer::list(&decisions, COLUMNS));
        }
    }
}

type OfDecision = Column<Decision>;

const COLUMNS: &[OfDecision] = &[
    OfDecision::count("number", |made| Some(made.decision)),
    OfDecision::text("decided", |made| utc(made.at_ms)),
    OfDecision::text("question", |made| word(made.question).to_owned()),
    OfDecision::text("vm", |made| made.vm_name.clone().unwrap_or_default()),
    OfDecision::text("answer", |made| made.answer.clone()),
    OfDecision::text("carried_out", |made| {
        made.carry_out
            .as_ref()
            .map(|carried| progress(carried.progress).to_owned())
            .unwrap_or_default()
    })
    .wide(),
    OfDecision::text("task", |made| made.task.clone().unwrap_or_default()).wide(),
    OfDecision::text("vm_id", |made| made.vm.clone().unwrap_or_default()).wide(),
];

fn progress(how: Progress) -> &'static str {
    match how {
        Progress::UnderWay => "under way",
        Progress::Done => "done",
        Progress::Stopped => "stopped",
    }
}

pub(super) fn word(question: DecisionKind) -> &'static str {
    match question {
        DecisionKind::Place => "place",
        DecisionKind::Batch => "batch",
        DecisionKind::Rebalance => "rebalance",
        DecisionKind::Evacuate => "evacuate",
        DecisionKind::Grow => "grow",
        DecisionKind::Migration => "migration",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Look;

    const GOLDEN: &str = "
NUMBER  DECIDED              QUESTION   VM   ANSWER
    42  2023-11-14 22:13:20  place      web  to h1
    41  2023-11-14 22:13:20  rebalance  -    1 move would pay
";

    #[test]
    fn each_decision_says_when_of_whom_and_what() {
        let made = |decision, question, vm_name: Option<&str>, answer: &str| Decision {
            decision,
            at_ms: 1_700_000_000_000,
            question,
            vm_name: vm_name.map(str::to_owned),
            answer: answer.into(),
            ..Decision::default()
        };
        let decisions = [
            made(42, DecisionKind::Place, Some("web"), "to h1"),
            made(41, DecisionKind::Rebalance, None, "1 move would pay"),
        ];
        let text = Look::default().render(&Answer::list(&decisions, COLUMNS)).expect("a table");
        assert_eq!(format!("\n{text}"), GOLDEN);
    }
}
