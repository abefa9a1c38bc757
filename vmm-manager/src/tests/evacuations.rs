//! A host is emptied: whoever can move moves, a few at a time, whatever happens meanwhile; who stays is named; cancelled, killed and silenced at any point, every
//! guest runs once and the books say where.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{
    self, DecisionKind, EvacuateHost, FaultCode, ListDecisions, MigrationStage, Plan, Reply,
    Request, TargetKind, Task, TaskState, VmPhase,
};

use super::Pool;
use super::plans::disk;
use super::pool::spec;
use crate::workflow::Moment;

const SECOND: Duration = Duration::from_secs(1);
const HOSTS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 5] = ["v0", "v1", "v2", "v3", "v4"];
const STEPS: [&str; 6] = ["reserve", "prepare", "move", "commit", "start", "release"];

fn evacuation(change: impl FnOnce(&mut EvacuateHost)) -> Request {
    let mut asked = EvacuateHost { host: "a".into(), ..EvacuateHost::default() };
    change(&mut asked);
    Request::EvacuateHost(asked)
}

fn evacuate() -> Request {
    evacuation(|_| {})
}

fn maintenance(host: &str, maintenance: bool) -> Request {
    Request::SetMaintenance(v1::SetMaintenance { host: host.into(), maintenance })
}

fn cancel(task: &Task) -> Request {
    Request::CancelTask(v1::CancelTask { task: task.task.clone() })
}

/// Five VMs on the first host, the last with these disks, and two hosts on which there is nothing.
async fn crowded_with(disks: Vec<v1::Disk>) -> Pool {
    let pool = Pool::of(&HOSTS).await;
    pool.ok(maintenance("b", true)).await;
    pool.ok(maintenance("c", true)).await;
    for name in NAMES {
        let disks = if name == "v4" { disks.clone() } else { Vec::new() };
        let spec = v1::Spec { disks, ..spec(name) };
        pool.done(Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() })).await;
    }
    pool.ok(maintenance("b", false)).await;
    pool.ok(maintenance("c", false)).await;
    pool.settle().await;
    pool
}

async fn crowded() -> Pool {
    crowded_with(Vec::new()).await
}

fn slow(pool: &Pool) {
    for host in HOSTS {
        pool.agents.with(host, |host| (host.copy_time, host.change_time) = (4 * SECOND, SECOND));
    }
}

async fn ended(pool: &Pool, request: Request) -> Task {
    let task = pool.begin(request).await;
    pool.wait(&task.task).await
}

async fn is_in_maintenance(pool: &Pool, host: &str) -> bool {
    let Reply::Hosts(hosts) = pool.ok(Request::ListHosts(v1::ListHosts::default())).await else {
        panic!("hosts were expected")
    };
    hosts.hosts.iter().find(|known| known.name == host).expect("there").maintenance
}

/// Each guest runs on one host, and that is what is stored; nothing is left of any move. Who is on the first host.
async fn check_end(pool: &Pool, what: &str) -> Vec<String> {
    for _ in 0..3 {
        pool.settle().await;
    }
    assert_eq!(pool.agents.broken(), Vec::<String>::new(), "{what}");
    let mut there = Vec::new();
    for name in NAMES {
        let shown = pool.vm(name).await.unwrap_or_else(|| panic!("{what}: {name} is there"));
        let on = pool.agents.running_on(&shown.vm);
        let [on] = on.as_slice() else { panic!("{what}: {name} runs on {on:?}") };
        assert!(pool.agents.is_settled(&shown.vm), "{what}: {name}");
        assert_eq!((shown.host.as_ref(), shown.phase), (Some(on), VmPhase::Running), "{what}");
        if on == "a" {
            there.push(name.to_owned());
        }
    }
    assert_eq!(pool.reserved_mib("a") == 0, there.is_empty(), "{what}");
    there
}

fn states(task: &Task) -> Vec<TaskState> {
    task.children.iter().map(|child| child.state).collect()
}

