//! Many VMs at once: placed together, all or none, and built by tasks of their own.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;
use vmm_core::units::Kib;
use vmm_proto::v1::{
    self, CreateVms, FaultCode, GroupKind, ListTasks, NewVm, Reply, Request, Task, TaskState,
    VmPhase,
};

use super::Pool;
use super::asks::{maintenance, refused};
use super::groups::group_of;
use super::pins::pins;
use super::plans::{disk, nic};
use super::pool::{create, spec};
use crate::ManagerConfig;

const SECOND: Duration = Duration::from_secs(1);

fn new_vm(name: &str) -> NewVm {
    NewVm { spec: spec(name), ..NewVm::default() }
}

fn apart(name: &str) -> NewVm {
    let groups = vec![v1::GroupRef { group: "ha".into() }];
    NewVm { groups, ..new_vm(name) }
}

fn many(vms: Vec<NewVm>) -> CreateVms {
    CreateVms { vms, ..CreateVms::default() }
}

fn six() -> CreateVms {
    many((0..6).map(|n| new_vm(&format!("v{n}"))).collect())
}

async fn places(pool: &Pool, create: CreateVms) -> v1::Placements {
    match pool.ok(Request::CreateVms(CreateVms { dry_run: true, ..create })).await {
        Reply::Placements(placements) => placements,
        other => panic!("{other:?}"),
    }
}

async fn children(pool: &Pool, parent: &Task) -> Vec<Task> {
    let wanted = ListTasks { parent: Some(parent.task.clone()), ..ListTasks::default() };
    match pool.ok(Request::ListTasks(wanted)).await {
        Reply::Tasks(tasks) => tasks.tasks,
        other => panic!("{other:?}"),
    }
}

async fn host_of(pool: &Pool, name: &str) -> Option<String> {
    pool.vm(name).await.and_then(|vm| vm.host)
}

fn builds(pool: &Pool, hosts: &[&str]) -> usize {
    let on = |host: &&str| {
        pool.agents.with(host, |host| host.done.iter().filter(|done| **done == "BuildVm").count())
    };
    hosts.iter().map(on).sum()
}

