//! Every plan of a change: each step fails, the agent refuses, replies are lost, it is cancelled at each point, the manager is killed
//! at each point. Whatever happens, what is stored is what is there afterwards, and no task is left open.

use std::time::Duration;

use tokio::time::sleep;
use vmm_core::task::Position;
use vmm_core::vm::{VmSpec, VmState};
use vmm_proto::v1::{self, FaultCode, Request, TaskState, VmPhase};

use super::Pool;
use super::pool::spec;
use crate::workflow::{Construction, Moment, Plan};

const WAIT: u64 = 10_000;
const FILE: &str = "/var/lib/web.save";
/// The names of all steps of all plans.
const STEPS: [&str; 7] =
    ["reserve", "build", "mark running", "announce", "tell", "resize", "no such step"];

fn vm() -> String {
    "web".to_owned()
}

pub(super) fn disk(device: &str) -> v1::Disk {
    v1::Disk { path: format!("/srv/{device}.img"), device: device.to_owned(), read_only: false }
}

pub(super) fn nic(index: u32) -> v1::Nic {
    v1::Nic { index, mac: format!("00:16:3e:00:00:{index:02x}"), bridge: "xenbr0".into() }
}

fn create() -> Request {
    let spec = v1::Spec { disks: vec![disk("xvda")], nics: vec![nic(0)], ..spec("web") };
    Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() })
}

fn save() -> Request {
    Request::SaveVm(v1::SaveVm {
        vm: vm(),
        path: FILE.into(),
        format: v1::SavedFormat::default(),
        wait_ms_max: WAIT,
    })
}

fn pause() -> Request {
    Request::PauseVm(v1::PauseVm { vm: vm() })
}

fn suspend() -> Request {
    Request::SuspendVm(v1::SuspendVm { vm: vm(), wait_ms_max: WAIT })
}

fn destroy() -> Request {
    Request::DestroyVm(v1::DestroyVm { vm: vm() })
}

/// A change, and what comes before it.
struct Case {
    before: Option<Request>,
    request: Request,
    /// What the agent is told.
    told: &'static str,
}

/// Each change that is told to an agent.
fn cases() -> Vec<Case> {
    let case = |before, told, request| Case { before, request, told };
    let simple = |told, request| case(None, told, request);
    let autostart = Some(v1::Autostart { enabled: true, order: 3, delay_s: 4 });
    let configure = v1::ConfigureVm { vm: vm(), autostart, ..v1::ConfigureVm::default() };
    let (wait_ms_max, force, device) = (WAIT, false, || "xvda".to_owned());
    let resize = v1::ResizeDisk { vm: vm(), device: device(), size_bytes: 1 << 30, wait_ms_max };
    let detach = v1::DetachDisk { vm: vm(), device: device(), wait_ms_max, force };
    let unplug = v1::DetachNic { vm: vm(), index: 0, wait_ms_max, force };
    let attach = v1::AttachDisk { vm: vm(), wait_ms_max, disk: disk("xvdb") };
    let plug = v1::AttachNic { vm: vm(), wait_ms_max, nic: nic(1) };
    let unpause = Request::UnpauseVm(v1::UnpauseVm { vm: vm() });
    let resume = Request::ResumeVm(v1::ResumeVm { vm: vm() });
    let restore = Request::RestoreVm(v1::RestoreVm { vm: vm(), path: None });
    let start = Request::StartVm(v1::StartVm { vm: vm() });
    let memory = v1::SetMemory { vm: vm(), memory_kib: 200 << 10, wait_ms_max };
    let vcpus = v1::SetVcpus { vm: vm(), vcpus: 2, wait_ms_max };
    vec![
        simple("PauseVm", pause()),
        case(Some(pause()), "UnpauseVm", unpause),
        simple("ShutdownVm", Request::ShutdownVm(v1::ShutdownVm { vm: vm(), wait_ms_max })),
        simple("RebootVm", Request::RebootVm(v1::RebootVm { vm: vm(), wait_ms_max })),
        simple("DestroyVm", destroy()),
        case(Some(destroy()), "BuildVm", start),
        simple("SuspendVm", suspend()),
        case(Some(suspend()), "ResumeVm", resume),
        simple("SaveVm", save()),
        case(Some(suspend()), "SaveVm", save()),
        case(Some(save()), "BuildVm", restore),
        simple("SetVcpus", Request::SetVcpus(vcpus)),
        simple("SetMemory", Request::SetMemory(memory)),
        simple("AttachDisk", Request::AttachDisk(attach)),
        simple("DetachDisk", Request::DetachDisk(detach)),
        simple("ResizeDisk", Request::ResizeDisk(resize)),
        simple("AttachNic", Request::AttachNic(plug)),
        simple("DetachNic", Request::DetachNic(unplug)),
        simple("RenameVm", Request::RenameVm(v1::RenameVm { vm: vm(), name: "shop".into() })),
        simple("ConfigureVm", Request::ConfigureVm(configure)),
    ]
}

