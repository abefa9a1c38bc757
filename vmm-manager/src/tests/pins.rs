//! Pins, and the pool that a VM is created in: what is placed obeys them, what stands against them is told, a restart keeps them.

use vmm_proto::v1::{self, FaultCode, Reply, Request, TaskState};

use super::Pool;
use super::asks::{destroy, maintenance, refused, restore, save, start, vm};
use super::places::{define_pool, put};
use super::pool::{create, equip, spec};

pub(super) fn pins(hosts: &[&str]) -> Vec<v1::Pin> {
    hosts.iter().map(|host| v1::Pin { host: (*host).to_owned() }).collect()
}

fn pin(vm: &str, hosts: &[&str]) -> Request {
    Request::PinVm(v1::PinVm { vm: vm.into(), pins: pins(hosts) })
}

pub(super) fn create_in(name: &str, pool: Option<&str>, hosts: &[&str]) -> Request {
    let pool = pool.map(str::to_owned);
    let create = v1::CreateVm { pool, spec: spec(name), pins: pins(hosts), ..Default::default() };
    Request::CreateVm(create)
}

async fn host_of(pool: &Pool, name: &str) -> Option<String> {
    vm(pool, name).await.host
}

fn names(pins: &[v1::Pin]) -> Vec<&str> {
    pins.iter().map(|pin| pin.host.as_str()).collect()
}

