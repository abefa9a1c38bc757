//! Tasks: whose turn it is, what they say, how they are found, cancelled and tried again.

use std::time::Duration;

use tokio::time::sleep;
use vmm_core::task::turns::Limits;
use vmm_proto::v1::{
    self, FaultCode, ListTasks, PhaseStatus, Reply, Request, TargetKind, Task, TaskState,
};

use super::Pool;
use super::asks::{delete, destroy, maintenance, refused, rename, save, start};
use super::pool::create;
use crate::ManagerConfig;

const SECOND: Duration = Duration::from_secs(1);

fn limits(builds_per_host: usize, running: usize) -> ManagerConfig {
    let limits = Limits { running, builds_per_host, transfers_per_host: 1, light_per_host: 16 };
    ManagerConfig { task_limits: limits, queued_tasks_max: 3, ..ManagerConfig::default() }
}

/// A pool whose agents take a second for a build, and the tasks of so many creations.
async fn building(config: ManagerConfig, hosts: &[&str], count: usize) -> (Pool, Vec<Task>) {
    let pool = Pool::with(config, hosts).await;
    for host in hosts {
        pool.agents.with(host, |host| host.build_time = SECOND);
    }
    let mut tasks = Vec::new();
    for number in 0..count {
        tasks.push(pool.begin(create(&format!("v{number}"))).await);
    }
    (pool, tasks)
}

