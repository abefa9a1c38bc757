//! The policy itself: from a snapshot and a wish to what comes next.

use super::progress::STUCK_AFTER;
use super::share::{Part, Round, share};
use super::{
    Action, HEADROOM, Plan, STEP_MIN, STEP_PARTS, Snapshot, Standing, TOLERANCE, Verdict,
    VmBalloon, Wish,
};
use crate::units::Kib;

/// A share is divided by a VM's weight; this keeps what is left of it exact enough. No weight is greater.
const WEIGHT_UNIT: u128 = 1 << 16;

/// What comes next for this wish.
#[must_use]
pub fn plan(snapshot: &Snapshot, wish: Wish) -> Plan {
    match wish {
        Wish::Room(wanted) => make_room(snapshot, wanted),
        Wish::GiveBack => give_back(snapshot),
    }
}

/// The guest follows its target.
fn follows(snapshot: &Snapshot, vm: &VmBalloon) -> bool {
    vm.owes() == Kib::ZERO || snapshot.now.saturating_sub(vm.moved_at) < STUCK_AFTER
}

/// Who takes part, and those of them who turn out to be stuck.
fn able(snapshot: &Snapshot) -> (Vec<&VmBalloon>, Vec<Action>) {
    let able = snapshot.vms.iter().filter(|vm| vm.standing == Standing::Able);
    let (able, stuck): (Vec<&VmBalloon>, Vec<&VmBalloon>) =
        able.partition(|vm| follows(snapshot, vm));
    let named = stuck.iter().map(|vm| Action::Stuck { vm: vm.vm, kept: vm.owes() });
    (able, named.collect())
}

fn step(vm: &VmBalloon) -> Kib {
    STEP_MIN.max(Kib(vm.held.0 / STEP_PARTS))
}

fn make_room(snapshot: &Snapshot, wanted: Kib) -> Plan {
    let room = snapshot.room();
    if room >= wanted {
        return Plan { actions: Vec::new(), verdict: Verdict::Done };
    }
    let (givers, mut actions) = able(snapshot);
    let busy = snapshot.vms.iter().filter(|vm| vm.standing == Standing::Busy);
    let possible = room + givers.iter().copied().chain(busy).map(VmBalloon::could_give).sum();
    if possible < wanted {
        return Plan { actions, verdict: Verdict::Cannot { missing: wanted - possible } };
    }
    let expected = room + givers.iter().map(|vm| vm.owes()).sum();
    let parts: Vec<Part> = givers.iter().map(|vm| giver(vm)).collect();
    let shares = share(wanted.saturating_sub(expected), &parts, Round::Up);
    let asked = givers.iter().zip(shares).filter(|(_, share)| *share > Kib::ZERO);
    actions
        .extend(asked.map(|(vm, share)| Action::SetTarget { vm: vm.vm, target: base(vm) - share }));
    Plan { actions, verdict: Verdict::Wait }
}

/// From where a VM gives: what it is asked to hold already, and no more than it holds.
fn base(vm: &VmBalloon) -> Kib {
    vm.target.min(vm.grip())
}

fn giver(vm: &VmBalloon) -> Part {
    let left = base(vm).saturating_sub(vm.dynamic_min);
    let floor = vm.dynamic_min.max(vm.grip().saturating_sub(step(vm)));
    Part {
        weight: u128::from(left.0) * WEIGHT_UNIT / u128::from(vm.weight.max(1)),
        most: base(vm).saturating_sub(floor),
    }
}

fn give_back(snapshot: &Snapshot) -> Plan {
    let spare = snapshot.room().saturating_sub(HEADROOM);
    let (_, mut actions) = able(snapshot);
    // Who still shrinks gets nothing until it has arrived: it would never be seen to follow.
    let takes = |vm: &&VmBalloon| vm.standing != Standing::Busy && vm.owes() == Kib::ZERO;
    let takers: Vec<&VmBalloon> = snapshot.vms.iter().filter(takes).collect();
    let parts: Vec<Part> = takers.iter().map(|vm| taker(vm)).collect();
    let shares = share(spare, &parts, Round::Down);
    let given = takers.iter().zip(shares).filter(|(vm, share)| worth(vm, *share));
    actions.extend(
        given.map(|(vm, share)| Action::SetTarget { vm: vm.vm, target: vm.target + share }),
    );
    let verdict = if actions.is_empty() { Verdict::Done } else { Verdict::Wait };
    Plan { actions, verdict }
}

fn taker(vm: &VmBalloon) -> Part {
    let lacks = vm.dynamic_max.saturating_sub(vm.target);
    let top = vm.dynamic_max.min(vm.held + step(vm));
    Part {
        weight: u128::from(lacks.0) * u128::from(vm.weight.max(1)),
        most: top.saturating_sub(vm.target),
    }
}

/// A guest is not woken for less than a target's tolerance, but for the last bit.
fn worth(vm: &VmBalloon, share: Kib) -> bool {
    share >= TOLERANCE || (share > Kib::ZERO && vm.target + share == vm.dynamic_max)
}