#[tokio::test(start_paused = true)]
async fn a_host_is_emptied_a_few_moves_at_a_time() {
    for at_once in [1, 2, 16] {
        let pool = crowded().await;
        slow(&pool);
        let task = pool.begin(evacuation(|asked| asked.at_once = Some(at_once))).await;
        assert!(is_in_maintenance(&pool, "a").await);
        let mut most = 0;
        for _ in 0..60 {
            use MigrationStage::{Offered, Sending};
            let sends = pool.agents.with_quietly("a", |host| {
                host.halves.values().filter(|half| matches!(half.stage, Sending | Offered)).count()
            });
            most = most.max(sends);
            sleep(SECOND).await;
        }
        // A host has so many transfers at a time at most, whoever asks.
        assert_eq!(most, usize::try_from(at_once).expect("few").min(2));
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Done, "{task:?}");
        assert_eq!(check_end(&pool, "emptied").await, Vec::<String>::new());
        assert!(is_in_maintenance(&pool, "a").await);
        assert_eq!(
            (task.target_kind, task.target_name.as_deref()),
            (Some(TargetKind::Host), Some("a"))
        );
        assert_eq!((task.progress_done, task.progress_all), (Some(5), Some(5)));
        assert_eq!(states(&task), [TaskState::Done; 5]);
        for child in &task.children {
            let host = pool.vm(&child.vm).await.and_then(|vm| vm.host);
            assert_eq!(child.host, host, "{child:?}");
        }
        let list = Request::ListDecisions(ListDecisions::default());
        let Reply::Decisions(made) = pool.ok(list).await else { panic!("decisions") };
        let made: Vec<_> =
            made.decisions.iter().filter(|d| d.question == DecisionKind::Evacuate).collect();
        assert_eq!(made.iter().map(|d| d.task.as_ref()).collect::<Vec<_>>(), [Some(&task.task)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_who_would_go_where_and_does_nothing() {
    let pool = crowded_with(vec![disk("xvda")]).await;
    let ask = evacuation(|asked| asked.dry_run = true);
    let Reply::Plan(Plan { moves, kept, .. }) = pool.ok(ask).await else { panic!("a plan") };
    assert_eq!((moves.len(), kept.len()), (4, 1));
    assert!(moves.iter().all(|step| step.reason == "leaves host a, which is evacuated"));
    assert!(!is_in_maintenance(&pool, "a").await);
    assert_eq!(check_end(&pool, "only asked").await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_empty_host_is_closed_and_that_is_all() {
    let pool = crowded().await;
    let task = ended(&pool, evacuation(|asked| asked.host = "b".into())).await;
    assert_eq!((task.state, task.children.len()), (TaskState::Done, 0));
    assert!(is_in_maintenance(&pool, "b").await);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_move_is_named_and_the_others_leave() {
    let pool = crowded_with(vec![disk("xvda")]).await;
    pool.done(Request::PauseVm(v1::PauseVm { vm: "v3".into() })).await;
    let task = ended(&pool, evacuate()).await;
    let fault = task.fault.clone().expect("somebody stays");
    assert_eq!(task.state, TaskState::Failed);
    for says in ["host a is not empty", "v4: ", "lies below no directory", "v3: ", "paused"] {
        assert!(fault.message.contains(says), "{fault} says {says}");
    }
    assert!(is_in_maintenance(&pool, "a").await);
    let mut states = states(&task);
    states.sort();
    assert_eq!(states[..4], [TaskState::Done, TaskState::Done, TaskState::Done, TaskState::Failed]);
    // The same again, when that has changed.
    pool.done(Request::UnpauseVm(v1::UnpauseVm { vm: "v3".into() })).await;
    let again = Request::RetryTask(v1::RetryTask { task: task.task });
    let task = ended(&pool, again).await;
    assert_eq!((task.state, task.children.len()), (TaskState::Failed, 2));
    assert_eq!(check_end(&pool, "again").await, ["v4"]);
}

#[tokio::test(start_paused = true)]
async fn a_move_that_fails_holds_nobody_up() {
    let pool = crowded().await;
    pool.agents.with("b", |host| host.refuses.insert("ReceiveVm"));
    let task = ended(&pool, evacuate()).await;
    assert_eq!(task.state, TaskState::Failed, "{task:?}");
    let failed = states(&task).iter().filter(|state| **state == TaskState::Failed).count();
    assert!((1..5).contains(&failed), "{task:?}");
    assert_eq!(check_end(&pool, "one refuses").await.len(), failed);
    pool.agents.with("b", |host| host.refuses.clear());
    pool.done(evacuate()).await;
    assert_eq!(check_end(&pool, "again").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_go_where_it_was_meant_goes_where_it_can() {
    let pool = crowded().await;
    slow(&pool);
    let task = pool.begin(evacuation(|asked| asked.at_once = Some(1))).await;
    sleep(SECOND).await;
    pool.ok(maintenance("b", true)).await;
    // One leaves by himself, one is destroyed, one is created elsewhere and has nothing to do with it.
    pool.done(Request::DestroyVm(v1::DestroyVm { vm: "v4".into() })).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Done, "{task:?}");
    let facts = pool.manager.facts();
    assert_eq!(facts["a"].vms.len(), 0);
    assert!(facts["b"].vms.len() <= 1 && facts["c"].vms.len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_and_only_with_limits_that_can_be() {
    let pool = crowded().await;
    slow(&pool);
    for change in [
        (|asked: &mut EvacuateHost| asked.at_once = Some(0)) as fn(&mut EvacuateHost),
        |asked| asked.at_once = Some(17),
        |asked| asked.deadline_s = Some(0),
    ] {
        let fault = pool.call(None, evacuation(change)).await.expect_err("refused");
        assert_eq!(fault.code, FaultCode::BadRequest);
    }
    let nowhere = evacuation(|asked| asked.host = "x".into());
    assert_eq!(pool.call(None, nowhere).await.expect_err("x").code, FaultCode::UnknownHost);
    let ask = evacuate();
    let first = pool.call(Some("key"), ask.clone()).await.expect("begun");
    let Reply::Task(first) = first else { panic!("a task") };
    let Reply::Task(same) = pool.call(Some("key"), ask).await.expect("the same") else {
        panic!("a task")
    };
    assert_eq!(first.task, same.task);
    let fault = pool.call(None, evacuate()).await.expect_err("it is under way");
    assert_eq!(fault.code, FaultCode::Busy);
    assert_eq!(pool.wait(&first.task).await.state, TaskState::Done);
}

#[tokio::test(start_paused = true)]
async fn cancelled_at_any_point_it_ends_and_the_host_is_as_it_was() {
    let points = [0, 500, 1500, 3000, 5500, 6500, 7500, 9000, 12_000, 16_000];
    for (after_ms, before) in points.into_iter().flat_map(|at| [(at, false), (at, true)]) {
        let what = format!("cancelled after {after_ms} ms, in maintenance before: {before}");
        let pool = crowded().await;
        slow(&pool);
        if before {
            pool.ok(maintenance("a", true)).await;
        }
        let task = pool.begin(evacuate()).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.ok(cancel(&task)).await;
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Cancelled, "{what}: {task:?}");
        let there = check_end(&pool, &what).await;
        let done = states(&task).iter().filter(|state| **state == TaskState::Done).count();
        assert_eq!(there.len(), 5 - done, "{what}: {task:?}");
        assert!(done < 5, "{what}");
        assert_eq!(is_in_maintenance(&pool, "a").await, before, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_maintenance_meanwhile_stays_when_it_is_cancelled() {
    for (first, then) in [(false, true), (true, false)] {
        let pool = crowded().await;
        slow(&pool);
        pool.ok(maintenance("a", first)).await;
        let task = pool.begin(evacuate()).await;
        sleep(SECOND).await;
        pool.ok(maintenance("a", then)).await;
        pool.ok(cancel(&task)).await;
        pool.wait(&task.task).await;
        assert_eq!(is_in_maintenance(&pool, "a").await, then);
    }
}

/// Kills the manager on both sides of each step of the first move, and once more after it was asked to stop there.
#[tokio::test(start_paused = true)]
async fn it_goes_on_from_each_step_where_its_manager_was_killed() {
    let points = STEPS.iter().flat_map(|step| Moment::ALL.map(|moment| (*step, moment)));
    let mut reached = 0;
    for ((step, moment), cancels) in points.flat_map(|point| [(point, false), (point, true)]) {
        let what = format!("killed {moment:?} {step}, cancelled: {cancels}");
        let mut pool = crowded().await;
        let app = pool.manager.app();
        app.halts.set(step, moment);
        let undoes = matches!(moment, Moment::BeforeUndo | Moment::AfterUndo);
        *app.failing_step.lock().expect("no panic") = undoes.then_some("start");
        let task = pool.begin(evacuation(|asked| asked.at_once = Some(1))).await;
        tokio::select! {
            () = app.halts.reached() => {}
            _ = pool.wait(&task.task) => continue,
        }
        reached += 1;
        if cancels {
            pool.ok(cancel(&task)).await;
        }
        drop(app);
        pool.manager.app().store.crash().await;
        pool.end().await;
        pool.restart_ended().await;
        let task = pool.wait(&task.task).await;
        let there = check_end(&pool, &what).await;
        let stays = 5 - states(&task).iter().filter(|state| **state == TaskState::Done).count();
        assert_eq!(there.len(), stays, "{what}: {task:?}");
        match (cancels, undoes) {
            (true, _) => assert_eq!(task.state, TaskState::Cancelled, "{what}: {task:?}"),
            // The move that was being taken back has failed, the others have not.
            (false, true) => {
                assert_eq!((task.state, stays), (TaskState::Failed, 1), "{what}: {task:#?}");
            }
            (false, false) => {
                assert_eq!((task.state, stays), (TaskState::Done, 0), "{what}: {task:#?}");
            }
        }
        assert_eq!(is_in_maintenance(&pool, "a").await, !cancels, "{what}");
    }
    assert_eq!(reached, (5 + 4) * 2 * 2);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_fall_silent_meanwhile_end_with_every_guest_running_once() {
    for (host, after_ms, for_s) in [
        ("a", 2500, 20),
        ("a", 2500, 200),
        ("b", 2500, 20),
        ("b", 2500, 200),
        ("c", 7000, 100),
        ("a", 7000, 100),
    ] {
        let what = format!("{host} falls silent after {after_ms} ms for {for_s} s");
        let pool = crowded().await;
        slow(&pool);
        let task = pool.begin(evacuate()).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.agents.with(host, |host| host.silent = true);
        sleep(Duration::from_secs(for_s)).await;
        assert_eq!(pool.agents.broken(), Vec::<String>::new(), "{what}");
        pool.agents.with(host, |host| host.silent = false);
        let task = pool.wait(&task.task).await;
        let there = check_end(&pool, &what).await;
        assert_eq!(there.is_empty(), task.state == TaskState::Done, "{what}: {task:?}");
        if !there.is_empty() {
            pool.done(evacuate()).await;
            assert_eq!(check_end(&pool, &what).await, Vec::<String>::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_vm_was_moved_to_is_kept_as_a_decision() {
    let pool = crowded().await;
    let asked = v1::MigrateVm { vm: "v0".into(), ..v1::MigrateVm::default() };
    let task = pool.done(Request::MigrateVm(asked)).await;
    let to = pool.vm("v0").await.and_then(|vm| vm.host).expect("it runs");
    assert_eq!(task.placement.and_then(|placement| placement.chosen), Some(to.clone()));
    let of = Some("v0".to_owned());
    let list = Request::ListDecisions(ListDecisions { vm: of, ..ListDecisions::default() });
    let Reply::Decisions(made) = pool.ok(list).await else { panic!("decisions") };
    let latest = &made.decisions[0];
    assert_eq!(
        (latest.question, latest.task.as_ref()),
        (DecisionKind::Migration, Some(&task.task))
    );
    assert_eq!(latest.answer, format!("from a to {to}"));
    let show = Request::ShowDecision(v1::ShowDecision { decision: latest.decision });
    let Reply::Decision(shown) = pool.ok(show).await else { panic!("a decision") };
    let ways = shown.growth.expect("the ways there were").ways;
    assert_eq!((ways.len(), ways[0].host.as_str(), ways[0].in_place), (2, to.as_str(), false));
}
