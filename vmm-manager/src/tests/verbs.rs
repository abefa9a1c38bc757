//! What each verb answers, and to whom.

use vmm_core::units::Kib;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Service as _};
use vmm_proto::v1::{self, FaultCode, Reply, Request, TaskState, VmPhase};

use super::Pool;
use super::pool::{HOST_MIB, create};
use crate::ManagerConfig;

const WAIT: u64 = 10_000;

fn memory(mib: u64) -> Request {
    let memory_kib = Kib::from_mib(mib).0;
    Request::SetMemory(v1::SetMemory { vm: "web".into(), memory_kib, wait_ms_max: WAIT })
}

async fn code(pool: &Pool, request: Request) -> FaultCode {
    pool.call(None, request).await.expect_err("refused").code
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_task_and_another_request_is_refused() {
    let pool = Pool::of(&["a"]).await;
    let Reply::Task(first) = pool.call(Some("k"), create("web")).await.expect("created") else {
        panic!("a task");
    };
    let Reply::Task(again) = pool.call(Some("k"), create("web")).await.expect("the same") else {
        panic!("a task");
    };
    assert_eq!(first.task, again.task);
    let fault = pool.call(Some("k"), create("other")).await.expect_err("refused");
    assert_eq!(fault.code, FaultCode::IdempotencyMismatch);
    assert_eq!(code(&pool, create("web")).await, FaultCode::Conflict, "without the key");
}

#[tokio::test(start_paused = true)]
async fn a_vm_goes_through_its_life() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let vm = || "web".to_owned();
    let steps = [
        (Request::PauseVm(v1::PauseVm { vm: vm() }), VmPhase::Paused),
        (Request::UnpauseVm(v1::UnpauseVm { vm: vm() }), VmPhase::Running),
        (Request::RebootVm(v1::RebootVm { vm: vm(), wait_ms_max: WAIT }), VmPhase::Running),
        (Request::ShutdownVm(v1::ShutdownVm { vm: vm(), wait_ms_max: WAIT }), VmPhase::PoweredOff),
        (Request::StartVm(v1::StartVm { vm: vm() }), VmPhase::Running),
        (Request::DestroyVm(v1::DestroyVm { vm: vm() }), VmPhase::Destroyed),
        (Request::DestroyVm(v1::DestroyVm { vm: vm() }), VmPhase::Destroyed),
    ];
    for (request, phase) in steps {
        pool.done(request).await;
        assert_eq!(pool.vm("web").await.expect("there").phase, phase);
        pool.settle().await;
        assert_eq!(pool.vm("web").await.expect("there").phase, phase, "after a report");
    }
    assert_eq!(pool.reserved_mib("a"), 0);
    pool.ok(Request::DeleteVm(v1::DeleteVm { vm: vm() })).await;
    assert!(pool.vm("web").await.is_none());
    pool.ok(Request::RemoveHost(v1::RemoveHost { host: "a".into() })).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_make_no_sense_are_refused() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let vm = || "web".to_owned();
    let start = Request::StartVm(v1::StartVm { vm: vm() });
    assert_eq!(code(&pool, start).await, FaultCode::BadState);
    let delete = Request::DeleteVm(v1::DeleteVm { vm: vm() });
    assert_eq!(code(&pool, delete).await, FaultCode::BadState);
    let remove = Request::RemoveHost(v1::RemoveHost { host: "a".into() });
    assert_eq!(code(&pool, remove).await, FaultCode::BadState);
    let pause = Request::PauseVm(v1::PauseVm { vm: "nobody".into() });
    assert_eq!(code(&pool, pause).await, FaultCode::UnknownVm);
    let vcpus = Request::SetVcpus(v1::SetVcpus { vm: vm(), vcpus: 3, wait_ms_max: WAIT });
    assert_eq!(code(&pool, vcpus).await, FaultCode::BadRequest);
    let add = v1::AddHost { name: "a".into(), address: "elsewhere:1".into(), pool: None };
    assert_eq!(code(&pool, Request::AddHost(add)).await, FaultCode::Conflict);
    let await_report = Request::AwaitReport(v1::AwaitReport::default());
    assert_eq!(code(&pool, await_report).await, FaultCode::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn an_agent_may_not_ask() {
    let pool = Pool::of(&["a"]).await;
    let caller = Caller {
        principal: Principal::agent("a"),
        request_id: "r".into(),
        idempotency_key: None,
        deadline: None,
    };
    let list = Request::ListVms(v1::ListVms::default());
    let fault = pool.manager.call(caller, list).await.expect_err("denied");
    assert_eq!(fault.code, FaultCode::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_user_may_do_what_the_role_says_and_no_more() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let vm = || "web".to_owned();
    let console = v1::ReadConsole { vm: vm(), bytes_max: 64 };
    let requests = [
        (Request::ListVms(v1::ListVms::default()), 1),
        (Request::ReadConsole(console), 2),
        (Request::PauseVm(v1::PauseVm { vm: vm() }), 2),
        (Request::DeleteVm(v1::DeleteVm { vm: vm() }), 2),
        (super::places::label("web", |label| label.notes = Some("x".into())), 2),
        (Request::ListPools(v1::ListPools::default()), 1),
        (super::places::define_pool("p", |_| {}), 3),
        (super::places::put("a", "default"), 3),
        (Request::SetMaintenance(v1::SetMaintenance { host: "a".into(), maintenance: true }), 3),
        (Request::RemoveHost(v1::RemoveHost { host: "a".into() }), 3),
    ];
    let roles = [Principal::viewer("v"), Principal::operator("o"), Principal::admin("a")];
    for (rank, principal) in (1..).zip(roles) {
        for (request, least) in &requests {
            let caller = Caller {
                principal: principal.clone(),
                request_id: "r".into(),
                idempotency_key: Some(format!("{principal}-{}", v1::verb(request).name)),
                deadline: None,
            };
            let outcome = pool.manager.call(caller, request.clone()).await;
            let denied = outcome.is_err_and(|fault| fault.code == FaultCode::Denied);
            assert_eq!(denied, rank < *least, "{principal} {request:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_without_an_idempotency_key_is_refused() {
    let pool = Pool::of(&["a"]).await;
    let call = |request| {
        let caller = Caller {
            principal: Principal::admin("ann"),
            request_id: "r".into(),
            idempotency_key: None,
            deadline: None,
        };
        pool.manager.call(caller, request)
    };
    let pause = Request::PauseVm(v1::PauseVm { vm: "web".into() });
    assert_eq!(call(pause).await.expect_err("refused").code, FaultCode::BadRequest);
    call(Request::ListVms(v1::ListVms::default())).await.expect("reading needs no key");
}

#[tokio::test(start_paused = true)]
async fn memory_is_reserved_before_the_guest_grows_and_released_after_it_shrank() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let at_128 = pool.reserved_mib("a");
    let task = pool.done(memory(200)).await;
    assert_eq!(task.memory.expect("a result").reached_kib, Kib::from_mib(200).0);
    assert_eq!(pool.reserved_mib("a"), at_128 + 72);
    pool.agents.with("a", |host| host.memory_reached = Some(Kib::from_mib(150).0));
    pool.done(memory(100)).await;
    assert_eq!(pool.reserved_mib("a"), at_128 + 22, "what the guest still holds stays charged");
}

#[tokio::test(start_paused = true)]
async fn a_reboot_goes_back_to_what_was_charged_at_boot() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let at_boot = pool.reserved_mib("a");
    pool.done(memory(64)).await;
    assert_eq!(pool.reserved_mib("a"), at_boot, "a guest that reboots takes it again");
    pool.done(memory(200)).await;
    assert_eq!(pool.reserved_mib("a"), at_boot + 72);
    let reboot = v1::RebootVm { vm: "web".into(), wait_ms_max: WAIT };
    pool.done(Request::RebootVm(reboot)).await;
    assert_eq!(pool.reserved_mib("a"), at_boot);
}

#[tokio::test(start_paused = true)]
async fn memory_that_does_not_fit_is_not_promised() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let at_128 = pool.reserved_mib("a");
    let task = pool.begin(memory(HOST_MIB)).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.state, TaskState::Failed);
    assert_eq!(task.fault.expect("a fault").code, FaultCode::NoCapacity);
    assert_eq!(pool.reserved_mib("a"), at_128);
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm"]);
}

#[tokio::test(start_paused = true)]
async fn growth_that_the_agent_refuses_is_taken_back() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let at_128 = pool.reserved_mib("a");
    pool.agents.with("a", |host| host.refuses.insert("SetMemory"));
    let task = pool.begin(memory(200)).await;
    assert_eq!(pool.wait(&task.task).await.state, TaskState::Failed);
    assert_eq!(pool.reserved_mib("a"), at_128);
}

#[tokio::test(start_paused = true)]
async fn one_task_owns_a_vm() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.build_time = std::time::Duration::from_secs(5));
    let task = pool.begin(create("web")).await;
    let pause = || Request::PauseVm(v1::PauseVm { vm: "web".into() });
    assert_eq!(code(&pool, pause()).await, FaultCode::Busy);
    pool.wait(&task.task).await;
    pool.done(pause()).await;
}