/// A pool in which the case can begin, and the VM's id.
async fn ready(case: &Case) -> (Pool, String) {
    let pool = Pool::of(&["a"]).await;
    let id = pool.done(create()).await.vm;
    if let Some(before) = &case.before {
        pool.done(before.clone()).await;
    }
    pool.agents.with("a", |host| host.done.clear());
    (pool, id)
}

/// What is stored is what is there: phase, host, reservation, file; and the definition, if that is known.
async fn check_agreement(pool: &Pool, id: &str, what: &str) -> v1::Vm {
    pool.settle().await;
    let shown = pool.vm(id).await.unwrap_or_else(|| panic!("{what}: the VM is there"));
    let (phase, spec, has_file) = pool
        .agents
        .with("a", |host| (host.vms[id].phase, host.specs[id].clone(), host.files.contains(FILE)));
    if VmState::from(phase).has_domain() {
        assert_eq!((shown.phase, shown.host.as_deref()), (phase, Some("a")), "{what}");
        assert!(pool.reserved_mib("a") > 128, "{what}");
        let valid = |spec: &v1::Spec| VmSpec::try_from(spec.clone()).expect("valid");
        assert_eq!(valid(&shown.spec), valid(&spec), "{what}");
    } else {
        assert!(!VmState::from(shown.phase).has_domain(), "{what}: {shown:?}");
        assert_eq!((shown.host.as_deref(), pool.reserved_mib("a")), (None, 0), "{what}");
    }
    let saved = (shown.phase == VmPhase::Saved).then_some(FILE);
    assert_eq!(shown.saved_path.as_deref(), saved, "{what}");
    assert!(saved.is_none() || has_file, "{what}");
    shown
}

