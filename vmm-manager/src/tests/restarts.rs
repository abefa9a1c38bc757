//! What a restart of the manager keeps, takes up and gives up.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{self, Request, TaskState, VmPhase};

use super::Pool;
use super::pool::create;
use crate::StoreLocation;
use crate::store::{Course, Put, Store, TaskRecord};

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
async fn a_change_that_is_never_heard_of_after_a_restart_either_ends_as_failed() {
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

/// As managers before 0.2 stored it: without a plan.
async fn of_an_older_manager(pool: &mut Pool, task: &v1::Task) {
    pool.end().await;
    let location = StoreLocation::Faulty(pool.store.clone());
    let (store, contents) = Store::open(&location, "test", Duration::ZERO).await.expect("opens");
    let id = |record: &&TaskRecord| record.shown.task == task.task;
    let record = contents.tasks.iter().find(id).expect("the task").clone();
    let told = record.told().cloned();
    let old = TaskRecord { plan: None, course: Course::default(), request: None, told, ..record };
    store.decide(&[Put::Task(Box::new(old))]).expect("taken");
    store.close().await;
    pool.restart_ended().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_of_older_managers_are_taken_up_as_far_as_they_say_what_they_do() {
    let pause = Request::PauseVm(v1::PauseVm { vm: "web".into() });
    let rename = Request::RenameVm(v1::RenameVm { vm: "web".into(), name: "shop".into() });
    let start = Request::StartVm(v1::StartVm { vm: "web".into() });
    for (request, stopped, expect) in [
        (pause, false, TaskState::Failed),
        (rename, false, TaskState::Done),
        (start, true, TaskState::Failed),
    ] {
        let mut pool = Pool::of(&["a"]).await;
        pool.create("web").await;
        if stopped {
            pool.done(Request::DestroyVm(v1::DestroyVm { vm: "web".into() })).await;
        }
        let second = Duration::from_secs(1);
        pool.agents.with("a", |host| (host.build_time, host.change_time) = (second, second));
        let task = pool.begin(request.clone()).await;
        sleep(Duration::from_millis(500)).await;
        of_an_older_manager(&mut pool, &task).await;
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, expect, "{task:?}");
        pool.settle().await;
        let runs = pool.agents.running_on(&task.vm);
        assert_eq!(pool.vm(&task.vm).await.expect("there").host, runs.first().cloned());
    }
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
