//! A pool that makes its moves by itself: what pays is moved, a few at a time, and then it rests; whatever goes otherwise than planned ends the plan and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{
    self, CarryOut, Decision, DecisionKind, ListDecisions, MigrationStage, Progress, Rebalance,
    Reply, Request, ShowDecision, Task, TaskState,
};

use super::places::define_pool;
use super::{Pool, spec};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOSTS: [&str; 3] = ["a", "b", "c"];

fn set(rebalance: Rebalance) -> Request {
    define_pool("default", |pool| pool.rebalance = Some(rebalance))
}

fn maintenance(host: &str, maintenance: bool) -> Request {
    Request::SetMaintenance(v1::SetMaintenance { host: host.into(), maintenance })
}

/// Four VMs that want all of the first host, and two hosts on which there is nothing. Moves take so long.
async fn crowded(copy_time: Duration) -> Pool {
    let pool = Pool::of(&HOSTS).await;
    pool.ok(set(Rebalance::Off)).await;
    pool.ok(maintenance("b", true)).await;
    pool.ok(maintenance("c", true)).await;
    for name in ["v0", "v1", "v2", "v3"] {
        let spec = v1::Spec { cpu_demand_milli: 950, ..spec(name) };
        pool.done(Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() })).await;
    }
    pool.ok(maintenance("b", false)).await;
    pool.ok(maintenance("c", false)).await;
    for host in HOSTS {
        pool.agents.with(host, |host| host.copy_time = copy_time);
    }
    pool.settle().await;
    pool
}

async fn moves(pool: &Pool) -> Vec<Task> {
    let initiator = Some("reconciler/rebalance".to_owned());
    let list = v1::ListTasks { initiator, ..v1::ListTasks::default() };
    match pool.ok(Request::ListTasks(list)).await {
        Reply::Tasks(tasks) => tasks.tasks,
        other => panic!("tasks were expected: {other:?}"),
    }
}

/// The plans, the latest first.
async fn plans(pool: &Pool) -> Vec<Decision> {
    let Reply::Decisions(page) = pool.ok(Request::ListDecisions(ListDecisions::default())).await
    else {
        panic!("decisions were expected")
    };
    let of_moves = |made: &Decision| made.question == DecisionKind::Rebalance;
    page.decisions.into_iter().filter(of_moves).collect()
}

async fn carried(pool: &Pool, decision: u64) -> CarryOut {
    match pool.ok(Request::ShowDecision(ShowDecision { decision })).await {
        Reply::Decision(made) => made.carry_out.expect("it is carried out"),
        other => panic!("a decision was expected: {other:?}"),
    }
}

/// Waits until a move is being made.
async fn begun(pool: &Pool) -> Task {
    for _ in 0..200 {
        let open = moves(pool).await.into_iter().find(|task| !task.state.is_over());
        if let Some(task) = open {
            return task;
        }
        sleep(SECOND).await;
    }
    panic!("nothing is moved")
}

/// The latest plan, when it is over.
async fn ended(pool: &Pool) -> (u64, CarryOut) {
    for _ in 0..200 {
        if let Some(latest) = plans(pool).await.first() {
            let carried = carried(pool, latest.decision).await;
            if carried.progress != Progress::UnderWay {
                return (latest.decision, carried);
            }
        }
        sleep(SECOND).await;
    }
    panic!("the plan does not end")
}

fn count_on(pool: &Pool) -> BTreeMap<String, usize> {
    let facts = pool.manager.facts();
    HOSTS.iter().map(|host| ((*host).to_owned(), facts[*host].vms.len())).collect()
}