#[tokio::test(start_paused = true)]
async fn each_vm_has_a_task_of_its_own_and_goes_where_the_dry_run_said() {
    let pool = Pool::of(&["a", "b", "c"]).await;
    let planned = places(&pool, six()).await;
    assert_eq!((planned.placed.len(), planned.unplaced.len()), (6, 0));
    assert!(pool.vm("v0").await.is_none(), "nothing was done");
    let parent = pool.done(Request::CreateVms(six())).await;
    assert_eq!((parent.verb.as_str(), parent.target_name.as_deref()), ("CreateVms", Some("6 VMs")));
    assert_eq!((parent.progress_done, parent.progress_all), (Some(6), Some(6)));
    for (place, child) in planned.placed.iter().zip(&parent.children) {
        assert_eq!((&place.name, child.state), (&child.vm_name, TaskState::Done));
        assert!(place.parts.iter().map(|part| part.cost).sum::<f64>() - place.cost < 1e-9);
        assert_eq!(host_of(&pool, &place.name).await.as_ref(), Some(&place.host));
    }
    let children = children(&pool, &parent).await;
    assert_eq!(children.len(), 6);
    for child in &children {
        assert_eq!((child.verb.as_str(), &child.initiator), ("CreateVm", &parent.initiator));
        let placement = child.placement.as_ref().expect("where it was put");
        assert_eq!(placement.chosen, child.host);
    }
    assert_eq!(builds(&pool, &["a", "b", "c"]), 6);
    pool.settle().await;
    let list = Request::ListDecisions(v1::ListDecisions::default());
    let Reply::Decisions(kept) = pool.ok(list).await else { panic!("decisions") };
    let made = kept.decisions.iter().find(|made| made.task.as_ref() == Some(&parent.task));
    let decision = made.expect("the decision is kept").decision;
    let show = Request::ShowDecision(v1::ShowDecision { decision });
    let Reply::Decision(made) = pool.ok(show).await else { panic!("a decision") };
    assert_eq!((made.question, made.answer.as_str()), (v1::DecisionKind::Batch, "6 of 6 VMs"));
    let again = made.placements.expect("made again");
    let host = |place: &v1::PlacedVm| (place.name.clone(), place.host.clone());
    assert_eq!(
        again.placed.iter().map(host).collect::<Vec<_>>(),
        planned.placed.iter().map(host).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn unless_each_has_a_place_nothing_is_done_and_each_refusal_names_its_rule() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.ok(group_of("ha", GroupKind::Apart, &[])).await;
    let three = || many(["v1", "v2", "v3"].map(apart).to_vec());
    let says = "1 of 3 VMs have no place beside the others, so none was created";
    refused(&pool, Request::CreateVms(three()), FaultCode::NoCapacity, says).await;
    let rule = "a (group ha forbids it), b (group ha forbids it)";
    refused(&pool, Request::CreateVms(three()), FaultCode::NoCapacity, rule).await;
    for name in ["v1", "v2", "v3"] {
        assert!(pool.vm(name).await.is_none());
    }
    assert_eq!(pool.reserved_mib("a") + pool.reserved_mib("b"), 0);
    let planned = places(&pool, three()).await;
    assert_eq!((planned.placed.len(), planned.unplaced.len()), (2, 1));
    let by: Vec<_> = planned.unplaced[0].refused.iter().map(|host| host.by.as_str()).collect();
    assert_eq!(by, ["group", "group"]);
}

#[tokio::test(start_paused = true)]
async fn with_partial_those_without_a_place_are_left_out_and_can_be_tried_again() {
    let mut pool = Pool::of(&["a", "b", "c"]).await;
    pool.ok(group_of("ha", GroupKind::Apart, &[])).await;
    pool.ok(maintenance("c", true)).await;
    let create = CreateVms { partial: true, ..many(["v1", "v2", "v3"].map(apart).to_vec()) };
    let task = pool.begin(Request::CreateVms(create)).await;
    let task = pool.wait(&task.task).await;
    let fault = task.fault.clone().expect("a fault");
    assert_eq!((task.state, fault.code), (TaskState::Failed, FaultCode::NoCapacity));
    let failed: Vec<_> = task.children.iter().filter(|c| c.state == TaskState::Failed).collect();
    let [failed] = failed.as_slice() else { panic!("one: {task:?}") };
    let why = failed.message.clone().expect("a reason");
    assert!(why.contains("c (is in maintenance)") && fault.message.contains(&why), "{fault}");
    let left_out = failed.vm_name.clone();
    assert!(pool.vm(&left_out).await.is_none());
    let running = BTreeSet::from([
        host_of(&pool, "v1").await,
        host_of(&pool, "v2").await,
        host_of(&pool, "v3").await,
    ]);
    assert_eq!(running.iter().flatten().count(), 2);
    pool.restart().await;
    pool.settle().await;
    pool.ok(maintenance("c", false)).await;
    let again = v1::RetryTask { task: task.task.clone() };
    let again = pool.done(Request::RetryTask(again)).await;
    assert_eq!(again.retry_of.as_ref(), Some(&task.task));
    assert_eq!(again.children.len(), 1, "the others were done");
    assert_eq!(host_of(&pool, &left_out).await.as_deref(), Some("c"));
}

#[tokio::test(start_paused = true)]
async fn who_has_few_places_goes_before_who_has_many() {
    let pool = Pool::of(&["a", "b"]).await;
    let large = |name: &str| {
        let memory_kib = Kib::from_mib(3000).0;
        NewVm {
            spec: v1::Spec { memory_kib, memory_max_kib: memory_kib, ..spec(name) },
            ..NewVm::default()
        }
    };
    let bound = |name: &str, host: &str| NewVm { pins: pins(&[host]), ..large(name) };
    for (first, free) in [("a", "b"), ("b", "a")] {
        let planned = places(&pool, many(vec![large("free"), bound("bound", first)])).await;
        let hosts: Vec<_> = planned.placed.iter().map(|place| place.host.as_str()).collect();
        assert_eq!(hosts, [free, first]);
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_would_write_to_one_path_are_on_different_hosts() {
    let pool = Pool::of(&["a", "b"]).await;
    let writes = |name: &str| NewVm {
        spec: v1::Spec { disks: vec![disk("xvda")], ..spec(name) },
        ..NewVm::default()
    };
    let parent = pool.done(Request::CreateVms(many(vec![writes("v1"), writes("v2")]))).await;
    assert_eq!(parent.children.len(), 2);
    assert_ne!(host_of(&pool, "v1").await, host_of(&pool, "v2").await);
    let third = many(vec![writes("v3")]);
    refused(&pool, Request::CreateVms(third), FaultCode::NoCapacity, "uses a disk of this one")
        .await;
    let more = many(vec![
        NewVm {
            spec: v1::Spec {
                disks: vec![v1::Disk { path: "/other".into(), ..disk("xvda") }],
                ..spec("w0")
            },
            ..NewVm::default()
        };
        3
    ]);
    let named = |(n, vm): (usize, NewVm)| NewVm {
        spec: v1::Spec { name: format!("w{n}"), ..vm.spec },
        ..NewVm::default()
    };
    let more = many(more.vms.into_iter().enumerate().map(named).collect());
    let says = "group of those that write to /other forbids it";
    refused(&pool, Request::CreateVms(more), FaultCode::NoCapacity, says).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_before_anything_is_done() {
    let config = ManagerConfig { queued_tasks_max: 5, ..ManagerConfig::default() };
    let pool = Pool::with(config, &["a"]).await;
    pool.done(create("web")).await;
    let with_nic = |name: &str| NewVm {
        spec: v1::Spec { nics: vec![nic(0)], ..spec(name) },
        ..NewVm::default()
    };
    let in_group = |name: &str| apart(name);
    let in_pool = |name: &str| NewVm { pool: Some("slow".into()), ..new_vm(name) };
    let bad = |name: &str| {
        let mut vm = new_vm(name);
        vm.spec.vcpus = 0;
        vm
    };
    let first = || new_vm("v0");
    for (vms, code, says) in [
        (vec![], FaultCode::BadRequest, "name 1 to 1000"),
        (vec![first(); 1001], FaultCode::BadRequest, "1001 VMs"),
        (vec![first(), first()], FaultCode::BadRequest, "VM v0 is named twice"),
        (vec![first(), new_vm("web")], FaultCode::Conflict, "VM web: there is a VM named web"),
        (vec![with_nic("v0"), with_nic("v1")], FaultCode::Conflict, "VMs v0 and v1"),
        (vec![first(), in_group("v1")], FaultCode::UnknownGroup, "VM v1: no group"),
        (vec![first(), in_pool("v1")], FaultCode::UnknownPool, "VM v1: no pool"),
        (vec![first(), bad("v1")], FaultCode::BadRequest, "VM v1: "),
    ] {
        refused(&pool, Request::CreateVms(many(vms)), code, says).await;
    }
    refused(&pool, Request::CreateVms(six()), FaultCode::Busy, "6 more are too many").await;
    assert!(pool.vm("v0").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_same_key_creates_them_once_also_after_a_restart() {
    let mut pool = Pool::of(&["a", "b"]).await;
    let ask = async |pool: &Pool| match pool.call(Some("k"), Request::CreateVms(six())).await {
        Ok(Reply::Task(task)) => task.task,
        other => panic!("{other:?}"),
    };
    let first = ask(&pool).await;
    assert_eq!(ask(&pool).await, first);
    pool.wait(&first).await;
    pool.restart().await;
    assert_eq!(ask(&pool).await, first);
    assert_eq!(builds(&pool, &["a", "b"]), 6);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_killed_at_any_time_loses_none_and_what_was_taken_back_is_tried_again() {
    for after_ms in [0, 1, 500, 1500, 4000, 9000] {
        let mut pool = Pool::of(&["a", "b"]).await;
        for host in ["a", "b"] {
            pool.agents.with(host, |host| host.build_time = SECOND);
        }
        let twenty = || many((0..20).map(|n| new_vm(&format!("v{n}"))).collect());
        let task = pool.begin(Request::CreateVms(twenty())).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.crash().await;
        let task = pool.wait(&task.task).await;
        assert_eq!(children(&pool, &task).await.len(), 20, "after {after_ms} ms");
        for child in &task.children {
            let is_done = child.state == TaskState::Done;
            assert_eq!(pool.vm(&child.vm_name).await.is_some(), is_done, "{child:?}");
        }
        if task.state != TaskState::Done {
            let again = v1::RetryTask { task: task.task.clone() };
            pool.done(Request::RetryTask(again)).await;
        }
        for n in 0..20 {
            let vm = pool.vm(&format!("v{n}")).await.expect("there");
            assert_eq!(vm.phase, VmPhase::Running, "after {after_ms} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_batch_takes_back_what_waits() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.build_time = SECOND * 5);
    let twelve = many((0..12).map(|n| new_vm(&format!("v{n}"))).collect());
    let task = pool.begin(Request::CreateVms(twelve)).await;
    sleep(SECOND).await;
    pool.ok(Request::CancelTask(v1::CancelTask { task: task.task.clone() })).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Cancelled);
    pool.settle().await;
    let mut there = 0;
    for n in 0..12 {
        there += usize::from(pool.vm(&format!("v{n}")).await.is_some());
    }
    let done = task.children.iter().filter(|child| child.state == TaskState::Done).count();
    assert_eq!(there, done, "{task:?}");
    assert!(done < 12, "some waited");
}