fn notes(task: &v1::Task) -> Vec<&str> {
    task.lines.iter().map(|line| line.text.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pinned_vm_starts_where_it_may_and_nowhere_else_also_after_a_restart() {
    let mut pool = Pool::of(&["a", "b", "c"]).await;
    pool.done(create_in("web", None, &["b", "c", "b"])).await;
    let first = host_of(&pool, "web").await.expect("runs");
    assert!(["b", "c"].contains(&first.as_str()), "{first}");
    pool.restart().await;
    pool.settle().await;
    assert_eq!(names(&vm(&pool, "web").await.pins), ["b", "c"]);
    pool.done(destroy("web")).await;
    pool.ok(maintenance(&first, true)).await;
    pool.done(start("web")).await;
    assert_ne!(host_of(&pool, "web").await, Some(first), "the other one of the two");
    pool.done(destroy("web")).await;
    for host in ["b", "c"] {
        pool.ok(maintenance(host, true)).await;
    }
    refused(&pool, start("web"), FaultCode::NoCapacity, "a (is no host that the VM is pinned to)")
        .await;
    assert_eq!(notes(&pool.begin(pin("web", &[])).await), ["Done"]);
    pool.done(start("web")).await;
    assert_eq!(host_of(&pool, "web").await.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_pin_that_excludes_the_host_is_accepted_and_what_it_means_is_told() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.done(create_in("web", None, &["a"])).await;
    let task = pool.begin(pin("web", &["b"])).await;
    assert_eq!(task.state, TaskState::Done);
    assert_eq!(notes(&task), ["it is on a, to which it is not pinned", "Done"]);
    let shown = vm(&pool, "web").await;
    assert_eq!(shown.host.as_deref(), Some("a"), "it stays");
    assert_eq!(shown.misplaced.as_deref(), Some("it is on a, to which it is not pinned"));
    let list = v1::ListVms { filter: Some("misplaced=yes and pin=b".into()), ..Default::default() };
    let Reply::Vms(found) = pool.ok(Request::ListVms(list)).await else { panic!("VMs") };
    assert_eq!(found.vms.len(), 1);
    pool.done(save("web", "/save/web")).await;
    let shown = vm(&pool, "web").await.misplaced.expect("still");
    assert_eq!(shown, "its memory is saved on a, to which it is not pinned");
    let says = "a (is no host that the VM is pinned to)";
    refused(&pool, restore("web", None), FaultCode::NoCapacity, says).await;
    pool.ok(pin("web", &["b", "a"])).await;
    assert_eq!(vm(&pool, "web").await.misplaced, None);
    pool.done(restore("web", None)).await;
    assert_eq!(host_of(&pool, "web").await.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_plan_moves_nobody_from_its_pin_and_one_that_is_misplaced_only_to_it() {
    let pool = Pool::of(&["a", "b", "c"]).await;
    for name in ["stays", "goes"] {
        pool.done(create_in(name, None, &["a"])).await;
    }
    pool.ok(pin("goes", &["c"])).await;
    let ask = v1::PlanEvacuation { host: "a".into() };
    let Reply::Plan(plan) = pool.ok(Request::PlanEvacuation(ask)).await else { panic!("a plan") };
    let moves: Vec<_> =
        plan.moves.iter().map(|m| (m.vm_name.as_str(), m.destination.as_str())).collect();
    assert_eq!(moves, [("goes", "c")]);
    assert_eq!(plan.kept.len(), 1);
    assert_eq!(plan.kept[0].vm_name, "stays");
    assert!(plan.kept[0].reason.contains("pinned"), "{plan:?}");
}

#[tokio::test(start_paused = true)]
async fn a_vm_comes_into_the_pool_that_it_is_created_in_and_a_host_into_its_own() {
    let pool = Pool::of(&["a"]).await;
    pool.ok(define_pool("fast", |_| {})).await;
    equip(&pool.agents, "b");
    let add = |pool: Option<&str>| {
        let (name, address) = ("b".to_owned(), "b:1".to_owned());
        Request::AddHost(v1::AddHost { name, address, pool: pool.map(str::to_owned) })
    };
    refused(&pool, add(Some("slow")), FaultCode::UnknownPool, "\"slow\"").await;
    for again in [Some("fast"), Some("fast"), None] {
        pool.ok(add(again)).await;
    }
    refused(&pool, add(Some("default")), FaultCode::Conflict, "vmmctl host move").await;
    pool.settle().await;
    pool.done(create_in("web", Some("fast"), &[])).await;
    let shown = vm(&pool, "web").await;
    assert_eq!((shown.host.as_deref(), shown.pool.as_deref()), (Some("b"), Some("fast")));
    pool.ok(maintenance("b", true)).await;
    let elsewhere = create_in("db", Some("fast"), &[]);
    refused(&pool, elsewhere, FaultCode::NoCapacity, "a (is in pool default)").await;
    let check = async |request, says: &str| {
        refused(&pool, request, FaultCode::BadRequest, says).await;
    };
    check(create_in("db", Some("fast"), &["a"]), "host a is in pool default").await;
    check(create_in("db", None, &["a", "b"]), "host b is in pool fast").await;
    check(pin("web", &["a"]), "would have to be in fast").await;
    check(pin("web", &["b"; 65]), "64 at most").await;
    refused(&pool, create_in("db", Some("slow"), &[]), FaultCode::UnknownPool, "slow").await;
    refused(&pool, pin("web", &["z"]), FaultCode::UnknownHost, "\"z\"").await;
    refused(&pool, pin("nobody", &["b"]), FaultCode::UnknownVm, "nobody").await;
    assert!(pool.vm("db").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_leaves_leaves_the_pins_but_not_as_the_last_of_one() {
    let mut pool = Pool::of(&["a", "b"]).await;
    pool.done(create("web")).await;
    pool.done(destroy("web")).await;
    pool.ok(pin("web", &["a", "b"])).await;
    let remove = |host: &str| Request::RemoveHost(v1::RemoveHost { host: host.into() });
    pool.ok(remove("b")).await;
    assert_eq!(names(&vm(&pool, "web").await.pins), ["a"]);
    refused(&pool, remove("a"), FaultCode::BadState, "pinned to (web)").await;
    pool.restart().await;
    assert_eq!(names(&vm(&pool, "web").await.pins), ["a"]);
    pool.ok(pin("web", &[])).await;
    pool.ok(remove("a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_pinned_whichever_task_changes_it() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.done(create_in("web", None, &["a"])).await;
    pool.agents.with("a", |host| host.change_time = std::time::Duration::from_secs(20));
    let task = pool.begin(destroy("web")).await;
    pool.ok(pin("web", &["b"])).await;
    pool.wait(&task.task).await;
    assert_eq!(names(&vm(&pool, "web").await.pins), ["b"]);
    pool.ok(define_pool("fast", |_| {})).await;
    pool.ok(put("b", "fast")).await;
    // It was on `a` last, so it is of that pool: rules come in their order, and the pool's is first.
    refused(&pool, start("web"), FaultCode::NoCapacity, "b (is in pool fast)").await;
}