/// How many moves each host sends and receives at this instant.
fn check_at_once(pool: &Pool) {
    use MigrationStage::{Offered, Ready, Receiving, Sending};
    for host in HOSTS {
        let stages: Vec<MigrationStage> = pool
            .agents
            .with_quietly(host, |host| host.halves.values().map(|half| half.stage).collect());
        let count = |of: [MigrationStage; 2]| stages.iter().filter(|s| of.contains(s)).count();
        assert!(count([Sending, Offered]) <= 1, "{host} sends {stages:?}");
        assert!(count([Receiving, Ready]) <= 1, "{host} receives {stages:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_host_is_relieved_and_then_all_rests() {
    let mut pool = crowded(20 * SECOND).await;
    sleep(5 * MINUTE).await;
    assert_eq!((moves(&pool).await.len(), plans(&pool).await.len()), (0, 0), "it is off");
    pool.ok(set(Rebalance::CarryOut)).await;
    for _ in 0..3600 {
        sleep(SECOND).await;
        check_at_once(&pool);
    }
    let made = moves(&pool).await;
    assert!(made.iter().all(|task| task.state == TaskState::Done), "{made:?}");
    let mut vms: Vec<&str> = made.iter().map(|task| task.vm_name.as_str()).collect();
    vms.sort_unstable();
    vms.dedup();
    assert_eq!((vms.len(), made.len()), (2, 2), "two hosts are as good as the first: {made:?}");
    let on = count_on(&pool);
    assert_eq!((on["a"], on["b"], on["c"]), (2, 1, 1));
    assert_eq!(pool.agents.broken(), Vec::<String>::new());
    for run in 0..2 {
        let plans = plans(&pool).await;
        let [plan] = plans.as_slice() else { panic!("run {run}: {plans:?}") };
        let carried = carried(&pool, plan.decision).await;
        assert_eq!((carried.progress, carried.reason), (Progress::Done, None), "run {run}");
        assert_eq!(plan.carry_out.as_ref().map(|brief| brief.moves.len()), Some(0));
        for moved in &carried.moves {
            let task = made.iter().find(|task| Some(&task.task) == moved.task.as_ref());
            assert_eq!(task.map(|task| &task.vm_name), Some(&moved.vm_name), "run {run}");
            assert_eq!(moved.state, TaskState::Done);
        }
        pool.restart().await;
        sleep(10 * MINUTE).await;
    }
    assert_eq!(moves(&pool).await.len(), 2, "another manager finds nothing to do");
}

#[tokio::test(start_paused = true)]
async fn who_only_advises_moves_nobody() {
    let pool = crowded(SECOND).await;
    pool.ok(set(Rebalance::Advise)).await;
    sleep(5 * MINUTE).await;
    let plans = plans(&pool).await;
    let [plan] = plans.as_slice() else { panic!("{plans:?}") };
    assert_eq!((moves(&pool).await.len(), &plan.carry_out), (0, &None));
    pool.ok(set(Rebalance::Off)).await;
    sleep(2 * MINUTE).await;
    let Reply::Pools(pools) = pool.ok(Request::ListPools(v1::ListPools::default())).await else {
        panic!("pools were expected")
    };
    let shown = &pools.pools[0];
    assert_eq!((shown.rebalance, shown.advised_moves), (Rebalance::Off, None));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_fails_ends_the_plan_and_its_vm_rests() {
    let pool = crowded(SECOND).await;
    pool.agents.with("a", |host| host.refuses.insert("SendVm"));
    pool.ok(set(Rebalance::CarryOut)).await;
    let (decision, carried) = ended(&pool).await;
    assert_eq!(carried.progress, Progress::Stopped);
    let [failed, left] = carried.moves.as_slice() else { panic!("{carried:?}") };
    assert_eq!((failed.state, left.state), (TaskState::Failed, TaskState::Cancelled));
    assert!(failed.task.is_some() && left.task.is_none(), "{carried:?}");
    let reason = carried.reason.expect("a reason");
    assert!(reason.starts_with(&failed.vm_name) && reason.contains("refused"), "{reason}");
    pool.agents.with("a", |host| host.refuses.clear());
    sleep(8 * MINUTE).await;
    assert_eq!((moves(&pool).await.len(), plans(&pool).await.len()), (1, 1), "the pool rests");
    sleep(20 * MINUTE).await;
    let moved = moves(&pool).await;
    assert!(moved.len() > 1, "others are moved after that");
    let again = moved.iter().filter(|task| task.vm_name == failed.vm_name).count();
    assert_eq!(again, 1, "whoever could not be moved rests for longer");
    let now = self::carried(&pool, decision).await;
    assert_eq!((now.progress, now.moves[0].state), (Progress::Stopped, TaskState::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_somebody_cancels_ends_the_plan() {
    let pool = crowded(30 * SECOND).await;
    pool.ok(set(Rebalance::CarryOut)).await;
    let task = begun(&pool).await;
    pool.ok(Request::CancelTask(v1::CancelTask { task: task.task.clone() })).await;
    let (_, carried) = ended(&pool).await;
    assert_eq!(
        (carried.progress, carried.moves[0].state),
        (Progress::Stopped, TaskState::Cancelled)
    );
    assert_eq!(carried.moves[0].task, Some(task.task));
    sleep(5 * MINUTE).await;
    assert_eq!(moves(&pool).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_world_that_differs_ends_the_plan_and_the_next_one_is_made_of_it() {
    for how in ["paused", "destroyed", "pinned", "maintenance", "silent", "off"] {
        let pool = crowded(40 * SECOND).await;
        pool.ok(set(Rebalance::CarryOut)).await;
        begun(&pool).await;
        let latest = plans(&pool).await[0].decision;
        let next = carried(&pool, latest).await.moves[1].clone();
        let vm = next.vm.clone();
        match how {
            "paused" => drop(pool.done(Request::PauseVm(v1::PauseVm { vm })).await),
            "destroyed" => drop(pool.done(Request::DestroyVm(v1::DestroyVm { vm })).await),
            "pinned" => {
                let pins = vec![v1::Pin { host: "a".into() }];
                drop(pool.done(Request::PinVm(v1::PinVm { vm, pins })).await);
            }
            "maintenance" => drop(pool.ok(maintenance(&next.destination, true)).await),
            "silent" => {
                pool.agents.with(&next.destination, |host| host.silent = true);
            }
            _ => drop(pool.ok(set(Rebalance::Advise)).await),
        }
        let (_, carried) = ended(&pool).await;
        let states: Vec<TaskState> = carried.moves.iter().map(|moved| moved.state).collect();
        assert_eq!(states, [TaskState::Done, TaskState::Cancelled], "{how}: {carried:?}");
        assert_eq!(carried.progress, Progress::Stopped, "{how}");
        assert!(carried.reason.is_some(), "{how}");
        let made = moves(&pool).await.len();
        sleep(5 * MINUTE).await;
        assert_eq!(moves(&pool).await.len(), made, "{how}");
        assert_eq!(pool.agents.broken(), Vec::<String>::new(), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_manager_lets_the_move_go_on_and_plans_anew() {
    for crash in [false, true] {
        let mut pool = crowded(40 * SECOND).await;
        pool.ok(set(Rebalance::CarryOut)).await;
        let task = begun(&pool).await;
        let first = plans(&pool).await[0].decision;
        match crash {
            true => pool.crash().await,
            false => pool.restart().await,
        }
        assert_eq!(pool.wait(&task.task).await.state, TaskState::Done, "crash {crash}");
        sleep(4 * MINUTE).await;
        let of_first = carried(&pool, first).await;
        let states: Vec<TaskState> = of_first.moves.iter().map(|moved| moved.state).collect();
        assert_eq!(states, [TaskState::Done, TaskState::Cancelled], "crash {crash}");
        assert_eq!(of_first.moves[0].task, Some(task.task), "crash {crash}");
        assert!(of_first.reason.expect("a reason").contains("started anew"), "crash {crash}");
        sleep(10 * MINUTE).await;
        let on = count_on(&pool);
        assert_eq!((on["a"], on["b"], on["c"]), (2, 1, 1), "crash {crash}");
        assert_eq!(moves(&pool).await.len(), 2, "crash {crash}");
        assert_eq!(plans(&pool).await.len(), 2, "crash {crash}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_moved_again_before_the_cool_down_is_over_also_by_another_manager() {
    let mut pool = crowded(SECOND).await;
    pool.ok(set(Rebalance::CarryOut)).await;
    sleep(5 * MINUTE).await;
    let first = moves(&pool).await;
    assert_eq!(first.len(), 2);
    // What was moved is now where it costs most, and the other host is empty.
    let moved = first[0].vm.clone();
    let host = pool.vm(&moved).await.and_then(|vm| vm.host).expect("it runs");
    pool.agents.with(&host, |host| host.load.cpu_milli = 3900);
    pool.restart().await;
    sleep(20 * MINUTE).await;
    let again = |tasks: &[Task]| tasks.iter().filter(|task| task.vm == moved).count();
    assert_eq!(again(&moves(&pool).await), 1);
    sleep(30 * MINUTE).await;
    assert_eq!(again(&moves(&pool).await), 2, "then it may go");
}
