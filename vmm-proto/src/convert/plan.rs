//! Plans of moves, and ways to grow.

use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::precopy::Forecast;
use vmm_core::scheduler::rebalance::{Kept, Reason, Why};
use vmm_core::scheduler::{Destination, Growth, Plan, Pool, Refusal, Relocation, Step};

use super::batch::{host_name, refused_host};
use super::placement::{candidate, parts};
use crate::v1;

/// A plan for `pool`, with names.
#[must_use]
pub fn shown_plan(pool: &Pool, plan: &Plan) -> v1::Plan {
    let reason = |step: &Step| plan.reasons.iter().find(|reason| reason.vm == step.vm);
    let stuck = plan.stuck.iter().map(|stuck| v1::KeptVm {
        vm: stuck.vm.to_string(),
        vm_name: vm_name(pool, stuck.vm),
        host: host_of(pool, stuck.vm),
        cost_here: 0.0,
        reason: format!("it cannot get to {}: {}", host_name(pool, stuck.to), stuck.why),
    });
    v1::Plan {
        potential_before: plan.potential.0,
        potential_after: plan.potential.1,
        moves: plan.steps.iter().map(|step| shown_step(pool, step, (plan, reason(step)))).collect(),
        kept: plan.kept.iter().map(|kept| shown_kept(pool, kept)).chain(stuck).collect(),
    }
}

fn shown_step(
    pool: &Pool,
    step: &Step,
    (plan, reason): (&Plan, Option<&Reason>),
) -> v1::PlannedMove {
    let (move_bytes, move_ms, downtime_ms) = travel(step.forecast.as_ref());
    let why = match (plan.evacuated, reason) {
        (Some(host), _) => format!("leaves host {}, which is evacuated", host_name(pool, host)),
        (None, Some(reason)) => {
            let gain = reason.here.beyond(&reason.there);
            format!("relieves {} most", gain.dominant().name())
        }
        (None, None) => String::new(),
    };
    v1::PlannedMove {
        wave: step.wave + 1,
        vm: step.vm.to_string(),
        vm_name: vm_name(pool, step.vm),
        source: host_name(pool, step.from),
        destination: host_name(pool, step.to),
        temporary: step.is_temporary,
        move_bytes,
        move_ms,
        downtime_ms,
        cost_here: reason.map_or(0.0, |reason| reason.here.price()),
        cost_there: reason.map_or(0.0, |reason| reason.there.price()),
        cost_move: reason.map_or(0.0, |reason| reason.migration),
        reason: if step.is_temporary { "makes room meanwhile".to_owned() } else { why },
    }
}

fn shown_kept(pool: &Pool, kept: &Kept) -> v1::KeptVm {
    v1::KeptVm {
        vm: kept.vm.to_string(),
        vm_name: vm_name(pool, kept.vm),
        host: host_of(pool, kept.vm),
        cost_here: kept.here,
        reason: why_in_words(pool, &kept.why),
    }
}

/// Why a VM of `pool` stays, for people.
#[must_use]
pub fn why_in_words(pool: &Pool, why: &Why) -> String {
    match why {
        Why::Immovable => {
            "it cannot be moved while it runs: it has disks of its host, or a task owns it"
                .to_owned()
        }
        Why::CoolingDown(ago) => format!("its last move was {ago} s ago, and it rests"),
        Why::Stands => "its host's Xen cannot log what a PV guest writes: it would stand still while it is copied; move it with a longer --downtime-max"
            .to_owned(),
        Why::DoesNotConverge => "it writes its memory faster than the link carries it".to_owned(),
        Why::NoHost(None) => "there is no other host".to_owned(),
        Why::NoHost(Some(refusal)) => format!("no other host can take it; one {refusal}"),
        Why::NotHalfPrice(host, there) => format!(
            "it would cost {there:.3} on {}, which is not less than half",
            host_name(pool, *host)
        ),
        Why::NotWorthIt(host, cost) => {
            format!(
                "moving it to {} would cost {cost:.3}, more than it gains",
                host_name(pool, *host)
            )
        }
        Why::PlanIsFull => "the plan has as many moves as are allowed".to_owned(),
    }
}

/// Ways for `pool`, with names.
#[must_use]
pub fn shown_growth(pool: &Pool, growth: &Growth) -> v1::Growth {
    let ways = growth.ways.iter().map(|way| {
        let (move_bytes, move_ms, downtime_ms) = travel(way.travel.as_ref());
        v1::Way {
            host: host_name(pool, way.host),
            in_place: way.travel.is_none(),
            cost: way.cost,
            move_bytes,
            move_ms,
            downtime_ms,
            parts: parts(&way.terms),
        }
    });
    let refused = growth.refusals.iter().map(|(host, why)| refused_host(pool, *host, why));
    v1::Growth { ways: ways.collect(), refused: refused.collect() }
}

/// A host that a VM of `pool` could move to.
#[must_use]
pub fn shown_destination(pool: &Pool, way: &Destination) -> v1::Way {
    let (move_bytes, move_ms, downtime_ms) = travel(way.travel.as_ref());
    v1::Way {
        host: host_name(pool, way.host),
        in_place: false,
        cost: way.cost,
        move_bytes,
        move_ms,
        downtime_ms,
        parts: parts(&way.terms),
    }
}

/// Where a VM of `pool` that runs could go, with names.
#[must_use]
pub fn shown_relocation(pool: &Pool, found: &Relocation) -> v1::Growth {
    let refused = found.refusals.iter().map(|(host, why)| refused_host(pool, *host, why));
    let ways = found.destinations.iter().map(|way| shown_destination(pool, way));
    v1::Growth { ways: ways.collect(), refused: refused.collect() }
}

/// The same as what a task tells of where its VM goes: to `chosen`, by name.
#[must_use]
pub fn shown_choice(pool: &Pool, found: &Relocation, chosen: HostId) -> v1::Placement {
    let there =
        |way: &Destination| candidate(host_name(pool, way.host), Some(way.terms), String::new());
    let refused =
        |(host, why): &(HostId, Refusal)| candidate(host_name(pool, *host), None, why.to_string());
    let ways = found.destinations.iter().map(there);
    v1::Placement {
        chosen: Some(host_name(pool, chosen)),
        candidates: ways.chain(found.refusals.iter().map(refused)).collect(),
    }
}

/// Bytes, milliseconds, milliseconds of standstill.
fn travel(forecast: Option<&Forecast>) -> (Option<u64>, Option<u64>, Option<u64>) {
    let of = |pick: fn(&Forecast) -> f64| forecast.map(|forecast| whole(pick(forecast)));
    (of(|f| f.bytes), of(|f| f.seconds * 1000.0), of(|f| f.downtime_s * 1000.0))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at least 0, and a cast saturates"
)]
fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}

fn vm_name(pool: &Pool, id: VmId) -> String {
    let vm = pool.vms.iter().find(|vm| vm.id == id);
    vm.map_or_else(|| id.to_string(), |vm| vm.name.clone())
}

fn host_of(pool: &Pool, id: VmId) -> String {
    let host = pool.vms.iter().find(|vm| vm.id == id).and_then(|vm| vm.host);
    host.map_or_else(String::new, |host| host_name(pool, host))
}