async fn list(pool: &Pool, list: ListTasks) -> v1::Tasks {
    match pool.ok(Request::ListTasks(list)).await {
        Reply::Tasks(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

async fn now(pool: &Pool, task: &Task) -> Task {
    let wait = v1::WaitTask { task: task.task.clone(), wait_ms_max: 0 };
    match pool.ok(Request::WaitTask(wait)).await {
        Reply::Task(task) => *task,
        other => panic!("{other:?}"),
    }
}

async fn states(pool: &Pool, tasks: &[Task]) -> Vec<TaskState> {
    let mut states = Vec::new();
    for task in tasks {
        states.push(now(pool, task).await.state);
    }
    states
}

fn cancel(task: &Task) -> Request {
    Request::CancelTask(v1::CancelTask { task: task.task.clone() })
}

fn retry(task: &Task) -> Request {
    Request::RetryTask(v1::RetryTask { task: task.task.clone() })
}

use TaskState::{Cancelled, Done, Failed, Queued, Running};

#[tokio::test(start_paused = true)]
async fn a_host_builds_so_many_at_a_time_and_the_others_wait_in_order() {
    let (pool, tasks) = building(limits(2, 100), &["a"], 5).await;
    assert_eq!(states(&pool, &tasks).await, [Running, Running, Queued, Queued, Queued]);
    let third = now(&pool, &tasks[3]).await;
    assert_eq!((third.place, third.started_ms), (Some(2), None));
    assert_eq!(third.waits_for.as_deref(), Some("one of 2 builds on host a"));
    refused(&pool, create("v5"), FaultCode::Busy, "3 tasks are queued").await;
    sleep(SECOND + SECOND / 2).await;
    assert_eq!(states(&pool, &tasks).await, [Done, Done, Running, Running, Queued]);
    let last = now(&pool, &tasks[4]).await;
    assert_eq!(last.place, Some(1));
    sleep(2 * SECOND).await;
    assert_eq!(states(&pool, &tasks).await, [Done; 5]);
    let last = now(&pool, &tasks[4]).await;
    assert!(last.waits_for.is_none() && last.place.is_none());
    assert!(last.started_ms > last.created_ms && last.finished_ms > last.started_ms);
}

#[tokio::test(start_paused = true)]
async fn a_full_host_holds_up_no_other_and_a_full_pool_all() {
    let (pool, tasks) = building(limits(1, 100), &["a", "b"], 3).await;
    assert_eq!(states(&pool, &tasks).await, [Running, Running, Queued]);
    assert_ne!(tasks[0].host, tasks[1].host);
    let (pool, tasks) = building(limits(4, 1), &["a", "b"], 2).await;
    assert_eq!(states(&pool, &tasks).await, [Running, Queued]);
    let waits = now(&pool, &tasks[1]).await.waits_for;
    assert_eq!(waits.as_deref(), Some("one of 1 tasks of the pool"));
}

#[tokio::test(start_paused = true)]
async fn a_queued_task_that_is_cancelled_leaves_nothing_and_gives_its_place_away() {
    let (pool, tasks) = building(limits(1, 100), &["a"], 3).await;
    pool.begin(cancel(&tasks[1])).await;
    assert_eq!(pool.wait(&tasks[1].task).await.state, Cancelled);
    assert!(pool.vm("v1").await.is_none());
    assert_eq!(now(&pool, &tasks[2]).await.place, Some(1));
    sleep(3 * SECOND).await;
    assert_eq!(states(&pool, &tasks).await, [Done, Cancelled, Done]);
    let log = now(&pool, &tasks[1]).await.lines;
    assert!(log.iter().any(|line| line.text == "admin/ann asks to cancel it"), "{log:?}");
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm", "BuildVm"]);
}

#[tokio::test(start_paused = true)]
async fn queued_tasks_survive_and_keep_their_order() {
    let (mut pool, tasks) = building(limits(1, 100), &["a"], 4).await;
    pool.begin(cancel(&tasks[2])).await;
    pool.crash().await;
    for task in &tasks {
        pool.wait(&task.task).await;
    }
    // The one that was being built was not, when the host was asked.
    assert_eq!(states(&pool, &tasks).await, [Failed, Done, Cancelled, Done]);
    let (first, second) = (now(&pool, &tasks[1]).await, now(&pool, &tasks[3]).await);
    assert!(first.finished_ms <= second.started_ms, "{first:?} {second:?}");
    pool.settle().await;
    assert_eq!(pool.agents.with("a", |host| host.vms.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_says_who_what_when_and_how_far() {
    let pool = Pool::of(&["a"]).await;
    let began = pool.clock_ms();
    let task = pool.create("web").await;
    assert_eq!(task.target_kind, Some(TargetKind::Vm));
    assert_eq!(
        (task.target.as_deref(), task.target_name.as_deref()),
        (Some(&*task.vm), Some("web"))
    );
    assert_eq!((task.host.as_deref(), task.initiator.as_deref()), (Some("a"), Some("admin/ann")));
    assert_eq!((task.progress_done, task.progress_all), (Some(3), Some(3)));
    let phases: Vec<_> =
        task.phases.iter().map(|phase| (phase.name.as_str(), phase.status)).collect();
    let done = |name| (name, PhaseStatus::Done);
    assert_eq!(phases, [done("reserve"), done("build"), done("mark running")]);
    let times = [task.created_ms, task.started_ms, task.finished_ms].map(|at| at.expect("a time"));
    assert!(began <= times[0] && times.is_sorted() && times[2] <= pool.clock_ms(), "{times:?}");
    let lines: Vec<&str> = task.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["build", "mark running", "Done"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_failed_says_what_was_taken_back() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.refuses.insert("BuildVm"));
    let task = pool.begin(create("web")).await;
    let task = pool.wait(&task.task).await;
    let status: Vec<_> = task.phases.iter().map(|phase| phase.status).collect();
    use PhaseStatus::{TakenBack, Waiting};
    assert_eq!(status, [TakenBack, TakenBack, Waiting]);
    let lines: Vec<&str> = task.lines.iter().map(|line| line.text.as_str()).collect();
    let refusal = "refused by the script [HostFailed at agent a]";
    assert_eq!(lines[..2], ["build", &format!("build: {refusal}")]);
    assert_eq!(lines.last().copied(), Some("Failed: refused by the script"));
}

#[tokio::test(start_paused = true)]
async fn every_change_leaves_a_task() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.ok(maintenance("a", true)).await;
    pool.done(destroy("web")).await;
    pool.done(rename("web", "shop")).await;
    pool.ok(delete("shop")).await;
    let all = list(&pool, ListTasks::default()).await.tasks;
    let verbs: Vec<&str> = all.iter().map(|task| task.verb.as_str()).collect();
    let expected = ["DeleteVm", "RenameVm", "DestroyVm", "SetMaintenance", "CreateVm", "AddHost"];
    assert_eq!(verbs, expected);
    let hosts: Vec<_> = all.iter().filter(|t| t.target_kind == Some(TargetKind::Host)).collect();
    assert!(
        hosts.iter().all(|task| task.target_name.as_deref() == Some("a") && task.vm.is_empty())
    );
    assert!(all.iter().all(|task| task.state == Done && task.finished_ms.is_some()));
}

#[tokio::test(start_paused = true)]
async fn tasks_are_found_by_what_they_are() {
    let pool = Pool::of(&["a", "b"]).await;
    let first = pool.create("web").await;
    sleep(60 * SECOND).await;
    let later = pool.clock_ms();
    let second = pool.create("db").await;
    pool.agents.with("a", |host| host.refuses.insert("PauseVm"));
    pool.agents.with("b", |host| host.refuses.insert("PauseVm"));
    let pause = pool.begin(Request::PauseVm(v1::PauseVm { vm: "web".into() })).await;
    pool.wait(&pause.task).await;
    pool.done(rename("web", "shop")).await;
    let find = async |wanted: ListTasks| {
        let tasks = list(&pool, wanted).await.tasks;
        tasks.into_iter().map(|task| task.verb).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    let all = ListTasks::default;
    assert_eq!(find(ListTasks { state: Some(Failed), ..all() }).await, ["PauseVm"]);
    assert_eq!(find(ListTasks { over: Some(false), ..all() }).await, [""; 0]);
    let of_web = ["RenameVm", "PauseVm", "CreateVm"];
    for name in ["web", "shop", &first.vm] {
        assert_eq!(find(ListTasks { vm: some(name), ..all() }).await, of_web, "{name}");
    }
    let host = first.host.clone().expect("a host");
    let on_host = find(ListTasks { host: some(&host), ..all() }).await;
    assert_eq!(on_host, ["RenameVm", "PauseVm", "CreateVm", "AddHost"]);
    assert_eq!(find(ListTasks { initiator: some("admin/bob"), ..all() }).await, [""; 0]);
    let recent = ListTasks { since_ms: Some(later), ..all() };
    assert_eq!(find(recent.clone()).await, ["RenameVm", "PauseVm", "CreateVm"]);
    let both = ListTasks { vm: some(&second.vm), ..recent };
    assert_eq!(find(both).await, ["CreateVm"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_comes_in_pages_and_each_task_once() {
    let (pool, _) = building(ManagerConfig::default(), &["a"], 4).await;
    let whole = list(&pool, ListTasks::default()).await;
    assert_eq!((whole.tasks.len(), whole.next), (5, None));
    for count in 1..=6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let wanted = ListTasks { after, count_max: Some(count), ..ListTasks::default() };
            let page = list(&pool, wanted).await;
            seen.extend(page.tasks.into_iter().map(|task| task.task));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<_> = whole.tasks.iter().map(|task| task.task.clone()).collect();
        assert_eq!(seen, expected, "{count} at a time");
    }
    let bad = ListTasks { after: Some("soon".into()), ..ListTasks::default() };
    refused(&pool, Request::ListTasks(bad), FaultCode::BadRequest, "begin without").await;
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_as_a_new_task_that_names_the_old_one() {
    let pool = Pool::of(&["a"]).await;
    pool.agents.with("a", |host| host.refuses.insert("BuildVm"));
    let first = pool.begin(create("web")).await;
    let first = pool.wait(&first.task).await;
    pool.agents.with("a", |host| host.refuses.clear());
    let second = pool.done(retry(&first)).await;
    assert_eq!(
        (second.verb.as_str(), second.retry_of.as_deref()),
        ("CreateVm", Some(&*first.task))
    );
    refused(&pool, retry(&second), FaultCode::BadState, "nothing to try again").await;
    let host = list(&pool, ListTasks { host: Some("a".into()), ..ListTasks::default() }).await;
    refused(&pool, retry(host.tasks.last().expect("a task")), FaultCode::BadState, "done").await;
}

#[tokio::test(start_paused = true)]
async fn another_try_is_of_the_same_vm_whatever_it_is_called_now() {
    let pool = Pool::of(&["a"]).await;
    pool.create("web").await;
    pool.done(destroy("web")).await;
    pool.agents.with("a", |host| host.refuses.insert("BuildVm"));
    let failed = pool.begin(start("web")).await;
    let failed = pool.wait(&failed.task).await;
    assert_eq!(failed.state, Failed);
    pool.agents.with("a", |host| host.refuses.clear());
    pool.done(rename("web", "old")).await;
    pool.create("web").await;
    let again = pool.done(retry(&failed)).await;
    assert_eq!((again.vm, again.vm_name.as_str()), (failed.vm, "old"));
}

#[tokio::test(start_paused = true)]
async fn transfers_have_a_limit_of_their_own() {
    let pool = Pool::with(limits(4, 100), &["a"]).await;
    pool.create("v0").await;
    pool.create("v1").await;
    pool.agents.with("a", |host| host.change_time = SECOND);
    let tasks = [
        pool.begin(save("v0", "/v0.save")).await,
        pool.begin(save("v1", "/v1.save")).await,
        pool.begin(create("v2")).await,
    ];
    assert_eq!(states(&pool, &tasks).await, [Running, Queued, Running]);
    refused(&pool, destroy("v1"), FaultCode::Busy, "is changing VM v1").await;
    sleep(3 * SECOND).await;
    assert_eq!(states(&pool, &tasks).await, [Done; 3]);
}
