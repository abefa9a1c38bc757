//! `vmmctl vm wait`

use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::{Instant, timeout_at};
use vmm_proto::v1::{FaultCode, Vm, VmPhase};

use super::state;
use super::targets::{Pick, show};
use crate::changes::{Changes, Kinds};
use crate::commands::each::{Acted, each};
use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm start web --no-wait && vmmctl vm wait web --for running --timeout 60
  vmmctl vm wait web-1 web-2 --for stopped

The exit code is 9 when the time (--timeout) is over before.")]
pub(crate) struct Wait {
    #[command(flatten)]
    pick: Pick,
    /// What they shall be.
    #[arg(long = "for", value_enum, value_name = "STATE")]
    goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// The guest runs.
    Running,
    /// It takes no memory of any host: powered off, destroyed, crashed, saved or never started.
    Stopped,
    Paused,
    Suspended,
    Saved,
    /// There is no such VM any more.
    Gone,
}

impl Goal {
    /// A host that is not heard says nothing about now.
    fn is_met(self, vm: &Vm) -> bool {
        let phase = vm.phase;
        !vm.stale
            && match self {
                Self::Running => phase == VmPhase::Running,
                Self::Paused => phase == VmPhase::Paused,
                Self::Suspended => phase == VmPhase::Suspended,
                Self::Saved => phase == VmPhase::Saved,
                Self::Gone => false,
                Self::Stopped => matches!(
                    phase,
                    VmPhase::New
                        | VmPhase::PoweredOff
                        | VmPhase::Crashed
                        | VmPhase::Destroyed
                        | VmPhase::Failed
                        | VmPhase::Lost
                        | VmPhase::Saved
                ),
            }
    }
}

pub(super) async fn run(session: &Session, wait: Wait) -> Result<(), Failure> {
    let names = wait.pick.names(session).await?;
    each(&session.look, &names, async |name, _| match until(session, name, wait.goal).await {
        Ok(said) => Acted::at_once(name, said),
        Err(failure) => Acted::not(name, failure),
    })
    .await
}

async fn until(session: &Session, name: &str, goal: Goal) -> Result<String, Failure> {
    let end = Instant::now() + session.timeout;
    // Before the first look, so that no change falls between the two.
    let mut changes = Changes::from_now(session, Kinds::VMS).await?;
    loop {
        let seen = match (show(session, name.to_owned()).await, goal) {
            (Ok(vm), _) if goal.is_met(&vm) => return Ok(format!("{name} is {}", state(&vm))),
            (Ok(vm), _) => state(&vm),
            (Err(failure), Goal::Gone) if is_unknown(&failure) => {
                return Ok(format!("{name} is gone"));
            }
            (Err(failure), _) => return Err(failure),
        };
        match timeout_at(end, changes.any(session)).await {
            Ok(changed) => changed?,
            Err(_) => return Err(too_late(name, &seen, session.timeout)),
        }
    }
}

fn is_unknown(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(fault) if fault.code == FaultCode::UnknownVm)
}

fn too_late(name: &str, seen: &str, timeout: Duration) -> Failure {
    Failure::TimedOut(format!(
        "after {timeout:?} {name} is still {seen}; wait longer with --timeout, or look at `vmmctl task list`"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::show::sample;
    use super::*;

    fn check(goal: Goal, phase: VmPhase, stale: bool, expect: bool) {
        let vm = Vm { phase, stale, ..sample() };
        assert_eq!(goal.is_met(&vm), expect, "{goal:?} {phase:?} stale={stale}");
    }

    #[test]
    fn a_goal_is_met_by_what_is_heard_now() {
        check(Goal::Running, VmPhase::Running, false, true);
        check(Goal::Running, VmPhase::Running, true, false);
        check(Goal::Running, VmPhase::Starting, false, false);
        check(Goal::Stopped, VmPhase::PoweredOff, false, true);
        check(Goal::Stopped, VmPhase::Saved, false, true);
        check(Goal::Stopped, VmPhase::Paused, false, false);
        check(Goal::Stopped, VmPhase::Preserved, false, false);
        check(Goal::Saved, VmPhase::Saved, false, true);
        check(Goal::Gone, VmPhase::Destroyed, false, false);
    }
}
