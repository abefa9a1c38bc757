//! One look at the pool: the lists, and what some VMs use.

use futures_util::StreamExt as _;
use vmm_proto::v1::{Host, Vm, VmPhase};

use super::rows::Used;
use crate::commands::AT_ONCE;
use crate::commands::{host, vm};
use crate::failure::Failure;
use crate::session::Session;

/// VMs that are asked for in one round. Each costs its host's agent a sample.
pub(super) const BUDGET: usize = 64;

/// Which VMs to ask for first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Ids of those on the screen.
    pub(super) on_screen: Vec<String>,
    /// The id of the last that had its turn among the others.
    pub(super) turn: String,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) hosts: Vec<Host>,
    pub(super) vms: Vec<Vm>,
    /// By id.
    pub(super) used: Vec<(String, Used)>,
    /// Who had the last turn.
    pub(super) turn: String,
}

pub(super) async fn sample(session: &Session, plan: Plan) -> Result<Sample, Failure> {
    let hosts = host::list::hosts(session).await?;
    let vms = vm::list::vms(session).await?;
    let (asked, turn) = whom_to_ask(&vms, &plan);
    let answers = futures_util::stream::iter(asked).map(async |id: String| {
        // One that is gone, or whose host does not answer, is not known; the others are.
        let stats = vm::stats_of(session, id.clone()).await.ok()?;
        Some((id, Used::from(&stats.of)))
    });
    let used = answers.buffer_unordered(AT_ONCE).filter_map(async |answer| answer).collect().await;
    Ok(Sample { hosts, vms, used, turn })
}

/// Those on the screen, then others in order of id, from the one behind the last turn on.
fn whom_to_ask(vms: &[Vm], plan: &Plan) -> (Vec<String>, String) {
    let runs = |vm: &&Vm| vm.phase == VmPhase::Running && !vm.stale;
    let mut others: Vec<&str> = vms.iter().filter(runs).map(|vm| vm.vm.as_str()).collect();
    others.sort_unstable();
    let is_seen = |id: &&str| plan.on_screen.iter().any(|seen| seen == id);
    let mut asked: Vec<&str> = others.iter().copied().filter(is_seen).take(BUDGET).collect();
    others.retain(|id| !asked.contains(id));
    let begin = others.partition_point(|id| *id <= plan.turn.as_str());
    others.rotate_left(begin);
    others.truncate(BUDGET - asked.len());
    let turn = others.last().map_or_else(|| plan.turn.clone(), |id| (*id).to_owned());
    asked.extend(others);
    (asked.into_iter().map(str::to_owned).collect(), turn)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::tests::vm;
    use super::*;

    #[test]
    fn who_is_seen_is_asked_each_round_and_the_others_have_their_turn() {
        let vms: Vec<Vm> =
            (0..200).map(|n| vm(&format!("vm{n:03}"), VmPhase::Running, "h1")).collect();
        let on_screen = vec!["id of vm150".to_owned(), "id of vm003".to_owned()];
        let mut plan = Plan { on_screen, turn: String::new() };
        let mut all = HashSet::new();
        for _ in 0..4 {
            let (asked, turn) = whom_to_ask(&vms, &plan);
            assert_eq!(asked.len(), BUDGET);
            assert_eq!(&asked[..2], ["id of vm003", "id of vm150"]);
            assert_eq!(asked.iter().collect::<HashSet<_>>().len(), BUDGET, "nobody twice");
            all.extend(asked);
            plan.turn = turn;
        }
        assert_eq!(all.len(), 200, "everybody had a turn");
    }

    #[test]
    fn only_vms_that_run_are_asked() {
        let mut stale = vm("c", VmPhase::Running, "h1");
        stale.stale = true;
        let vms = [vm("a", VmPhase::Running, "h1"), vm("b", VmPhase::PoweredOff, "h1"), stale];
        assert_eq!(whom_to_ask(&vms, &Plan::default()).0, ["id of a"]);
        assert_eq!(whom_to_ask(&[], &Plan::default()), (vec![], String::new()));
    }
}
