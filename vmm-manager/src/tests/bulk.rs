//! The same change of many VMs at once.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{
    self, BulkOperation, BulkVms, FaultCode, ListTasks, Reply, Request, Task, TaskState, VmPhase,
    VmRef,
};

use super::Pool;
use super::asks::{destroy, refused};
use crate::ManagerConfig;

const SECOND: Duration = Duration::from_secs(1);

fn bulk(operation: BulkOperation, vms: &[&str]) -> BulkVms {
    let vms = vms.iter().map(|vm| VmRef { vm: (*vm).to_owned() }).collect();
    BulkVms { operation, wait_ms_max: None, directory: None, vms }
}

fn cancel(task: &Task) -> Request {
    Request::CancelTask(v1::CancelTask { task: task.task.clone() })
}

const NAMES: [&str; 6] = ["v0", "v1", "v2", "v3", "v4", "v5"];

/// Six VMs that run, two at a time in a bulk operation.
async fn pool() -> Pool {
    let config = ManagerConfig { bulk_open_max: 2, ..ManagerConfig::default() };
    let pool = Pool::with(config, &["a", "b"]).await;
    for name in NAMES {
        pool.create(name).await;
    }
    pool
}

async fn children(pool: &Pool, parent: &Task) -> Vec<Task> {
    let wanted = ListTasks { parent: Some(parent.task.clone()), ..ListTasks::default() };
    match pool.ok(Request::ListTasks(wanted)).await {
        Reply::Tasks(tasks) => tasks.tasks,
        other => panic!("{other:?}"),
    }
}

async fn phases(pool: &Pool) -> Vec<VmPhase> {
    let mut phases = Vec::new();
    for name in NAMES {
        phases.push(pool.vm(name).await.expect("there").phase);
    }
    phases
}

#[tokio::test(start_paused = true)]
async fn each_vm_has_a_task_of_its_own_and_the_answer_is_their_parent() {
    let pool = pool().await;
    let parent = pool.done(Request::BulkVms(bulk(BulkOperation::Pause, &NAMES))).await;
    assert_eq!((parent.verb.as_str(), parent.target_name.as_deref()), ("BulkVms", Some("6 VMs")));
    assert_eq!((parent.progress_done, parent.progress_all), (Some(6), Some(6)));
    let named: Vec<_> = parent.children.iter().map(|child| child.vm_name.as_str()).collect();
    assert_eq!(named, NAMES);
    assert!(parent.children.iter().all(|child| child.state == TaskState::Done));
    let children = children(&pool, &parent).await;
    assert!(
        children.iter().all(|child| child.verb == "PauseVm" && child.initiator == parent.initiator)
    );
    assert_eq!((children.len(), phases(&pool).await), (6, vec![VmPhase::Paused; 6]));
}

#[tokio::test(start_paused = true)]
async fn a_few_are_changed_at_a_time() {
    let pool = pool().await;
    for host in ["a", "b"] {
        pool.agents.with(host, |host| host.change_time = SECOND);
    }
    let parent = pool.begin(Request::BulkVms(bulk(BulkOperation::Pause, &NAMES))).await;
    for round in 0..3 {
        sleep(SECOND / 2).await;
        let open: Vec<_> = children(&pool, &parent).await;
        let open = open.iter().filter(|child| !child.state.is_over()).count();
        assert_eq!(open, 2, "round {round}");
        sleep(SECOND * 6 / 10).await;
    }
    assert_eq!(pool.wait(&parent.task).await.state, TaskState::Done);
}

