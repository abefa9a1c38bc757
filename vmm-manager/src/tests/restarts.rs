//! What a restart of the manager keeps, takes up and gives up.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{self, Request, TaskState, VmPhase};

use super::Pool;
use super::pool::create;

#[tokio::test(start_paused = true)]
async fn reservations_vms_and_tasks_survive() {
    let mut pool = Pool::of(&["a"]).await;
    let task = pool.create("web").await;
    let reserved = pool.reserved_mib("a");
    pool.restart().await;
    assert_eq!(pool.reserved_mib("a"), reserved, "before any host was heard");
    assert_eq!(pool.wait(&task.task).await.state, TaskState::Done);
    pool.settle().await;
    let vm = pool.vm("web").await.expect("still there");
    assert_eq!((vm.phase, vm.stale), (VmPhase::Running, false));
}

/// Ends the manager while the agent builds; `finishes` tells whether the build is done when it comes back.
async fn interrupted(finishes: bool) -> (Pool, v1::Task) {
    let mut pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.build_time = Duration::from_secs(2));
    let task = pool.begin(create("web")).await;
    sleep(Duration::from_millis(500)).await;
    pool.end().await;
    if finishes {
        pool.agents.with("a", |host| host.set(&task.vm, VmPhase::Running));
    }
    pool.restart_ended().await;
    let task = pool.wait(&task.task).await;
    (pool, task)
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_was_built_meanwhile_is_adopted() {
    let (pool, task) = interrupted(true).await;
    assert_eq!(task.state, TaskState::Done, "{task:?}");
    pool.settle().await;
    assert_eq!(pool.vm("web").await.expect("there").phase, VmPhase::Running);
    assert!(pool.reserved_mib("a") > 128);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_was_not_built_is_taken_back() {
    let (pool, task) = interrupted(false).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.fault.expect("a fault").message.contains("restarted"));
    assert!(pool.vm("web").await.is_none());
    assert_eq!(pool.reserved_mib("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_taken_up_is_ended() {
    let mut pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.agents.with("a", |host| host.lose_replies = usize::MAX);
    let pause = Request::PauseVm(v1::PauseVm { vm: "web".into() });
    let task = pool.begin(pause).await;
    sleep(Duration::from_secs(1)).await;
    pool.restart().await;
    assert_eq!(pool.wait(&task.task).await.state, TaskState::Failed);
    pool.agents.with("a", |host| host.lose_replies = 0);
    pool.settle().await;
    assert_eq!(pool.vm("web").await.expect("there").phase, VmPhase::Paused, "as its host says");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_remembered() {
    let mut pool = Pool::of(&["a"]).await;
    let first = pool.call(Some("k"), create("web")).await.expect("created");
    pool.settle().await;
    pool.restart().await;
    pool.settle().await;
    let second = pool.call(Some("k"), create("web")).await.expect("the same");
    let (v1::Reply::Task(first), v1::Reply::Task(second)) = (first, second) else {
        panic!("tasks");
    };
    assert_eq!((first.task, TaskState::Done), (second.task, second.state));
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm"]);
}
