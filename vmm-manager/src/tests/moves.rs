//! Moves between two hosts: each step fails, is refused, is not heard of, is cancelled, and the manager is killed on both sides of each. Whatever happens, the
//! guest runs on one host at most at every instant, on exactly one in the end, and the books say which (VM1, MIG1, CAP1, TASK1).

use std::time::Duration;

use tokio::time::sleep;
use vmm_core::task::Position;
use vmm_proto::v1::{
    self, Fault, FaultCode, MigrationStage, Reply, Request, Task, TaskState, VmPhase,
};

use super::Pool;
use super::pool::spec;
use crate::workflow::Moment;

const SECOND: Duration = Duration::from_secs(1);
const STEPS: [&str; 6] = ["reserve", "prepare", "move", "commit", "start", "release"];

fn migrate_to(host: Option<&str>) -> Request {
    Request::MigrateVm(v1::MigrateVm {
        vm: "web".into(),
        host: host.map(str::to_owned),
        ..v1::MigrateVm::default()
    })
}

pub(super) fn migrate() -> Request {
    migrate_to(None)
}

fn maintenance(host: &str, maintenance: bool) -> Request {
    Request::SetMaintenance(v1::SetMaintenance { host: host.into(), maintenance })
}

/// Two hosts, and a VM with these disks that runs on the first.
pub(super) async fn pair_with(disks: Vec<v1::Disk>) -> (Pool, String) {
    pair_of(v1::Spec { disks, ..spec("web") }).await
}

pub(super) async fn pair_of(spec: v1::Spec) -> (Pool, String) {
    let pool = Pool::of(&["a", "b"]).await;
    pool.ok(maintenance("b", true)).await;
    let create = Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() });
    let id = pool.done(create).await.vm;
    pool.ok(maintenance("b", false)).await;
    pool.settle().await;
    for host in ["a", "b"] {
        pool.agents.with(host, |host| host.done.clear());
    }
    (pool, id)
}

async fn pair() -> (Pool, String) {
    pair_with(Vec::new()).await
}

/// The guest runs on one host, and that is what is stored; nothing is left of the move anywhere. Which host.
pub(super) async fn check_end(pool: &Pool, id: &str, what: &str) -> String {
    // Long enough for an end that was not heard to be told, and to say so.
    for _ in 0..3 {
        pool.settle().await;
    }
    assert_eq!(pool.agents.broken(), Vec::<String>::new(), "{what}");
    let on = pool.agents.running_on(id);
    let [on] = on.as_slice() else { panic!("{what}: it runs on {on:?}") };
    assert!(pool.agents.is_settled(id), "{what}");
    let shown = pool.vm(id).await.unwrap_or_else(|| panic!("{what}: the VM is there"));
    assert_eq!((shown.host.as_ref(), shown.phase), (Some(on), VmPhase::Running), "{what}");
    assert_eq!(shown.drift, None, "{what}");
    let other = if on == "a" { "b" } else { "a" };
    assert!(pool.reserved_mib(on) > 128, "{what}");
    assert_eq!(pool.reserved_mib(other), 0, "{what}");
    on.clone()
}

async fn ended(pool: &Pool, request: Request) -> Task {
    let task = pool.begin(request).await;
    pool.wait(&task.task).await
}

fn code(task: &Task) -> Option<FaultCode> {
    task.fault.as_ref().map(|fault| fault.code)
}

#[tokio::test(start_paused = true)]
async fn a_vm_moves_to_the_other_host_and_back() {
    let (pool, id) = pair().await;
    let task = pool.done(migrate()).await;
    assert_eq!(task.phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), STEPS);
    let done = |host: &str| pool.agents.with(host, |host| host.done.clone());
    assert_eq!(done("a"), ["SendVm", "SettleMigration"]);
    assert_eq!(done("b"), ["ReceiveVm", "SettleMigration", "AwaitMigration"]);
    let told = "it runs, 210 ms after all was there; NIC 0 used again after 900 ms, heard on its network after 930 ms";
    assert!(task.lines.iter().any(|line| line.text == told), "{:?}", task.lines);
    assert_eq!(check_end(&pool, &id, "there").await, "b");
    pool.done(migrate_to(Some("a"))).await;
    assert_eq!(check_end(&pool, &id, "back").await, "a");
}

