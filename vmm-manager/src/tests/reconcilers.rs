//! What the reconcilers find, show and do, and what they leave alone.

use std::time::Duration;

use tokio::time::sleep;
use vmm_core::units::Kib;
use vmm_proto::v1::{
    self, DestroyOrphan, FaultCode, ListOrphans, ListTasks, Orphan, Reply, Request, VmPhase,
};

use super::Pool;
use super::asks::{destroy, refused, vm};
use super::pool::HOST_MIB;
use crate::ManagerConfig;

const MINUTE: Duration = Duration::from_secs(60);
const STRANGER: &str = "00000000-0000-4000-8000-0000000000ff";

fn memory(mib: u64) -> Request {
    let memory_kib = Kib::from_mib(mib).0;
    Request::SetMemory(v1::SetMemory { vm: "web".into(), memory_kib, wait_ms_max: 1000 })
}

fn vcpus(vcpus: u32) -> Request {
    Request::SetVcpus(v1::SetVcpus { vm: "web".into(), vcpus, wait_ms_max: 1000 })
}

/// A VM whose guest then does this by itself.
async fn strayed(change: impl FnOnce(&mut v1::ReportedVm)) -> (Pool, String) {
    let pool = Pool::of(&["a"]).await;
    let id = pool.create("web").await.vm;
    pool.agents.with("a", |host| host.sees(&id, change));
    (pool, id)
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_as_asked_for_has_no_drift_whatever_was_asked() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    for request in [vcpus(2), memory(256), memory(100), vcpus(1)] {
        pool.done(request).await;
        sleep(2 * MINUTE).await;
        assert_eq!(vm(&pool, "web").await.drift, None);
    }
    pool.done(vcpus(2)).await;
    pool.done(super::asks::save("web", "/s")).await;
    pool.done(super::asks::restore("web", None)).await;
    let id = vm(&pool, "web").await.vm;
    let restored = |seen: &mut v1::ReportedVm| {
        (seen.vcpus_online, seen.memory_kib) = (2, Kib::from_mib(100).0);
    };
    pool.agents.with("a", |host| host.sees(&id, restored));
    sleep(2 * MINUTE).await;
    assert_eq!(vm(&pool, "web").await.drift, None, "it goes on with what it had");
}

#[tokio::test(start_paused = true)]
async fn what_differs_for_a_while_is_shown_and_goes_when_it_does() {
    let (pool, id) = strayed(|seen| seen.vcpus_online = 2).await;
    sleep(Duration::from_secs(15)).await;
    assert_eq!(vm(&pool, "web").await.drift, None, "it may be on its way");
    sleep(MINUTE).await;
    assert_eq!(vm(&pool, "web").await.drift.as_deref(), Some("2 of 1 vCPUs are online"));
    pool.agents.with("a", |host| host.sees(&id, |seen| seen.vcpus_online = 1));
    sleep(MINUTE).await;
    assert_eq!(vm(&pool, "web").await.drift, None);
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm"], "nothing was told");
}

