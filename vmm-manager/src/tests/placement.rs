//! Each demand picks its host; a dry run changes nothing.

use vmm_core::units::Kib;
use vmm_proto::v1::{self, FaultCode, Reply, Request};

use super::{Pool, spec};

fn create(change: impl FnOnce(&mut v1::Spec), dry_run: bool) -> Request {
    let mut spec = spec("web");
    change(&mut spec);
    Request::CreateVm(v1::CreateVm { dry_run, spec, ..v1::CreateVm::default() })
}

/// Three hosts, each short of one thing, none of them absolutely.
async fn lopsided() -> Pool {
    let pool = Pool::of(&["busy-cpu", "busy-disk", "little-memory"]).await;
    pool.agents.with("busy-cpu", |host| host.load.cpu_milli = 3500);
    pool.agents.with("busy-disk", |host| host.load.disk_bytes_per_s = 90_000_000);
    pool.agents.with("little-memory", |host| {
        host.load.memory_free_kib = Kib::from_mib(600).0;
    });
    pool.settle().await;
    pool
}

async fn check(change: impl FnOnce(&mut v1::Spec), not_on: &[&str]) {
    let pool = lopsided().await;
    let task = pool.done(create(change, false)).await;
    let chosen = task.placement.expect("a placement").chosen.expect("a host");
    assert!(!not_on.contains(&chosen.as_str()), "{chosen}");
    assert_eq!(pool.agents.running_on(&task.vm), [chosen]);
}