#[tokio::test(start_paused = true)]
async fn every_change_is_done() {
    for case in cases() {
        let (pool, id) = ready(&case).await;
        pool.done(case.request).await;
        assert_eq!(pool.agents.with("a", |host| host.done.clone()), [case.told]);
        check_agreement(&pool, &id, case.told).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_that_fails_at_any_step_leaves_all_as_it_was() {
    for (case, step) in cases().iter().flat_map(|_| STEPS).enumerate() {
        let case = cases().swap_remove(case / STEPS.len());
        let (pool, id) = ready(&case).await;
        let before = pool.vm(&id).await.expect("there");
        *pool.manager.app().failing_step.lock().expect("no panic") = Some(step);
        let task = pool.begin(case.request).await;
        let task = pool.wait(&task.task).await;
        let what = format!("{} failing at {step}", case.told);
        let after = check_agreement(&pool, &id, &what).await;
        if task.state == TaskState::Done {
            continue;
        }
        assert_eq!(task.fault.expect("a fault").code, FaultCode::HostFailed, "{what}");
        assert_eq!(after.spec, before.spec, "{what}");
        let start_failed = after.phase == VmPhase::Failed && case.told == "BuildVm";
        // A restored guest that has gone on has used its file up: it is not taken back.
        let goes_on = before.phase == VmPhase::Saved && step == "mark running";
        let expected = if goes_on { VmPhase::Running } else { before.phase };
        assert!(after.phase == expected || start_failed, "{what}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_that_the_agent_refuses_leaves_all_as_it_was() {
    for case in cases() {
        let (pool, id) = ready(&case).await;
        let before = pool.vm(&id).await.expect("there");
        pool.agents.with("a", |host| host.refuses.insert(case.told));
        let task = pool.begin(case.request).await;
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Failed, "{}", case.told);
        assert_eq!(task.fault.expect("a fault").hop, "agent a", "{}", case.told);
        let after = check_agreement(&pool, &id, case.told).await;
        assert_eq!(after.spec, before.spec, "{}", case.told);
        let start_failed = after.phase == VmPhase::Failed && case.told == "BuildVm";
        assert!(after.phase == before.phase || start_failed, "{}: {after:?}", case.told);
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_whose_reply_is_lost_is_done_once() {
    for case in cases() {
        let (pool, id) = ready(&case).await;
        pool.agents.with("a", |host| host.lose_replies = 3);
        pool.done(case.request).await;
        assert_eq!(pool.agents.with("a", |host| host.done.clone()), [case.told]);
        check_agreement(&pool, &id, case.told).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_may_be_cancelled_at_any_point() {
    for (case, (after_ms, lost)) in cases().into_iter().flat_map(|case| {
        let points = [(0, 0), (1, 0), (2, 0), (500, 0), (900, 0), (1020, 1), (1020, 2)];
        points.map(|point| (case.request.clone(), point)).map(move |(request, point)| {
            (Case { before: case.before.clone(), request, told: case.told }, point)
        })
    }) {
        let (pool, id) = ready(&case).await;
        let second = Duration::from_secs(1);
        pool.agents.with("a", |host| {
            (host.build_time, host.change_time, host.lose_replies) = (second, second, lost);
        });
        let task = pool.begin(case.request).await;
        sleep(Duration::from_millis(after_ms)).await;
        let cancel = Request::CancelTask(v1::CancelTask { task: task.task.clone() });
        let _ = pool.call(None, cancel).await;
        pool.wait(&task.task).await;
        pool.agents.with("a", |host| host.lose_replies = 0);
        let what = format!("{} cancelled after {after_ms} ms, {lost} replies lost", case.told);
        check_agreement(&pool, &id, &what).await;
    }
}

/// Kills the manager while the agent has not done it yet, and while it has and nobody has heard.
#[tokio::test(start_paused = true)]
async fn every_change_survives_the_end_of_the_manager_at_any_time() {
    for number in 0..cases().len() * 4 {
        let case = cases().swap_remove(number / 4);
        let (after_ms, change_ms, lost) =
            [(0, 0, 0), (1, 0, 0), (500, 1000, 0), (50, 0, 1)][number % 4];
        let (mut pool, id) = ready(&case).await;
        let time = Duration::from_millis(change_ms);
        pool.agents.with("a", |host| {
            (host.build_time, host.change_time, host.lose_replies) = (time, time, lost);
        });
        let task = pool.begin(case.request).await;
        sleep(Duration::from_millis(after_ms)).await;
        pool.crash().await;
        let task = pool.wait(&task.task).await;
        let what = format!("{} ended after {after_ms} ms, {lost} replies lost", case.told);
        assert!(task.state.is_over(), "{what}");
        check_agreement(&pool, &id, &what).await;
        assert!(pool.agents.with("a", |host| {
            host.done.iter().filter(|verb| **verb == case.told).count() <= 1
        }));
    }
}

/// The kinds of plans. A new one does not compile until it is here, and fails until a case above has it.
fn kind(plan: &Plan) -> &'static str {
    match plan {
        Plan::Build(Construction::New) => KINDS[0],
        Plan::Build(Construction::Start) => KINDS[1],
        Plan::Build(Construction::Restore(_)) => KINDS[2],
        Plan::Grow { .. } => KINDS[3],
        Plan::Tell { .. } => KINDS[4],
        Plan::Save { .. } => KINDS[5],
        Plan::Define(_) => KINDS[6],
        // It is about two hosts: `moves.rs` has it.
        Plan::Move(_) => "move",
    }
}

const KINDS: [&str; 7] = ["create", "start", "restore", "grow", "tell", "save", "define"];

/// The creation, too, which comes before all the others; no other case has it as its request.
fn all_cases() -> Vec<Case> {
    let mut cases = cases();
    cases.push(Case { before: None, request: create(), told: "BuildVm" });
    cases
}

/// A pool in which the case can begin, empty for the creation.
async fn ready_for(case: &Case) -> Pool {
    match case.request {
        Request::CreateVm(_) => Pool::of(&["a"]).await,
        _ => ready(case).await.0,
    }
}

async fn plan_of(case: &Case) -> Plan {
    let pool = ready_for(case).await;
    let second = Duration::from_secs(1);
    pool.agents.with("a", |host| (host.build_time, host.change_time) = (second, second));
    let task = pool.begin(case.request.clone()).await;
    let app = pool.manager.app();
    let state = app.lock();
    state.task_named(&task.task).expect("there").record.plan.clone().expect("a plan")
}

/// TASK1 and CAP1, and what is stored is what is there; of a VM that was never there, nothing is.
async fn check_end(pool: &Pool, task: &v1::Task, what: &str) {
    assert!(task.state.is_over() && task.finished_ms.is_some(), "{what}: {task:?}");
    pool.settle().await;
    if pool.vm(&task.vm).await.is_some() {
        check_agreement(pool, &task.vm, what).await;
        return;
    }
    assert_eq!(pool.reserved_mib("a"), 0, "{what}");
    assert!(pool.agents.running_on(&task.vm).is_empty(), "{what}");
}

/// Kills the manager on both sides of each step of each plan, forwards and backwards, and once more after it was asked to stop there.
#[tokio::test(start_paused = true)]
async fn every_plan_goes_on_from_each_step_where_its_manager_was_killed() {
    let mut seen = std::collections::BTreeSet::new();
    for case in all_cases() {
        let plan = plan_of(&case).await;
        seen.insert(kind(&plan));
        let steps: Vec<_> =
            plan.workflow(Position::default()).steps().iter().map(|step| step.name).collect();
        let last = steps.last().copied();
        let points = steps.iter().flat_map(|step| Moment::ALL.map(|moment| (*step, moment)));
        for ((step, moment), cancels) in points.flat_map(|point| [(point, false), (point, true)]) {
            let what = format!("{} killed {moment:?} {step}, cancelled: {cancels}", case.told);
            let mut pool = ready_for(&case).await;
            let app = pool.manager.app();
            app.halts.set(step, moment);
            let undoes = matches!(moment, Moment::BeforeUndo | Moment::AfterUndo);
            *app.failing_step.lock().expect("no panic") = last.filter(|_| undoes);
            let task = pool.begin(case.request.clone()).await;
            tokio::select! {
                () = app.halts.reached() => {}
                // Some steps have nothing to take back, and the first one of a build was done with its task.
                _ = pool.wait(&task.task) => continue,
            }
            if cancels {
                let cancel = Request::CancelTask(v1::CancelTask { task: task.task.clone() });
                pool.call(None, cancel).await.expect("it is under way");
            }
            drop(app);
            pool.crash().await;
            let task = pool.wait(&task.task).await;
            check_end(&pool, &task, &what).await;
            let expect = match (moment, cancels) {
                // Nobody knows whether the build was begun, and the host has not got it.
                (Moment::Before, false) if step == "build" => TaskState::Failed,
                (Moment::Before | Moment::After, false) => TaskState::Done,
                (Moment::BeforeUndo | Moment::AfterUndo, false) => TaskState::Failed,
                (_, true) => continue,
            };
            assert_eq!(task.state, expect, "{what}: {task:?}");
        }
    }
    assert_eq!(seen, KINDS.into_iter().collect(), "a case of each kind of plan");
}

/// Neither the change nor what takes it back is heard of: phase and file come from the host's report, the definition stays.
#[tokio::test(start_paused = true)]
async fn a_change_whose_outcome_is_never_heard_ends_as_failed_and_the_host_decides() {
    for case in cases() {
        let (pool, id) = ready(&case).await;
        let before = pool.vm(&id).await.expect("there");
        pool.agents.with("a", |host| host.lose_replies = usize::MAX);
        let task = pool.begin(case.request).await;
        sleep(Duration::from_millis(100)).await;
        pool.agents.with("a", |host| host.silent = true);
        let task = pool.wait(&task.task).await;
        assert_eq!(task.state, TaskState::Failed, "{}", case.told);
        assert_eq!(task.fault.expect("a fault").code, FaultCode::HostUnreachable);
        pool.agents.with("a", |host| {
            (host.silent, host.lose_replies) = (false, 0);
            host.specs.insert(id.clone(), before.spec.clone());
        });
        let after = check_agreement(&pool, &id, case.told).await;
        assert_eq!(after.spec, before.spec, "{}", case.told);
    }
}