#[tokio::test(start_paused = true)]
async fn what_goes_and_comes_is_no_drift() {
    let (pool, id) = strayed(|_| {}).await;
    for round in 0..20 {
        pool.agents.with("a", |host| host.sees(&id, |seen| seen.vcpus_online = 1 + round % 2));
        sleep(Duration::from_secs(14)).await;
        assert_eq!(vm(&pool, "web").await.drift, None);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_that_is_held_is_charged_where_there_is_room() {
    let (pool, id) = strayed(|seen| seen.memory_kib = Kib::from_mib(200).0).await;
    let before = pool.reserved_mib("a");
    sleep(MINUTE).await;
    let drift = vm(&pool, "web").await.drift.expect("shown");
    assert_eq!(drift, "it holds 200 MiB of memory, its target is 128 MiB");
    assert_eq!(pool.reserved_mib("a"), before + 200 - 128);
    let too_much = Kib::from_mib(HOST_MIB).0;
    pool.agents.with("a", |host| host.sees(&id, |seen| seen.memory_kib = too_much));
    sleep(MINUTE).await;
    assert_eq!(pool.reserved_mib("a"), before + 200 - 128, "CAP1");
    pool.agents.with("a", |host| host.sees(&id, |seen| seen.memory_kib = Kib::from_mib(32).0));
    sleep(MINUTE).await;
    let drift = vm(&pool, "web").await.drift.expect("shown");
    assert_eq!(drift, "it holds 32 MiB of memory, its least is 128 MiB");
}

#[tokio::test(start_paused = true)]
async fn a_second_domain_is_shown_and_never_touched() {
    let pool = Pool::of(&["a", "b"]).await;
    let id = pool.create("web").await.vm;
    let host = pool.agents.running_on(&id).remove(0);
    let other = if host == "a" { "b" } else { "a" };
    pool.agents.with(other, |host| host.set(&id, VmPhase::Running));
    pool.agents.with(other, |host| host.sees(&id, |seen| seen.memory_kib = 1));
    sleep(MINUTE).await;
    let shown = vm(&pool, "web").await;
    assert_eq!(shown.drift, Some(format!("host {other} reports a domain of it as well")));
    assert_eq!((shown.host, pool.agents.running_on(&id).len()), (Some(host), 2));
}

async fn orphans(pool: &Pool) -> Vec<Orphan> {
    match pool.ok(Request::ListOrphans(ListOrphans {})).await {
        Reply::Orphans(orphans) => orphans.orphans,
        other => panic!("{other:?}"),
    }
}

fn destroy_orphan(host: &str, vm: &str) -> Request {
    Request::DestroyOrphan(DestroyOrphan { host: host.into(), vm: vm.into() })
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_shown_and_goes_only_when_somebody_says_so() {
    let pool = Pool::of(&["a", "b"]).await;
    let id = pool.create("web").await.vm;
    let host = pool.agents.running_on(&id).remove(0);
    pool.agents.with("a", |host| host.set(STRANGER, VmPhase::Paused));
    sleep(MINUTE).await;
    let [orphan] = &orphans(&pool).await[..] else { panic!("one") };
    assert_eq!((orphan.host.as_str(), orphan.vm.as_str()), ("a", STRANGER));
    assert_eq!((orphan.phase, orphan.memory_kib), (VmPhase::Paused, 1024));
    assert_eq!(pool.agents.running_on(STRANGER), ["a"]);
    for (request, code, says) in [
        (destroy_orphan(&host, &id), FaultCode::BadState, "web is no orphan"),
        (destroy_orphan("b", STRANGER), FaultCode::UnknownVm, "has no orphan"),
        (destroy_orphan("c", STRANGER), FaultCode::UnknownHost, "\"c\""),
        (destroy_orphan("a", "web"), FaultCode::BadRequest, "web"),
    ] {
        refused(&pool, request, code, says).await;
    }
    let task = pool.done(destroy_orphan("a", STRANGER)).await;
    assert_eq!((task.verb.as_str(), task.host.as_deref()), ("DestroyOrphan", Some("a")));
    sleep(MINUTE).await;
    assert!(orphans(&pool).await.is_empty() && pool.agents.running_on(STRANGER).is_empty());
    assert_eq!(vm(&pool, "web").await.phase, VmPhase::Running);
    let turns = pool.manager.reconciled();
    assert_eq!(turns["orphans"].changed, 2, "it came and it went");
}

#[tokio::test(start_paused = true)]
async fn the_destruction_of_an_orphan_survives_the_end_of_the_manager() {
    for after_ms in [0, 1, 500, 1010] {
        let mut pool = Pool::of(&["a"]).await;
        pool.agents.with("a", |host| {
            host.set(STRANGER, VmPhase::Running);
            host.change_time = Duration::from_secs(1);
        });
        pool.settle().await;
        let task = pool.begin(destroy_orphan("a", STRANGER)).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.crash().await;
        assert_eq!(pool.wait(&task.task).await.state, v1::TaskState::Done, "{after_ms}");
        pool.settle().await;
        assert!(pool.agents.running_on(STRANGER).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_orphan_on_a_silent_host_is_left_alone() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.set(STRANGER, VmPhase::Running));
    pool.settle().await;
    pool.agents.with("a", |host| host.silent = true);
    sleep(MINUTE).await;
    let request = destroy_orphan("a", STRANGER);
    refused(&pool, request, FaultCode::HostUnreachable, "is not heard").await;
}

#[tokio::test(start_paused = true)]
async fn finished_tasks_and_keys_are_forgotten_when_they_are_old() {
    let hour = Duration::from_secs(3600);
    let config = ManagerConfig {
        finished_tasks_age: 2 * hour,
        idempotency_keys_age: hour,
        ..ManagerConfig::default()
    };
    let mut pool = Pool::with(config, &["a"]).await;
    pool.create("web").await;
    let pause = || Request::PauseVm(v1::PauseVm { vm: "web".into() });
    let first = pool.call(Some("k"), pause()).await.expect("paused");
    let count = async |pool: &Pool| match pool.ok(Request::ListTasks(ListTasks::default())).await {
        Reply::Tasks(tasks) => tasks.tasks.len(),
        other => panic!("{other:?}"),
    };
    sleep(hour / 2).await;
    assert!(pool.call(Some("k"), pause()).await.is_ok());
    let (Reply::Task(first), before) = (first, count(&pool).await) else { panic!("a task") };
    assert_eq!(before, 3);
    sleep(hour).await;
    pool.restart().await;
    sleep(2 * MINUTE).await;
    let second = pool.call(Some("k"), pause()).await.expect("another one: the key is forgotten");
    let Reply::Task(second) = second else { panic!("a task") };
    assert_ne!(first.task, second.task);
    sleep(hour).await;
    assert_eq!(count(&pool).await, 1, "the young one");
    pool.done(destroy("web")).await;
}

#[tokio::test(start_paused = true)]
async fn the_file_of_a_vm_that_is_gone_is_named_by_the_tasks_that_gave_it_up() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.done(super::asks::save("web", "/srv/web.save")).await;
    pool.ok(super::asks::discard("web")).await;
    pool.ok(super::asks::delete("web")).await;
    let wanted = ListTasks { vm: Some("web".into()), ..ListTasks::default() };
    let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(wanted)).await else { panic!("tasks") };
    for task in &tasks.tasks[..2] {
        let task = pool.wait(&task.task).await;
        let says = |line: &v1::TaskLine| line.text.contains("/srv/web.save is left on host a");
        assert!(task.lines.iter().any(says), "{task:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_forgotten_the_oldest_first() {
    let config = ManagerConfig { finished_tasks_max: 4, ..ManagerConfig::default() };
    let pool = Pool::with(config, &["a"]).await;
    for name in ["v0", "v1", "v2"] {
        pool.create(name).await;
    }
    let vms = ["v0", "v1", "v2"].map(|vm| v1::VmRef { vm: vm.into() }).to_vec();
    let operation = v1::BulkOperation::Pause;
    let bulk = v1::BulkVms { operation, wait_ms_max: None, directory: None, vms };
    let parent = pool.done(Request::BulkVms(bulk)).await;
    assert_eq!(parent.children.iter().filter(|child| child.task.is_some()).count(), 3);
    sleep(3 * MINUTE).await;
    let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(ListTasks::default())).await else {
        panic!("tasks")
    };
    let verbs: Vec<_> = tasks.tasks.iter().map(|task| task.verb.as_str()).collect();
    assert_eq!(verbs, ["PauseVm", "PauseVm", "PauseVm", "BulkVms"]);
}
