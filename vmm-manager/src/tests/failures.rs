//! Every step fails once, every cancel point is used once, replies are lost: what is left is always a listed state.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{self, FaultCode, Request, TaskState, VmPhase};

use super::Pool;
use super::pool::create;

fn start(vm: &str) -> Request {
    Request::StartVm(v1::StartVm { vm: vm.into() })
}

fn destroy(vm: &str) -> Request {
    Request::DestroyVm(v1::DestroyVm { vm: vm.into() })
}

fn cancel(task: &v1::Task) -> Request {
    Request::CancelTask(v1::CancelTask { task: task.task.clone() })
}

fn fail_at(pool: &Pool, step: Option<&'static str>) {
    *pool.manager.app().failing_step.lock().expect("no panic") = step;
}

/// Nothing of the VM is left anywhere.
async fn assert_gone(pool: &Pool, task: &v1::Task) {
    pool.settle().await;
    assert!(pool.vm("web").await.is_none());
    assert_eq!(pool.reserved_mib("a"), 0);
    assert!(pool.agents.running_on(&task.vm).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_create_that_fails_at_any_step_leaves_nothing() {
    for step in ["build", "mark running"] {
        let pool = Pool::of(&["a"]).await;
        fail_at(&pool, Some(step));
        let task = pool.begin(create("web")).await;
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Failed, "{step}");
        assert_eq!(task.fault.clone().expect("a fault").code, FaultCode::HostFailed);
        assert_gone(&pool, &task).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_refuses_to_build_is_named_and_nothing_is_left() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.refuses.insert("BuildVm"));
    let task = pool.begin(create("web")).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.fault.clone().expect("a fault").hop, "agent a");
    assert_gone(&pool, &task).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_at_any_step_leaves_the_definition() {
    for step in ["build", "mark running"] {
        let pool = Pool::of(&["a"]).await;
        pool.create("web").await;
        pool.done(destroy("web")).await;
        fail_at(&pool, Some(step));
        let task = pool.begin(start("web")).await;
        assert_eq!(pool.wait(&task.task).await.state, TaskState::Failed, "{step}");
        let vm = pool.vm("web").await.expect("still defined");
        assert_eq!((vm.phase, vm.host), (VmPhase::Failed, None));
        assert_eq!(pool.reserved_mib("a"), 0);
        fail_at(&pool, None);
        pool.done(start("web")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_create_is_taken_back_at_each_point() {
    for after_ms in [0, 1, 2, 500, 1999] {
        let pool = Pool::of(&["a"]).await;
        pool.agents.with("a", |host| host.build_time = Duration::from_secs(2));
        let task = pool.begin(create("web")).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.begin(cancel(&task)).await;
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Cancelled, "after {after_ms} ms: {task:?}");
        assert_gone(&pool, &task).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_over_cannot_be_cancelled() {
    let pool = Pool::of(&["a"]).await;
    let task = pool.create("web").await;
    let fault = pool.call(None, cancel(&task)).await.expect_err("too late");
    assert_eq!(fault.code, FaultCode::BadState);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_asked_for_again_and_builds_once() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.lose_replies = 3);
    let task = pool.create("web").await;
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm"]);
    assert_eq!(pool.agents.running_on(&task.vm), ["a"]);
}

/// The build's outcome is not known: the VM is started nowhere until its host is heard.
async fn unknown_outcome(was_built: bool) -> (Pool, v1::Task) {
    let pool = Pool::of(&["a", "b"]).await;
    pool.agents.with("b", |host| host.load.cpu_milli = 3900);
    pool.settle().await;
    let task = pool.begin(create("web")).await;
    if was_built {
        pool.agents.with("a", |host| host.lose_replies = usize::MAX);
        sleep(Duration::from_millis(100)).await;
    }
    pool.agents.with("a", |host| host.silent = true);
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Failed);
    assert_eq!(task.fault.clone().expect("a fault").code, FaultCode::HostUnreachable);
    let vm = pool.vm("web").await.expect("not forgotten");
    assert_eq!((vm.phase, vm.host.as_deref()), (VmPhase::Lost, Some("a")));
    assert!(pool.reserved_mib("a") > 128, "the reservation stays");
    for request in [start("web"), Request::DeleteVm(v1::DeleteVm { vm: "web".into() })] {
        let fault = pool.call(None, request).await.expect_err("VM1");
        assert_eq!(fault.code, FaultCode::BadState);
    }
    pool.agents.with("a", |host| (host.silent, host.lose_replies) = (false, 0));
    pool.settle().await;
    (pool, task)
}

#[tokio::test(start_paused = true)]
async fn a_vm_whose_build_was_never_heard_of_is_free_when_its_host_does_not_know_it() {
    let (pool, task) = unknown_outcome(false).await;
    let vm = pool.vm("web").await.expect("defined");
    assert_eq!((vm.phase, vm.host), (VmPhase::Lost, None));
    assert_eq!(pool.reserved_mib("a"), 0);
    pool.done(start("web")).await;
    assert_eq!(pool.agents.running_on(&task.vm).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_was_built_unheard_is_found_running_where_it_is() {
    let (pool, task) = unknown_outcome(true).await;
    let vm = pool.vm("web").await.expect("defined");
    assert_eq!((vm.phase, vm.host.as_deref()), (VmPhase::Running, Some("a")));
    assert!(pool.reserved_mib("a") > 128);
    assert_eq!(pool.agents.running_on(&task.vm), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_outcome_is_not_known_is_not_repeated_elsewhere() {
    let pool = Pool::of(&["a", "b"]).await;
    let task = pool.create("web").await;
    let host = pool.agents.running_on(&task.vm).remove(0);
    pool.done(destroy("web")).await;
    pool.agents.with(&host, |host| host.build_time = Duration::from_millis(500));
    let task = pool.begin(start("web")).await;
    sleep(Duration::from_millis(100)).await;
    pool.agents.with(&host, |host| host.silent = true);
    assert_eq!(pool.wait(&task.task).await.state, TaskState::Failed);
    let fault = pool.call(None, start("web")).await.expect_err("VM1");
    assert_eq!(fault.code, FaultCode::BadState);
    pool.agents.with(&host, |host| host.silent = false);
    pool.settle().await;
    assert_eq!(pool.agents.running_on(&task.vm), std::slice::from_ref(&host));
    assert_eq!(pool.vm("web").await.expect("there").host, Some(host));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_crashes_gives_its_reservation_back() {
    let pool = Pool::of(&["a"]).await;
    let task = pool.create("web").await;
    pool.agents.with("a", |host| host.set(&task.vm, VmPhase::Crashed));
    pool.settle().await;
    let vm = pool.vm("web").await.expect("defined");
    assert_eq!((vm.phase, vm.host), (VmPhase::Crashed, None));
    assert_eq!(pool.reserved_mib("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_its_host_forgot_is_lost() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.agents.with("a", |host| host.vms.clear());
    pool.settle().await;
    let vm = pool.vm("web").await.expect("defined");
    assert_eq!((vm.phase, vm.host), (VmPhase::Lost, None));
    assert_eq!(pool.reserved_mib("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn another_machine_under_a_hosts_name_is_not_believed() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.agents.with("a", |host| {
        host.machine = "another".into();
        host.vms.clear();
    });
    sleep(Duration::from_secs(60)).await;
    let vm = pool.vm("web").await.expect("defined");
    assert!(vm.phase == VmPhase::Running && vm.stale, "{vm:?}");
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_nobody_knows_is_left_alone() {
    let pool = Pool::of(&["a"]).await;
    let stranger = "00000000-0000-0000-0000-0000000000ff";
    pool.agents.with("a", |host| host.set(stranger, VmPhase::Running));
    pool.settle().await;
    assert_eq!(pool.agents.running_on(stranger), ["a"]);
    assert!(pool.vm(stranger).await.is_none());
}
