//! Rebalancing, evacuation, growth, and the order of moves.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::scheduler::rebalance::Why;

fn on(n: u8, host: u8, demand: Amounts) -> Vm {
    Vm { host: Some(id(host)), ..vm(n, demand) }
}

/// Hosts charged with exactly their VMs.
fn pool_of(hosts: u8, vms: Vec<Vm>) -> Pool {
    let charged = |n: u8| {
        let there = vms.iter().filter(|vm| vm.host == Some(id(n)));
        there.fold(Amounts::NOTHING, |sum, vm| sum.plus(vm.demand))
    };
    let hosts = (1..=hosts).map(|n| Host { used: charged(n), ..host(n) }).collect();
    Pool { hosts, vms, groups: Vec::new() }
}

fn hot() -> Pool {
    pool_of(
        3,
        vec![
            on(1, 1, amounts(1500, 512, 0)),
            on(2, 1, amounts(1500, 512, 0)),
            on(3, 1, amounts(900, 512, 0)),
            on(4, 2, amounts(300, 512, 0)),
        ],
    )
}

#[test]
fn a_hot_host_is_relieved_and_the_plan_says_why() {
    let plan = rebalance(&hot(), &balance(), &Limits::default());
    assert!(!plan.steps.is_empty());
    assert!(plan.steps.iter().all(|step| step.from == id(1) && step.to != id(1)), "{plan:#?}");
    assert!(plan.potential.1 < plan.potential.0 / 2.0, "{:?}", plan.potential);
    let reason = &plan.reasons[0];
    assert!(reason.there.price() < reason.here.price() / 2.0);
    assert_eq!(reason.here.dominant(), Term::Cpu);
    assert!(plan.steps[0].forecast.is_some());
    let moved = |vm| plan.steps.iter().any(|step| step.vm == vm);
    assert!(plan.kept.iter().all(|kept| !moved(kept.vm)), "{:?}", plan.kept);
}

#[test]
fn a_vm_that_stays_is_told_why() {
    let check = |change: fn(&mut Vm), is_why: fn(&Why) -> bool| {
        let mut pool = hot();
        pool.vms.iter_mut().for_each(change);
        let plan = rebalance(&pool, &balance(), &Limits::default());
        assert_eq!(plan.steps, []);
        assert!(plan.kept.iter().any(|kept| is_why(&kept.why)), "{:#?}", plan.kept);
    };
    check(|vm| vm.mobility.is_movable = false, |why| *why == Why::Immovable);
    check(|vm| vm.mobility.stands = true, |why| *why == Why::Stands);
    check(|vm| vm.mobility.moved_s_ago = Some(60), |why| *why == Why::CoolingDown(60));
    check(|vm| vm.mobility.dirty_bytes_per_s = 1 << 40, |why| *why == Why::DoesNotConverge);
    check(
        |vm| vm.needs.pinned = BTreeSet::from([id(1)]),
        |why| matches!(why, Why::NoHost(Some(_))),
    );
    check(|vm| vm.mobility.memory_bytes = 1 << 44, |why| matches!(why, Why::NotWorthIt(..)));
}

#[test]
fn a_step_holds_as_long_as_the_world_is_what_it_was_made_of() {
    let limits = Limits::default();
    let planned = rebalance(&hot(), &balance(), &limits);
    let check = |change: fn(&mut Pool), is_why: fn(&Result<(), Why>) -> bool| {
        let mut pool = hot();
        change(&mut pool);
        let holds = still_holds(&pool, &planned.steps, 0, &balance(), &limits);
        assert!(is_why(&holds), "{holds:?}");
    };
    check(|_| {}, Result::is_ok);
    // The cool-down is the plan's affair.
    check(
        |pool| pool.vms.iter_mut().for_each(|vm| vm.mobility.moved_s_ago = Some(1)),
        Result::is_ok,
    );
    check(|pool| pool.vms.clear(), |why| *why == Err(Why::Immovable));
    check(
        |pool| pool.vms.iter_mut().for_each(|vm| vm.host = Some(id(3))),
        |why| *why == Err(Why::Immovable),
    );
    check(
        |pool| pool.vms.iter_mut().for_each(|vm| vm.mobility.is_movable = false),
        |why| *why == Err(Why::Immovable),
    );
    check(
        |pool| pool.hosts.iter_mut().for_each(|host| host.maintenance = true),
        |why| *why == Err(Why::NoHost(Some(Refusal::Maintenance))),
    );
    check(
        |pool| pool.hosts.iter_mut().skip(1).for_each(|host| host.used = amounts(3500, 512, 0)),
        |why| matches!(why, Err(Why::NotHalfPrice(..))),
    );
    check(|pool| pool.hosts.truncate(1), |why| *why == Err(Why::NoHost(None)));
    assert!(still_holds(&hot(), &planned.steps, 99, &balance(), &limits).is_err());
}