#[tokio::test(start_paused = true)]
async fn who_fails_is_named_with_the_reason_and_the_others_are_done() {
    let pool = pool().await;
    pool.done(destroy("v2")).await;
    pool.ok(Request::DeleteVm(v1::DeleteVm { vm: "v2".into() })).await;
    pool.create("v2").await;
    pool.done(destroy("v4")).await;
    let task = pool.begin(Request::BulkVms(bulk(BulkOperation::Pause, &NAMES))).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Failed);
    let fault = task.fault.clone().expect("a fault");
    assert!(fault.message.starts_with("1 of 6 VMs failed: v4: "), "{fault}");
    let failed: Vec<_> =
        task.children.iter().filter(|child| child.state == TaskState::Failed).collect();
    assert_eq!((failed.len(), failed[0].vm_name.as_str()), (1, "v4"));
    assert_eq!(failed[0].code, Some(fault.code));
    assert!(failed[0].message.as_ref().is_some_and(|message| fault.message.contains(message)));

    pool.done(Request::StartVm(v1::StartVm { vm: "v4".into() })).await;
    let again = Request::RetryTask(v1::RetryTask { task: task.task.clone() });
    let again = pool.done(again).await;
    assert_eq!(again.retry_of, Some(task.task));
    let named: Vec<_> = again.children.iter().map(|child| child.vm_name.as_str()).collect();
    assert_eq!(named, ["v4"], "the others were done");
    assert_eq!(phases(&pool).await, [VmPhase::Paused; 6]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_stops_what_has_not_begun() {
    let pool = pool().await;
    for host in ["a", "b"] {
        pool.agents.with(host, |host| host.change_time = SECOND);
    }
    let task = pool.begin(Request::BulkVms(bulk(BulkOperation::Pause, &NAMES))).await;
    sleep(SECOND * 3 / 2).await;
    pool.begin(cancel(&task)).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Cancelled);
    let states: Vec<_> = task.children.iter().map(|child| child.state).collect();
    use TaskState::{Cancelled, Done};
    assert_eq!(states, [Done, Done, Done, Done, Cancelled, Cancelled]);
    let fault = task.fault.expect("a fault");
    assert_eq!(fault.message, "cancelled; 4 of 6 VMs were done by then");
    pool.settle().await;
    let paused = phases(&pool).await.into_iter().filter(|phase| *phase == VmPhase::Paused);
    assert_eq!(paused.count(), 4, "what was under way was done");
}

#[tokio::test(start_paused = true)]
async fn a_bulk_operation_goes_on_when_its_manager_is_killed_at_any_time() {
    for after_ms in [0, 1, 2, 500, 1010, 1500, 2500] {
        let mut pool = pool().await;
        for host in ["a", "b"] {
            pool.agents.with(host, |host| (host.change_time, host.done) = (SECOND, Vec::new()));
        }
        let task = pool.begin(Request::BulkVms(bulk(BulkOperation::Pause, &NAMES))).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.crash().await;
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Done, "after {after_ms} ms: {task:?}");
        assert_eq!(children(&pool, &task).await.len(), 6);
        let told: usize =
            ["a", "b"].iter().map(|host| pool.agents.with(host, |host| host.done.len())).sum();
        assert_eq!(told, 6, "after {after_ms} ms: each once");
    }
}

#[tokio::test(start_paused = true)]
async fn each_operation_does_what_its_verb_does() {
    use BulkOperation as Op;
    let pool = pool().await;
    let steps = [
        (Op::Pause, VmPhase::Paused),
        (Op::Unpause, VmPhase::Running),
        (Op::Suspend, VmPhase::Suspended),
        (Op::Resume, VmPhase::Running),
        (Op::Reboot, VmPhase::Running),
        (Op::Save, VmPhase::Saved),
        (Op::Restore, VmPhase::Running),
        (Op::Shutdown, VmPhase::PoweredOff),
        (Op::Start, VmPhase::Running),
        (Op::Destroy, VmPhase::Destroyed),
    ];
    for (operation, expect) in steps {
        let directory = (operation == Op::Save).then(|| "/srv/saved/".to_owned());
        let request = BulkVms { directory, ..bulk(operation, &NAMES) };
        pool.done(Request::BulkVms(request)).await;
        assert_eq!(phases(&pool).await, [expect; 6], "{operation:?}");
        if operation == Op::Save {
            let path = pool.vm("v3").await.expect("there").saved_path;
            assert_eq!(path.as_deref(), Some("/srv/saved/v3.save"));
        }
    }
    pool.done(Request::BulkVms(bulk(Op::Delete, &NAMES))).await;
    assert!(pool.vm("v0").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let pool = pool().await;
    let many: Vec<String> = (0..1001).map(|n| format!("v{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let somewhere = |operation, directory: &str| BulkVms {
        directory: Some(directory.to_owned()),
        ..bulk(operation, &["v0"])
    };
    use BulkOperation::{Pause, Save};
    for (request, code, says) in [
        (bulk(Pause, &[]), FaultCode::BadRequest, "name 1 to 1000"),
        (bulk(Pause, &many), FaultCode::BadRequest, "1001 VMs are refused"),
        (bulk(Pause, &["v0", "v1", "v0"]), FaultCode::BadRequest, "v0 is named twice"),
        (bulk(Pause, &["v0", "none"]), FaultCode::UnknownVm, "\"none\""),
        (bulk(Save, &["v0"]), FaultCode::BadRequest, "`directory`"),
        (somewhere(Save, "saved"), FaultCode::BadRequest, "absolute"),
        (somewhere(Pause, "/saved"), FaultCode::BadRequest, "only Save"),
    ] {
        refused(&pool, Request::BulkVms(request), code, says).await;
    }
    assert_eq!(phases(&pool).await, [VmPhase::Running; 6]);
}