#[tokio::test(start_paused = true)]
async fn while_it_moves_both_hosts_are_charged_and_the_task_says_how_far_it_is() {
    let (pool, id) = pair().await;
    let before = pool.reserved_mib("a");
    pool.agents.with("a", |host| host.copy_time = 30 * SECOND);
    let task = pool.begin(migrate()).await;
    sleep(10 * SECOND).await;
    assert_eq!((pool.reserved_mib("a"), pool.reserved_mib("b")), (before, before));
    let shown = pool.vm(&id).await.expect("there");
    assert_eq!((shown.phase, shown.host.as_deref()), (VmPhase::Migrating, Some("a")));
    let wait = v1::WaitTask { task: task.task.clone(), wait_ms_max: 0 };
    let Reply::Task(now) = pool.ok(Request::WaitTask(wait)).await else { panic!("a task") };
    let migration = now.migration.as_ref().expect("how far it is");
    assert_eq!((migration.peer.as_str(), migration.sent_bytes), ("b", 64 << 20));
    assert!(now.lines.iter().any(|line| line.text.contains("FirstPass")), "{:?}", now.lines);
    // Nothing else is done to it, and neither host can be removed.
    let fault = pool.call(None, Request::PauseVm(v1::PauseVm { vm: id.clone() })).await;
    assert_eq!(fault.expect_err("owned").code, FaultCode::Busy);
    for host in ["a", "b"] {
        let remove = Request::RemoveHost(v1::RemoveHost { host: host.into() });
        assert_eq!(pool.call(None, remove).await.expect_err(host).code, FaultCode::BadState);
    }
    let task = pool.wait(&task.task).await;
    assert_eq!((task.state, task.migration), (TaskState::Done, None));
    assert_eq!(check_end(&pool, &id, "moved").await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_move_that_fails_at_any_step_leaves_all_as_it_was() {
    for step in STEPS {
        let (pool, id) = pair().await;
        *pool.manager.app().failing_step.lock().expect("no panic") = Some(step);
        let task = ended(&pool, migrate()).await;
        let on = check_end(&pool, &id, step).await;
        // The first step was done with the task, and after the last there is no way back.
        let goes_on = matches!(step, "reserve" | "release");
        assert_eq!(on, if goes_on { "b" } else { "a" }, "{step}");
        assert_eq!(code(&task), (!goes_on).then_some(FaultCode::HostFailed), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_an_agent_refuses_leaves_all_as_it_was() {
    for (host, verb) in [("b", "ReceiveVm"), ("a", "SendVm")] {
        let (pool, id) = pair().await;
        pool.agents.with(host, |host| host.refuses.insert(verb));
        let task = ended(&pool, migrate()).await;
        assert_eq!(task.state, TaskState::Failed, "{verb}");
        assert_eq!(task.fault.expect("a fault").hop, format!("agent {host}"), "{verb}");
        assert_eq!(check_end(&pool, &id, verb).await, "a");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_now_is_settled_later() {
    for host in ["a", "b"] {
        let (pool, id) = pair().await;
        pool.agents.with(host, |host| host.refuses.insert("SettleMigration"));
        let task = pool.begin(migrate()).await;
        sleep(5 * SECOND).await;
        assert!(pool.agents.broken().is_empty());
        pool.agents.with(host, |host| host.refuses.clear());
        assert_eq!(pool.wait(&task.task).await.state, TaskState::Done, "{host}");
        assert_eq!(check_end(&pool, &id, host).await, "b");
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_lost_are_asked_for_again() {
    for (host, lost) in [("a", 1), ("a", 2), ("a", 5), ("b", 1), ("b", 2), ("b", 5)] {
        let (pool, id) = pair().await;
        pool.agents.with(host, |host| host.lose_replies = lost);
        pool.done(migrate()).await;
        assert_eq!(check_end(&pool, &id, &format!("{lost} lost of {host}")).await, "b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_may_be_cancelled_at_any_point() {
    let points = [0, 1, 500, 999, 1001, 1500, 2500, 2999, 3001, 3500, 4000, 4500, 6000];
    for (after_ms, lost) in points.into_iter().flat_map(|at| [(at, 0), (at, 2)]) {
        let (pool, id) = pair().await;
        for host in ["a", "b"] {
            pool.agents.with(host, |host| {
                (host.change_time, host.copy_time) = (SECOND, 2 * SECOND);
                host.lose_replies = lost;
            });
        }
        let task = pool.begin(migrate()).await;
        sleep(Duration::from_millis(after_ms)).await;
        let cancel = Request::CancelTask(v1::CancelTask { task: task.task.clone() });
        let _ = pool.call(None, cancel).await;
        let task = pool.wait(&task.task).await;
        for host in ["a", "b"] {
            pool.agents.with(host, |host| host.lose_replies = 0);
        }
        let what = format!("cancelled after {after_ms} ms, {lost} lost: {task:?}");
        let on = check_end(&pool, &id, &what).await;
        assert_eq!(on == "b", task.state == TaskState::Done, "{what}");
        assert_ne!(task.state, TaskState::Failed, "{what}");
        assert!(after_ms > 0 || task.state == TaskState::Cancelled, "{what}");
    }
}

/// A move that has come so far that the destination was asked to start, and will do so some seconds later.
async fn asked_to_start(pool: &Pool, id: &str) -> Task {
    pool.agents.with("a", |host| host.copy_time = 2 * SECOND);
    let task = pool.begin(migrate()).await;
    sleep(SECOND).await;
    pool.agents.with("b", |host| host.change_time = 5 * SECOND);
    sleep(2 * SECOND).await;
    assert_eq!(pool.vm(id).await.expect("there").host.as_deref(), Some("b"));
    let stage = pool.agents.with_quietly("b", |host| host.halves[id].stage);
    assert_eq!(stage, MigrationStage::Ready);
    task
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_after_the_commit_comes_too_late() {
    let (pool, id) = pair().await;
    let task = asked_to_start(&pool, &id).await;
    let cancel = Request::CancelTask(v1::CancelTask { task: task.task.clone() });
    pool.call(None, cancel).await.expect("it is under way");
    assert_eq!(pool.wait(&task.task).await.state, TaskState::Done);
    assert_eq!(check_end(&pool, &id, "cancelled late").await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_has_discarded_its_copy_gives_the_vm_back() {
    for how in ["restarted", "aborted by the source"] {
        let (pool, id) = pair().await;
        let task = asked_to_start(&pool, &id).await;
        pool.agents.with("b", |host| match how {
            "restarted" => host.restart_agent(),
            _ => {
                let migration = host.halves[&id].migration.clone();
                let verdict = v1::MigrationVerdict::Abort;
                let abort = v1::SettleMigration { vm: id.clone(), migration, verdict };
                host.settle(&abort).expect("it has not started");
            }
        });
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Failed, "{how}");
        let expect = if how == "restarted" { FaultCode::UnknownVm } else { FaultCode::Conflict };
        assert_eq!(code(&task), Some(expect), "{how}");
        assert_eq!(check_end(&pool, &id, how).await, "a");
    }
}

/// Kills the manager on both sides of each step, forwards and backwards, and once more after it was asked to stop there.
#[tokio::test(start_paused = true)]
async fn a_move_goes_on_from_each_step_where_its_manager_was_killed() {
    let points = STEPS.iter().flat_map(|step| Moment::ALL.map(|moment| (*step, moment)));
    let mut reached = 0;
    for ((step, moment), (cancels, away)) in points.flat_map(|point| {
        let hows = [(false, 0), (true, 0), (false, 35)];
        hows.map(|how| (point, how))
    }) {
        let what = format!("killed {moment:?} {step}, cancelled: {cancels}, away {away} s");
        let (mut pool, id) = pair().await;
        let app = pool.manager.app();
        app.halts.set(step, moment);
        let undoes = matches!(moment, Moment::BeforeUndo | Moment::AfterUndo);
        *app.failing_step.lock().expect("no panic") = undoes.then_some("start");
        let task = pool.begin(migrate()).await;
        tokio::select! {
            () = app.halts.reached() => {}
            // Some steps have nothing to take back, and the first one was done with the task.
            _ = pool.wait(&task.task) => continue,
        }
        reached += 1;
        if cancels {
            let cancel = Request::CancelTask(v1::CancelTask { task: task.task.clone() });
            pool.call(None, cancel).await.expect("it is under way");
        }
        drop(app);
        pool.manager.app().store.crash().await;
        pool.end().await;
        // Long enough for a source to ask its destination itself.
        sleep(away * SECOND).await;
        pool.restart_ended().await;
        let task = pool.wait(&task.task).await;
        let on = check_end(&pool, &id, &what).await;
        assert_eq!(on == "b", task.state == TaskState::Done, "{what}: {task:?}");
        // Once told to start, it stays; taken back, it is back; else whoever is away for long finds the source going on.
        let stays = matches!((step, moment), ("start", Moment::After) | ("release", _));
        match (undoes, cancels, stays) {
            (true, ..) => assert_eq!(on, "a", "{what}"),
            (false, _, true) => assert_eq!(on, "b", "{what}"),
            (false, false, _) if away == 0 => assert_eq!(on, "b", "{what}"),
            _ => {}
        }
    }
    // Five steps forwards and four backwards, on both sides, in three ways.
    assert_eq!(reached, (5 + 4) * 2 * 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_falls_silent_after_the_start_is_told_when_it_is_heard() {
    let (pool, id) = pair().await;
    let task = asked_to_start(&pool, &id).await;
    pool.agents.with("a", |host| host.silent = true);
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Done, "{task:?}");
    pool.settle().await;
    let shown = pool.vm(&id).await.expect("there");
    assert_eq!((shown.host.as_deref(), shown.phase), (Some("b"), VmPhase::Running));
    assert!(pool.reserved_mib("a") > 128, "its copy holds memory there");
    // It runs, and does what it is told; but it does not move on, and is not forgotten.
    let again = pool.call(None, migrate()).await.expect_err("a part of it is elsewhere");
    assert_eq!(again.code, FaultCode::BadState);
    pool.done(Request::PauseVm(v1::PauseVm { vm: id.clone() })).await;
    pool.done(Request::UnpauseVm(v1::UnpauseVm { vm: id.clone() })).await;
    pool.agents.with("a", |host| host.silent = false);
    assert_eq!(check_end(&pool, &id, "heard again").await, "b");
}

/// What the source still has is old by then: it must not go on, although the VM is on no host.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_heard_after_the_guest_has_ended_elsewhere_destroys_its_copy() {
    for starts_again in [false, true] {
        let (pool, id) = pair().await;
        let task = asked_to_start(&pool, &id).await;
        pool.agents.with("a", |host| host.silent = true);
        assert_eq!(pool.wait(&task.task).await.state, TaskState::Done);
        pool.done(Request::DestroyVm(v1::DestroyVm { vm: id.clone() })).await;
        let delete = Request::DeleteVm(v1::DeleteVm { vm: id.clone() });
        assert_eq!(refused(&pool, delete).await.code, FaultCode::BadState);
        if starts_again {
            pool.done(Request::StartVm(v1::StartVm { vm: id.clone() })).await;
        }
        // As one that cannot reach its destination either: only the manager tells it.
        pool.agents.with("b", |host| host.halves.clear());
        pool.agents.with("a", |host| host.silent = false);
        for _ in 0..3 {
            pool.settle().await;
        }
        assert!(pool.agents.broken().is_empty());
        let stage = pool.agents.with_quietly("a", |host| host.halves[&id].stage);
        assert_eq!(stage, MigrationStage::Gone, "starts again: {starts_again}");
        let on = if starts_again { vec!["b".to_owned()] } else { Vec::new() };
        assert_eq!(pool.agents.running_on(&id), on);
        assert_eq!(pool.reserved_mib("a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_falls_silent_before_the_commit_is_told_when_it_is_heard() {
    for (copied_ms, silent_ms) in [(5000, 2000), (2000, 2500)] {
        let what = format!("copied after {copied_ms} ms, silent after {silent_ms} ms");
        let (pool, id) = pair().await;
        pool.agents.with("a", |host| host.copy_time = Duration::from_millis(copied_ms));
        let second_host = |host: &mut super::agent::FakeHost| host.change_time = SECOND / 4;
        pool.agents.with("b", second_host);
        let task = pool.begin(migrate()).await;
        sleep(Duration::from_millis(silent_ms)).await;
        pool.agents.with("b", |host| host.silent = true);
        let cancel = Request::CancelTask(v1::CancelTask { task: task.task.clone() });
        let _ = pool.call(None, cancel).await;
        sleep(60 * SECOND).await;
        assert!(pool.agents.broken().is_empty(), "{what}");
        pool.agents.with("b", |host| host.silent = false);
        let task = pool.wait(&task.task).await;
        let on = check_end(&pool, &id, &what).await;
        assert_eq!(on == "b", task.state == TaskState::Done, "{what}: {task:?}");
    }
}

/// A host that is busy with the copy answers now and then, and hardly ever to the first question.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_hard_to_hear_is_asked_until_it_answers() {
    let (pool, id) = pair().await;
    pool.agents.with("a", |host| host.copy_time = 290 * SECOND);
    let task = pool.begin(migrate()).await;
    for _ in 0..30 {
        sleep(SECOND).await;
        pool.agents.with("a", |host| host.silent = true);
        sleep(9 * SECOND).await;
        pool.agents.with("a", |host| host.silent = false);
    }
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Done, "{task:?}");
    assert_eq!(check_end(&pool, &id, "hard to hear").await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_dies_while_it_sends_or_has_offered_ends_with_one_guest() {
    for after_ms in [500, 1500, 2500, 3500] {
        let what = format!("the source's agent restarts after {after_ms} ms");
        let (pool, id) = pair().await;
        pool.agents.with("a", |host| host.copy_time = 2 * SECOND);
        pool.agents.with("b", |host| host.change_time = SECOND);
        let task = pool.begin(migrate()).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.agents.with("a", super::agent::FakeHost::restart_agent);
        let task = pool.wait(&task.task).await;
        let on = check_end(&pool, &id, &what).await;
        assert_eq!(on == "b", task.state == TaskState::Done, "{what}: {task:?}");
    }
}

pub(super) async fn refused(pool: &Pool, request: Request) -> Fault {
    pool.call(None, request).await.expect_err("refused")
}

#[tokio::test(start_paused = true)]
async fn a_move_that_cannot_be_is_refused_with_the_reason() {
    let (pool, id) = pair().await;
    let check = |fault: Fault, code: FaultCode, says: &str| {
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.message.contains(says), "{fault} says {says}");
    };
    check(refused(&pool, migrate_to(Some("a"))).await, FaultCode::Conflict, "already");
    check(refused(&pool, migrate_to(Some("x"))).await, FaultCode::UnknownHost, "x");
    let too_long = Request::MigrateVm(v1::MigrateVm {
        vm: id.clone(),
        downtime_ms_max: Some(u64::MAX),
        ..v1::MigrateVm::default()
    });
    check(refused(&pool, too_long).await, FaultCode::BadRequest, "downtime");
    let too_slow = Request::PlanMigration(v1::PlanMigration {
        vm: id.clone(),
        slowdown_ms_max: Some(600_001),
        ..v1::PlanMigration::default()
    });
    check(refused(&pool, too_slow).await, FaultCode::BadRequest, "slowdown-ms-max");
    pool.ok(maintenance("b", true)).await;
    check(refused(&pool, migrate_to(Some("b"))).await, FaultCode::NoCapacity, "maintenance");
    check(refused(&pool, migrate()).await, FaultCode::NoCapacity, "b (is in maintenance)");
    pool.ok(maintenance("b", false)).await;
    // As Xen's feature sets: SSE3 and SSSE3 are bits 0 and 9 of the second word.
    pool.agents.with("a", |host| {
        host.sees(&id, |seen| seen.cpu_features = Some("178bfbff-201".into()));
    });
    pool.agents.with("b", |host| host.facts.cpu_features = Some("178bfbff-1".into()));
    pool.settle().await;
    check(refused(&pool, migrate()).await, FaultCode::NoCapacity, "may use: ssse3");
    pool.agents.with("b", |host| host.facts.cpu_features = Some("178bfbff-f7fa3223".into()));
    pool.settle().await;
    let pin = |hosts: &[&str]| {
        let pins = hosts.iter().map(|host| v1::Pin { host: (*host).into() }).collect();
        Request::PinVm(v1::PinVm { vm: id.clone(), pins })
    };
    pool.done(pin(&["a"])).await;
    check(refused(&pool, migrate()).await, FaultCode::NoCapacity, "pinned");
    pool.done(pin(&[])).await;
    pool.agents.with("b", |host| host.load.memory_free_kib = 1 << 10);
    pool.settle().await;
    check(refused(&pool, migrate()).await, FaultCode::NoCapacity, "memory");
    pool.agents.with("b", |host| host.silent = true);
    sleep(30 * SECOND).await;
    check(refused(&pool, migrate()).await, FaultCode::NoCapacity, "silent");
    pool.done(Request::PauseVm(v1::PauseVm { vm: id.clone() })).await;
    check(refused(&pool, migrate()).await, FaultCode::BadState, "paused");
    pool.done(Request::DestroyVm(v1::DestroyVm { vm: id.clone() })).await;
    check(refused(&pool, migrate()).await, FaultCode::BadState, "not running");
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_a_move_says_where_to_and_why_nowhere_else_and_does_nothing() {
    let (pool, id) = pair().await;
    let plan = |host: Option<&str>| {
        Request::PlanMigration(v1::PlanMigration {
            vm: id.clone(),
            host: host.map(str::to_owned),
            ..v1::PlanMigration::default()
        })
    };
    let shown = async |host| match pool.ok(plan(host)).await {
        Reply::MigrationPlan(plan) => plan,
        other => panic!("{other:?}"),
    };
    let free = shown(None).await;
    assert_eq!((free.source.as_str(), free.destination.as_deref()), ("a", Some("b")));
    assert!(free.ways[0].move_ms.is_some() && !free.ways[0].parts.is_empty(), "{free:?}");
    pool.ok(maintenance("b", true)).await;
    let barred = shown(Some("b")).await;
    assert_eq!(barred.destination, None);
    assert_eq!(
        (barred.refused[0].host.as_str(), barred.refused[0].by.as_str()),
        ("b", "maintenance")
    );
    assert_eq!(check_end(&pool, &id, "only asked").await, "a");
    assert!(pool.agents.with("b", |host| host.done.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_a_move_are_those_that_are_tested() {
    let (pool, _) = pair().await;
    pool.agents.with("a", |host| host.copy_time = SECOND);
    let task = pool.begin(migrate()).await;
    let app = pool.manager.app();
    let state = app.lock();
    let plan = state.task_named(&task.task).expect("there").record.plan.clone().expect("a plan");
    let steps = plan.workflow(Position::default());
    assert_eq!(steps.steps().iter().map(|step| step.name).collect::<Vec<_>>(), STEPS);
}