#[test]
fn a_detour_holds_by_where_it_ends_and_the_way_on_by_being_possible() {
    // By its end the first VM goes from a hot host to an idle one; the third is only on its way.
    let step = |from, to, is_temporary| Step {
        wave: 0,
        vm: VmId::from_bytes([1; 16]),
        from: id(from),
        to: id(to),
        is_temporary,
        forecast: None,
    };
    let steps = [step(1, 3, true), step(3, 2, false)];
    let holds = |pool: &Pool, at| still_holds(pool, &steps, at, &balance(), &Limits::default());
    assert_eq!(holds(&hot(), 0), Ok(()));
    let mut no_room = hot();
    no_room.hosts[2].used = amounts(0, 4096, 0);
    assert!(matches!(holds(&no_room, 0), Err(Why::NoHost(Some(_)))), "no room on the way");
    let mut dear = hot();
    dear.hosts[1].used = amounts(3800, 512, 0);
    assert!(matches!(holds(&dear, 0), Err(Why::NotHalfPrice(..))), "it would not pay");
    dear.vms[0].host = Some(id(3));
    assert_eq!(holds(&dear, 1), Ok(()), "it shall not stay where it was put meanwhile");
    dear.hosts[1].maintenance = true;
    assert_eq!(holds(&dear, 1), Err(Why::NoHost(Some(Refusal::Maintenance))));
}

#[test]
fn two_hosts_that_are_alike_exchange_nothing() {
    let vms = vec![on(1, 1, amounts(3500, 512, 0)), on(2, 2, amounts(3500, 512, 0))];
    let plan = rebalance(&pool_of(2, vms), &balance(), &Limits::default());
    assert_eq!(plan.steps, []);
    assert!(
        plan.kept.iter().all(|kept| matches!(kept.why, Why::NotHalfPrice(..))),
        "{:?}",
        plan.kept
    );
}

#[test]
fn an_evacuated_host_is_empty_or_says_who_stays() {
    let mut pool = hot();
    pool.vms[2].mobility.is_movable = false;
    let plan = evacuate(&pool, id(1), &balance());
    assert_eq!(plan.steps.len(), 2);
    assert!(plan.steps.iter().all(|step| step.from == id(1)));
    let kept: Vec<_> = plan.kept.iter().map(|kept| (kept.vm, kept.why.clone())).collect();
    assert_eq!(kept, [(VmId::from_bytes([3; 16]), Why::Immovable)]);
    pool.hosts.truncate(1);
    let nowhere = evacuate(&pool, id(1), &balance());
    assert_eq!((nowhere.steps.len(), nowhere.kept.len()), (0, 3));
}

#[test]
fn growth_is_in_place_unless_elsewhere_is_cheaper() {
    let check = |pool: &Pool, demand: Amounts, expect: &[(u8, bool)]| {
        let growth = grow(pool, VmId::from_bytes([1; 16]), demand, &balance()).expect("it runs");
        let ways: Vec<_> = growth.ways.iter().map(|way| (way.host, way.travel.is_some())).collect();
        let expect: Vec<_> = expect.iter().map(|(n, moves)| (id(*n), *moves)).collect();
        assert_eq!(ways, expect, "{growth:#?}");
    };
    let calm = pool_of(2, vec![on(1, 1, amounts(500, 512, 0))]);
    check(&calm, amounts(800, 512, 0), &[(1, false), (2, true)]);
    let busy = pool_of(2, vec![on(1, 1, amounts(500, 512, 0)), on(2, 1, amounts(3000, 512, 0))]);
    check(&busy, amounts(1500, 512, 0), &[(2, true), (1, false)]);
    let full = pool_of(2, vec![on(1, 1, amounts(0, 512, 0)), on(2, 1, amounts(0, 3500, 0))]);
    check(&full, amounts(0, 1024, 0), &[(2, true)]);
    check(&full, amounts(0, 5000, 0), &[]);
}

