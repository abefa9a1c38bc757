//! The store fails under the manager: what could not be stored is not carried out, what was stored is, and all goes on by itself.

use std::time::Duration;

use tokio::time::sleep;
use vmm_core::vm::VmState;
use vmm_proto::v1::{self, FaultCode, Reply, Request, TaskState, VmPhase};

use super::Pool;
use super::asks::{create as create_with, destroy, start};
use super::pool::create;
use crate::store::faulty::Fault;

const FAULTS: [Fault; 2] = [Fault::Undone, Fault::ReplyLost];

/// Asks until there is an answer that is not `Busy`, as a client does.
async fn insist(pool: &Pool, key: &str, request: Request) -> Reply {
    for _ in 0..100 {
        match pool.call(Some(key), request.clone()).await {
            Err(fault) if fault.code == FaultCode::Busy => sleep(Duration::from_secs(1)).await,
            answer => return answer.expect("done in the end"),
        }
    }
    panic!("the store is not opened again")
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_stored_is_not_carried_out() {
    let pool = Pool::of(&["a"]).await;
    pool.store.fail(0, Fault::Undone);
    let fault = pool.call(Some("k"), create("web")).await.expect_err("not stored");
    assert_eq!((fault.code, fault.retryable), (FaultCode::Busy, true));
    pool.settle().await;
    assert!(pool.vm("web").await.is_none());
    assert_eq!(pool.reserved_mib("a"), 0);
    assert!(pool.agents.with("a", |host| host.done.is_empty()), "no agent has heard of it");
    pool.create("web").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_although_nobody_heard_is_carried_out_once() {
    let pool = Pool::of(&["a"]).await;
    pool.store.fail(0, Fault::ReplyLost);
    let fault = pool.call(Some("k"), create("web")).await.expect_err("not known");
    assert_eq!(fault.code, FaultCode::Busy);
    let Reply::Task(task) = insist(&pool, "k", create("web")).await else { panic!("the task") };
    assert_eq!(pool.wait(&task.task).await.state, TaskState::Done);
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm"]);
}

#[tokio::test(start_paused = true)]
async fn a_look_is_answered_while_the_store_is_away() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.store.fail(0, Fault::Undone);
    assert!(pool.call(None, destroy("web")).await.is_err());
    assert_eq!(pool.vm("web").await.expect("shown").phase, VmPhase::Running);
    let fault = pool.call(None, destroy("web")).await.expect_err("no decision meanwhile");
    assert_eq!(fault.code, FaultCode::Busy);
    pool.settle().await;
    pool.done(destroy("web")).await;
}

/// What is stored is what is there.
async fn check_agreement(pool: &Pool, what: &str) {
    let Some(vm) = pool.vm("web").await else {
        assert_eq!(pool.reserved_mib("a"), 0, "{what}");
        assert!(pool.agents.known_vms().iter().all(|vm| pool.agents.running_on(vm).is_empty()));
        return;
    };
    let runs = !pool.agents.running_on(&vm.vm).is_empty();
    assert_eq!(VmState::from(vm.phase).has_domain(), runs, "{what}: {vm:?}");
    assert_eq!(pool.reserved_mib("a") > 0, runs, "{what}");
}

#[tokio::test(start_paused = true)]
async fn whichever_transaction_fails_the_pool_agrees_with_its_hosts_afterwards() {
    let series = || [create_with("web", |_| {}), destroy("web"), start("web"), destroy("web")];
    let mut armed = 0;
    for (after, fault) in (0..16).flat_map(|after| FAULTS.map(|fault| (after, fault))) {
        let pool = Pool::of(&["a"]).await;
        pool.store.fail(after, fault);
        for (step, request) in series().into_iter().enumerate() {
            let what = format!("{fault:?} after {after}, at step {step}");
            let key = format!("k{step}");
            let answer = loop {
                match pool.call(Some(&key), request.clone()).await {
                    Err(fault) if fault.code == FaultCode::Busy => {
                        sleep(Duration::from_secs(1)).await;
                    }
                    answer => break answer,
                }
            };
            if let Ok(Reply::Task(task)) = answer {
                pool.wait(&task.task).await;
            }
            pool.settle().await;
            check_agreement(&pool, &what).await;
        }
        armed += usize::from(pool.store.is_armed());
        let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(v1::ListTasks::default())).await
        else {
            panic!("tasks")
        };
        assert!(tasks.tasks.iter().all(|task| task.state != TaskState::Running), "{tasks:?}");
    }
    assert!(armed < 16, "most faults have come: {armed}");
}
