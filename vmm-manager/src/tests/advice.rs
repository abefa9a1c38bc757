//! What the scheduler would do, asked of a manager: a hot host, an emptied one, more for a VM.

use vmm_proto::v1::{self, FaultCode, PlanEvacuation, PlanGrowth, PlanMoves, Reply, Request};

use super::{Pool, spec};

const MIB: u64 = 1024;

async fn create(pool: &Pool, name: &str, change: impl FnOnce(&mut v1::Spec)) {
    let mut spec = v1::Spec { cpu_demand_milli: 100, ..spec(name) };
    change(&mut spec);
    pool.done(Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() })).await;
}

/// Four CPUs: on the first host VMs that want nearly all of them, on the second nothing.
pub(super) async fn hot() -> Pool {
    let pool = Pool::of(&["a", "b"]).await;
    let keep =
        |maintenance| Request::SetMaintenance(v1::SetMaintenance { host: "b".into(), maintenance });
    pool.ok(keep(true)).await;
    for name in ["one", "two"] {
        create(&pool, name, |s| (s.cpu_demand_milli, s.vcpus, s.vcpus_max) = (1800, 2, 4)).await;
    }
    pool.ok(keep(false)).await;
    pool.settle().await;
    pool
}

async fn moves(pool: &Pool) -> v1::Plan {
    match pool.ok(Request::PlanMoves(PlanMoves::default())).await {
        Reply::Plan(plan) => plan,
        other => panic!("a plan was expected: {other:?}"),
    }
}

async fn growth(pool: &Pool, vcpus: Option<u32>, memory_mib: Option<u64>) -> v1::Growth {
    let memory_kib = memory_mib.map(|mib| mib * MIB);
    let ask = PlanGrowth { vm: "one".into(), vcpus, memory_kib };
    match pool.ok(Request::PlanGrowth(ask)).await {
        Reply::Growth(growth) => growth,
        other => panic!("ways were expected: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_host_is_relieved_by_a_move_that_says_what_it_gains() {
    let pool = hot().await;
    let plan = moves(&pool).await;
    assert_eq!(plan.moves.len(), 1, "{plan:#?}");
    let step = &plan.moves[0];
    assert_eq!((step.source.as_str(), step.destination.as_str(), step.wave), ("a", "b", 1));
    assert!(step.cost_there < step.cost_here / 2.0 && plan.potential_after < plan.potential_before);
    assert_eq!(step.reason, "relieves cpu most");
    assert!(step.move_bytes.is_some() && step.downtime_ms.is_some());
    let facts = pool.manager.facts();
    assert_eq!((facts["a"].vms.len(), facts["b"].vms.len()), (2, 0), "a plan moves nothing");
}

#[tokio::test(start_paused = true)]
async fn a_host_with_vms_that_have_disks_keeps_them_and_says_so() {
    let pool = Pool::of(&["a", "b"]).await;
    let disk = v1::Disk { path: "/d.img".into(), device: "xvda".into(), read_only: false };
    create(&pool, "db", |s| s.disks = vec![disk]).await;
    let host = pool.vm("db").await.and_then(|vm| vm.host).expect("it runs");
    let Reply::Plan(plan) = pool.ok(Request::PlanEvacuation(PlanEvacuation { host })).await else {
        panic!("a plan was expected");
    };
    assert_eq!((plan.moves.len(), plan.kept.len()), (0, 1));
    assert!(plan.kept[0].reason.contains("disks of its host"), "{:?}", plan.kept);
}

#[tokio::test(start_paused = true)]
async fn an_evacuation_finds_everybody_a_host() {
    let pool = hot().await;
    let ask = |host: &str| Request::PlanEvacuation(PlanEvacuation { host: host.into() });
    let Reply::Plan(plan) = pool.ok(ask("a")).await else { panic!("a plan was expected") };
    assert_eq!((plan.moves.len(), plan.kept.len()), (2, 0));
    assert!(plan.moves.iter().all(|step| step.destination == "b"));
    let fault = pool.call(None, ask("nowhere")).await.expect_err("no such host");
    assert_eq!(fault.code, FaultCode::UnknownHost);
}

#[tokio::test(start_paused = true)]
async fn growth_is_in_place_where_that_costs_less_and_elsewhere_where_it_does_not() {
    let pool = Pool::of(&["a", "b"]).await;
    create(&pool, "one", |s| (s.vcpus_max, s.memory_max_kib) = (4, 2048 * MIB)).await;
    let calm = growth(&pool, Some(2), Some(256)).await;
    assert_eq!(calm.ways.iter().map(|way| way.in_place).collect::<Vec<_>>(), [true, false]);
    let pool = hot().await;
    let busy = growth(&pool, Some(4), None).await;
    assert_eq!((busy.ways[0].in_place, busy.ways[0].host.as_str()), (false, "b"), "{busy:#?}");
    assert!(busy.ways[0].parts.iter().any(|part| part.name == "migration" && part.cost > 0.0));
    assert!(busy.ways[1].in_place && busy.ways[1].cost > busy.ways[0].cost);
}

#[tokio::test(start_paused = true)]
async fn what_the_vm_was_not_made_for_is_refused_with_its_limit() {
    let pool = Pool::of(&["a"]).await;
    create(&pool, "one", |_| {}).await;
    let ask = |vm: &str, vcpus| {
        Request::PlanGrowth(PlanGrowth { vm: vm.into(), vcpus: Some(vcpus), memory_kib: None })
    };
    let fault = pool.call(None, ask("one", 64)).await.expect_err("too many");
    assert_eq!(fault.code, FaultCode::BadRequest);
    let fault = pool.call(None, ask("nobody", 1)).await.expect_err("no such VM");
    assert_eq!(fault.code, FaultCode::UnknownVm);
    let stop = v1::DestroyVm { vm: "one".into() };
    pool.done(Request::DestroyVm(stop)).await;
    let fault = pool.call(None, ask("one", 1)).await.expect_err("it is nowhere");
    assert_eq!(fault.code, FaultCode::BadState);
}