#[test]
fn two_full_hosts_exchange_by_way_of_a_third() {
    let vms = vec![on(1, 1, amounts(0, 4000, 0)), on(2, 2, amounts(0, 4000, 0))];
    let swap = [
        Wanted { vm: VmId::from_bytes([1; 16]), to: id(2) },
        Wanted { vm: VmId::from_bytes([2; 16]), to: id(1) },
    ];
    let two = order(&pool_of(2, vms.clone()), &swap);
    assert_eq!((two.steps.len(), two.stuck.len()), (0, 2));
    let three = order(&pool_of(3, vms), &swap);
    let shape: Vec<_> =
        three.steps.iter().map(|step| (step.wave, step.to, step.is_temporary)).collect();
    assert_eq!(shape, [(0, id(3), true), (1, id(1), false), (2, id(2), false)]);
}

fn any_pool() -> impl Strategy<Value = Pool> {
    let vm = (1u8..5, 0u64..2500, 1u64..1500);
    proptest::collection::vec(vm, 1..16).prop_map(|vms| {
        let numbered = (1u8..).zip(vms);
        let mut room: BTreeMap<u8, u64> = (1..=4).map(|n| (n, 4096)).collect();
        let placed = numbered.filter_map(|(n, (host, cpu, memory))| {
            let room = room.get_mut(&host)?;
            *room = room.checked_sub(memory)?;
            Some(on(n, host, amounts(cpu, memory, 0)))
        });
        pool_of(4, placed.collect())
    })
}

/// Carries a plan out, wave by wave, and looks at every host's memory all the while.
fn carry_out(pool: &mut Pool, steps: &[Step]) -> Result<(), TestCaseError> {
    let waves: Vec<u32> = steps.iter().map(|step| step.wave).collect();
    let last = waves.last().copied().unwrap_or(0);
    for wave in 0..=last {
        let now: Vec<&Step> = steps.iter().filter(|step| step.wave == wave).collect();
        let demand =
            |step: &Step| pool.vms.iter().find(|vm| vm.id == step.vm).expect("known").demand;
        let held: Vec<(HostId, HostId, Amounts)> =
            now.iter().map(|step| (step.from, step.to, demand(step))).collect();
        for (_, to, demand) in &held {
            let host = pool.hosts.iter_mut().find(|host| host.id == *to).expect("known");
            host.used = host.used.plus(*demand);
            prop_assert!(host.used[Resource::Memory] <= host.capacity[Resource::Memory]);
        }
        for (from, _, demand) in &held {
            let host = pool.hosts.iter_mut().find(|host| host.id == *from).expect("known");
            host.used = host.used.minus(*demand);
        }
        for step in now {
            let vm = pool.vms.iter_mut().find(|vm| vm.id == step.vm).expect("known");
            prop_assert_eq!(vm.host, Some(step.from));
            vm.host = Some(step.to);
            vm.mobility.moved_s_ago = None;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_of_a_plan_fits_and_the_end_is_what_was_wanted(
        pool in any_pool(),
        targets in proptest::collection::vec(1u8..5, 16),
    ) {
        let wanted: Vec<Wanted> =
            pool.vms.iter().zip(&targets).map(|(vm, to)| Wanted { vm: vm.id, to: id(*to) }).collect();
        let plan = order(&pool, &wanted);
        let mut after = pool.clone();
        carry_out(&mut after, &plan.steps)?;
        for Wanted { vm, to } in &wanted {
            let stuck = plan.stuck.iter().any(|stuck| stuck.vm == *vm);
            let now = after.vms.iter().find(|known| known.id == *vm).and_then(|vm| vm.host);
            prop_assert!(stuck || now == Some(*to));
        }
    }

    #[test]
    fn rebalancing_comes_to_rest_and_never_makes_it_worse(pool in any_pool()) {
        let (mut pool, model) = (pool, balance());
        let mut rounds = 0;
        loop {
            let plan = rebalance(&pool, &model, &Limits::default());
            prop_assert!(plan.potential.1 <= plan.potential.0);
            if plan.steps.is_empty() {
                break;
            }
            carry_out(&mut pool, &plan.steps)?;
            rounds += 1;
            prop_assert!(rounds < 20, "it goes on and on");
        }
    }

    #[test]
    fn an_evacuated_host_is_left_by_all_who_fit_elsewhere(pool in any_pool()) {
        let plan = evacuate(&pool, id(1), &balance());
        let mut after = pool.clone();
        carry_out(&mut after, &plan.steps)?;
        let there = |pool: &Pool| pool.vms.iter().filter(|vm| vm.host == Some(id(1))).count();
        prop_assert_eq!(there(&after), plan.kept.len() + plan.stuck.len());
    }
}