#[tokio::test(start_paused = true)]
async fn a_vm_goes_where_what_it_needs_is_left() {
    check(|s| s.cpu_demand_milli = 2000, &["busy-cpu"]).await;
    check(|s| s.disk_demand_bytes_per_s = 50_000_000, &["busy-disk"]).await;
    check(
        |s| (s.memory_kib, s.memory_max_kib) = (Kib::from_mib(512).0, Kib::from_mib(512).0),
        &["little-memory"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_explains_and_changes_nothing() {
    let pool = lopsided().await;
    let before = pool.manager.facts();
    let Reply::Placement(placement) = pool.ok(create(|s| s.cpu_demand_milli = 500, true)).await
    else {
        panic!("a placement was expected");
    };
    assert_eq!(placement.candidates.len(), 3);
    assert!(placement.candidates.iter().all(|c| c.eligible && !c.reason.is_empty()));
    assert_eq!(pool.manager.facts(), before);
    assert!(pool.vm("web").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_fits_nowhere_is_refused_with_each_hosts_reason() {
    let pool = Pool::of(&["a", "b"]).await;
    let maintenance = v1::SetMaintenance { host: "b".into(), maintenance: true };
    pool.ok(Request::SetMaintenance(maintenance)).await;
    let large = |s: &mut v1::Spec| (s.memory_kib, s.memory_max_kib) = (8 << 20, 8 << 20);
    let fault = pool.call(None, create(large, false)).await.expect_err("no room");
    assert_eq!((fault.code, fault.hop.as_str()), (FaultCode::NoCapacity, "manager"));
    assert!(fault.message.contains("a (memory: needs"), "{fault}");
    assert!(fault.message.contains("b (is in maintenance)"), "{fault}");
    let Reply::Placement(dry) = pool.ok(create(large, true)).await else { panic!("a placement") };
    assert_eq!(dry.chosen, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_takes_no_vm_and_keeps_what_it_has() {
    let pool = Pool::of(&["a"]).await;
    pool.create("first").await;
    pool.agents.with("a", |host| host.silent = true);
    tokio::time::sleep(std::time::Duration::from_secs(40)).await;
    let Reply::Hosts(hosts) = pool.ok(Request::ListHosts(v1::ListHosts::default())).await else {
        panic!("hosts");
    };
    assert_eq!(hosts.hosts[0].health, v1::HostHealth::Silent);
    let fault = pool.call(None, super::pool::create("second")).await.expect_err("no host");
    assert!(fault.message.contains("is silent"), "{fault}");
    let first = pool.vm("first").await.expect("still there");
    assert!(first.stale && first.phase == v1::VmPhase::Running);
    assert!(pool.reserved_mib("a") > 128);
}

#[tokio::test(start_paused = true)]
async fn what_is_charged_is_memory_overhead_and_a_tenth_of_a_cpu_a_vcpu() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let Reply::Hosts(hosts) = pool.ok(Request::ListHosts(v1::ListHosts::default())).await else {
        panic!("hosts");
    };
    assert_eq!(hosts.hosts[0].cpu_reserved_milli, 100);
    assert!(hosts.hosts[0].memory_reserved_kib > Kib::from_mib(128).0);
    assert_eq!(hosts.hosts[0].vm_count, 1);
}

/// What a host reports of a VM's use, again and again.
async fn measure(pool: &Pool, vm: &str, rates: v1::VmRates) {
    let vm = pool.vm(vm).await.expect("there");
    pool.agents.with(vm.host.as_deref().expect("it runs"), |host| {
        host.vms.get_mut(&vm.vm).expect("it is there").rates = Some(rates);
    });
    pool.settle().await;
}

async fn dry_run(pool: &Pool, change: impl FnOnce(&mut v1::Spec)) -> v1::Placement {
    match pool.ok(create(change, true)).await {
        Reply::Placement(placement) => placement,
        other => panic!("a placement was expected: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn network_and_requests_to_disks_count_where_a_host_says_what_it_has() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.create("talker").await;
    let home = pool.vm("talker").await.and_then(|vm| vm.host).expect("it runs");
    let rates = v1::VmRates {
        disk_requests_per_s: Some(900),
        network_bytes_per_s: Some(9_000_000),
        ..v1::VmRates::default()
    };
    measure(&pool, "talker", rates).await;
    let parts = async || {
        let placement = dry_run(&pool, |_| {}).await;
        let cost = |name: &str, of: &str| {
            let host = placement.candidates.iter().find(|c| c.host == of).expect("a host");
            let part = host.parts.iter().find(|part| part.name == name);
            part.map_or(0.0, |part| part.cost)
        };
        ["network", "iops"].map(|name| {
            let other = if home == "a" { "b" } else { "a" };
            (cost(name, &home), cost(name, other))
        })
    };
    for (busy, idle) in parts().await {
        assert!(busy.max(idle) < 1e-9, "nobody said what the hosts have: {busy} {idle}");
    }
    for host in ["a", "b"] {
        pool.agents.with(host, |host| {
            host.facts.network_bytes_per_s = Some(10_000_000);
            host.facts.disk_requests_per_s = Some(1000);
        });
    }
    pool.settle().await;
    for (busy, idle) in parts().await {
        assert!(busy > 2.0 * idle && idle > 0.0, "{busy} {idle}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_vm_is_expected_to_use_what_its_likes_use() {
    let pool = Pool::of(&["a", "b"]).await;
    for name in ["one", "two", "three"] {
        pool.done(create(|s| (s.name, s.vcpus_max) = (name.into(), 4), false)).await;
    }
    let cpu = async |kernel: &str| {
        let placement = dry_run(&pool, |s| (s.kernel, s.vcpus_max) = (kernel.into(), 4)).await;
        placement.candidates[0].cost_cpu
    };
    let like = spec("web").kernel;
    let before = cpu(&like).await;
    for name in ["one", "two", "three"] {
        let rates = v1::VmRates { cpu_milli: Some(900), ..v1::VmRates::default() };
        measure(&pool, name, rates).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let (known, unknown) = (cpu(&like).await, cpu("/boot/another").await);
    assert!(known > 4.0 * unknown, "{known} {unknown}");
    assert!((before - unknown).abs() < 1e-9, "{before} {unknown}");
}