#[tokio::test(start_paused = true)]
async fn vcpus_are_told_and_charged() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    let set = v1::SetVcpus { vm: "web".into(), vcpus: 2, wait_ms_max: WAIT };
    let task = pool.done(Request::SetVcpus(set)).await;
    assert_eq!(task.vcpus.expect("a result").online, 2);
    let Reply::Hosts(hosts) = pool.ok(Request::ListHosts(v1::ListHosts::default())).await else {
        panic!("hosts");
    };
    assert_eq!(hosts.hosts[0].cpu_reserved_milli, 200);
}

#[tokio::test(start_paused = true)]
async fn finished_tasks_are_bounded_and_the_newest_come_first() {
    let config = ManagerConfig { finished_tasks_max: 512, ..ManagerConfig::default() };
    let pool = Pool::with(config, &["a"]).await;
    pool.create("web").await;
    for _ in 0..520 {
        let task = pool.begin(Request::UnpauseVm(v1::UnpauseVm { vm: "web".into() })).await;
        pool.wait(&task.task).await;
    }
    let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(v1::ListTasks::default())).await else {
        panic!("tasks");
    };
    assert_eq!(tasks.tasks.len(), 512);
    assert_eq!(tasks.tasks[0].verb, "UnpauseVm");
}

#[tokio::test(start_paused = true)]
async fn the_console_of_a_stopped_vm_is_read_where_it_ran() {
    let pool = Pool::of(&["a"]).await;
    let task = pool.create("web").await;
    pool.done(Request::DestroyVm(v1::DestroyVm { vm: "web".into() })).await;
    let read = Request::ReadConsole(v1::ReadConsole { vm: "web".into(), bytes_max: 100 });
    let Reply::ConsoleText(text) = pool.ok(read).await else { panic!("text") };
    assert_eq!(text.data, format!("console of {}", task.vm));
}
