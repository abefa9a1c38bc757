//! Groups of VMs: what is placed obeys them, what stands against them is told, a restart keeps them.

use std::collections::BTreeSet;

use vmm_proto::v1::{self, FaultCode, GroupKind, Reply, Request, TaskState};

use super::Pool;
use super::asks::{delete, destroy, maintenance, refused, restore, save, start, vm};
use super::pool::{create, spec};

fn refs(vms: &[&str]) -> Vec<v1::VmRef> {
    vms.iter().map(|vm| v1::VmRef { vm: (*vm).to_owned() }).collect()
}

pub(super) fn define(group: &str, change: impl FnOnce(&mut v1::DefineGroup)) -> Request {
    let mut define = v1::DefineGroup { group: group.into(), ..v1::DefineGroup::default() };
    change(&mut define);
    Request::DefineGroup(define)
}

pub(super) fn group_of(group: &str, rule: GroupKind, vms: &[&str]) -> Request {
    define(group, |define| (define.rule, define.add) = (Some(rule), refs(vms)))
}

fn remove(group: &str) -> Request {
    Request::RemoveGroup(v1::RemoveGroup { group: group.into() })
}

fn create_in(name: &str, groups: &[&str]) -> Request {
    let groups = groups.iter().map(|group| v1::GroupRef { group: (*group).to_owned() }).collect();
    Request::CreateVm(v1::CreateVm { spec: spec(name), groups, ..v1::CreateVm::default() })
}

pub(super) async fn group(pool: &Pool, name: &str) -> v1::Group {
    match pool.ok(Request::ShowGroup(v1::ShowGroup { group: name.into() })).await {
        Reply::Group(group) => *group,
        other => panic!("{other:?}"),
    }
}

async fn groups(pool: &Pool, filter: &str) -> Vec<String> {
    let list = v1::ListGroups { filter: Some(filter.into()), ..v1::ListGroups::default() };
    match pool.ok(Request::ListGroups(list)).await {
        Reply::Groups(groups) => groups.groups.into_iter().map(|group| group.name).collect(),
        other => panic!("{other:?}"),
    }
}

fn misplaced(group: &v1::Group) -> Vec<&str> {
    let misplaced = group.members.iter().filter(|vm| vm.misplaced);
    misplaced.map(|vm| vm.vm_name.as_str()).collect()
}

fn members(group: &v1::Group) -> Vec<&str> {
    group.members.iter().map(|vm| vm.vm_name.as_str()).collect()
}

async fn host_of(pool: &Pool, name: &str) -> String {
    vm(pool, name).await.host.expect("it runs")
}

/// Creates a VM on this host.
async fn create_on(pool: &Pool, name: &str, host: &str) {
    let pins = super::pins::pins(&[host]);
    let create = v1::CreateVm { spec: spec(name), pins, ..v1::CreateVm::default() };
    pool.done(Request::CreateVm(create)).await;
    pool.ok(Request::PinVm(v1::PinVm { vm: name.into(), pins: Vec::new() })).await;
}

#[tokio::test(start_paused = true)]
async fn vms_apart_are_on_different_hosts_and_one_too_many_is_refused_by_the_groups_name() {
    let mut pool = Pool::of(&["a", "b", "c"]).await;
    pool.ok(group_of("ha", GroupKind::Apart, &[])).await;
    for name in ["v1", "v2", "v3"] {
        pool.done(create_in(name, &["ha", "ha"])).await;
    }
    let mut hosts = BTreeSet::new();
    for name in ["v1", "v2", "v3"] {
        hosts.insert(host_of(&pool, name).await);
    }
    assert_eq!(hosts.len(), 3);
    let says = "b (group ha forbids it)";
    refused(&pool, create_in("v4", &["ha"]), FaultCode::NoCapacity, says).await;
    pool.restart().await;
    pool.settle().await;
    let shown = group(&pool, "ha").await;
    assert_eq!(
        (members(&shown), shown.violated, shown.soft),
        (vec!["v1", "v2", "v3"], false, false)
    );
    refused(&pool, create_in("v4", &["ha"]), FaultCode::NoCapacity, says).await;
    let of = |vm: v1::Vm| vm.groups.into_iter().map(|group| group.group).collect::<Vec<_>>();
    assert_eq!(of(vm(&pool, "v2").await), ["ha"]);
    let list = v1::ListVms { filter: Some("group=ha".into()), ..v1::ListVms::default() };
    let Reply::Vms(found) = pool.ok(Request::ListVms(list)).await else { panic!("VMs") };
    assert_eq!(found.vms.len(), 3);
    // Whoever is gone makes room.
    pool.done(destroy("v2")).await;
    pool.ok(delete("v2")).await;
    assert_eq!(members(&group(&pool, "ha").await), ["v1", "v3"]);
    pool.done(create_in("v4", &["ha"])).await;
}

#[tokio::test(start_paused = true)]
async fn vms_together_follow_the_first_and_a_wish_gives_way_where_a_must_does_not() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.ok(group_of("pair", GroupKind::Together, &[])).await;
    pool.done(create_in("one", &["pair"])).await;
    let home = host_of(&pool, "one").await;
    pool.done(create_in("two", &["pair"])).await;
    assert_eq!(host_of(&pool, "two").await, home);
    pool.ok(maintenance(&home, true)).await;
    let says = "(group pair forbids it)";
    refused(&pool, create_in("three", &["pair"]), FaultCode::NoCapacity, says).await;
    pool.ok(define("pair", |define| define.soft = Some(true))).await;
    pool.done(create_in("three", &["pair"])).await;
    assert_ne!(host_of(&pool, "three").await, home);
    let shown = group(&pool, "pair").await;
    assert_eq!((shown.violated, misplaced(&shown)), (true, vec!["three"]));
    assert_eq!(vm(&pool, "three").await.misplaced, None, "a wish bars nobody");
    pool.ok(define("pair", |define| define.soft = Some(false))).await;
    let says = format!("group pair keeps it together with those on {home}");
    assert_eq!(vm(&pool, "three").await.misplaced, Some(says));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_violated_is_accepted_told_and_obeyed_by_plans() {
    let pool = Pool::of(&["a", "b", "c"]).await;
    for (name, host) in [("v1", "a"), ("v2", "a"), ("v3", "b")] {
        create_on(&pool, name, host).await;
    }
    let task = pool.begin(group_of("ha", GroupKind::Apart, &["v1", "v2", "v3"])).await;
    assert_eq!((task.state, task.target_name.as_deref()), (TaskState::Done, Some("ha")));
    let lines: Vec<_> = task.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["2 of them share hosts and stay there: v1, v2", "Done"]);
    assert_eq!(misplaced(&group(&pool, "ha").await), ["v1", "v2"]);
    let says = "group ha keeps it apart from v2, on the same host";
    assert_eq!(vm(&pool, "v1").await.misplaced.as_deref(), Some(says));
    assert_eq!(groups(&pool, "violated=yes and vm=v3 and rule=apart").await, ["ha"]);
    let ask = Request::PlanEvacuation(v1::PlanEvacuation { host: "a".into() });
    let Reply::Plan(plan) = pool.ok(ask).await else { panic!("a plan") };
    let moved: Vec<_> = plan.moves.iter().map(|step| step.destination.as_str()).collect();
    assert_eq!(
        (moved, plan.kept.len()),
        (vec!["c"], 1),
        "one has a place, and only there: {plan:?}"
    );
    assert!(plan.kept[0].reason.contains("group ha forbids it"), "{plan:?}");
    // Started anew, it goes where it may.
    pool.done(destroy("v1")).await;
    pool.done(start("v1")).await;
    assert_eq!(host_of(&pool, "v1").await, "c");
    let shown = group(&pool, "ha").await;
    assert!(!shown.violated && misplaced(&shown).is_empty());
    assert_eq!(vm(&pool, "v2").await.misplaced, None);
    // A restore has one host only.
    pool.done(save("v2", "/save/v2")).await;
    pool.ok(define("ha", |define| define.remove = refs(&["v3"]))).await;
    pool.done(destroy("v1")).await;
    pool.ok(maintenance("c", true)).await;
    pool.ok(maintenance("b", true)).await;
    pool.done(start("v1")).await;
    refused(&pool, restore("v2", None), FaultCode::NoCapacity, "a (group ha forbids it)").await;
}

#[tokio::test(start_paused = true)]
async fn groups_change_and_go_and_what_makes_no_sense_is_refused() {
    let mut pool = Pool::of(&["a", "b"]).await;
    for name in ["v1", "v2"] {
        pool.done(create(name)).await;
    }
    for _ in 0..2 {
        pool.ok(group_of("ha", GroupKind::Apart, &["v1", "v2"])).await;
    }
    pool.ok(define("ha", |define| {
        define.new_name = Some("web".into());
        define.notes = Some("ask ann".into());
        define.remove = refs(&["v2"]);
    }))
    .await;
    let shown = group(&pool, "web").await;
    assert_eq!((members(&shown), shown.notes.as_str()), (vec!["v1"], "ask ann"));
    assert_eq!(shown.rule, GroupKind::Apart, "what is not said stays");
    pool.ok(define(&shown.group, |define| define.add = refs(&["v2"]))).await;
    let bad = FaultCode::BadRequest;
    for (request, code, says) in [
        (define("new", |_| {}), bad, "say its rule"),
        (define("new", |d| d.new_name = Some("x".into())), FaultCode::UnknownGroup, "\"new\""),
        (group_of("a b", GroupKind::Apart, &[]), bad, "A-Z a-z 0-9"),
        (group_of("new", GroupKind::Apart, &["v9"]), FaultCode::UnknownVm, "v9"),
        (define("web", |d| (d.add, d.remove) = (refs(&["v1"]), refs(&["v1"]))), bad, "say one"),
        (
            group_of("pair", GroupKind::Together, &["v1", "v2"]),
            FaultCode::Conflict,
            "groups pair and web contradict each other: VMs v1 and v2",
        ),
        (remove("ha"), FaultCode::UnknownGroup, "vmmctl group list"),
        (create_in("v3", &["ha"]), FaultCode::UnknownGroup, "\"ha\""),
    ] {
        refused(&pool, request, code, says).await;
    }
    pool.ok(group_of("pair", GroupKind::Together, &[])).await;
    let taken = define("pair", |define| define.new_name = Some("web".into()));
    refused(&pool, taken, FaultCode::Conflict, "web").await;
    assert_eq!(groups(&pool, "vms>0").await, ["web"]);
    pool.ok(remove("web")).await;
    pool.restart().await;
    assert_eq!(groups(&pool, "").await, ["pair"]);
    assert!(vm(&pool, "v1").await.groups.is_empty());
    for n in 0..16 {
        pool.ok(group_of(&format!("g{n}"), GroupKind::Apart, &["v1"])).await;
    }
    refused(&pool, group_of("g16", GroupKind::Apart, &["v1"]), bad, "16 are the most").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_is_told_of_a_group_and_of_its_vms_when_one_of_them_moves() {
    let pool = Pool::of(&["a", "b"]).await;
    for (name, host) in [("v1", "a"), ("v2", "a")] {
        create_on(&pool, name, host).await;
    }
    pool.ok(group_of("ha", GroupKind::Apart, &["v1", "v2"])).await;
    let wait = |cursor: String| v1::WaitEvents {
        cursor,
        wait_ms_max: 1000,
        count_max: 1000,
        hosts: false,
        vms: true,
        tasks: false,
        pools: false,
        sites: false,
        groups: true,
    };
    let events = async |cursor: String| match pool.ok(Request::WaitEvents(wait(cursor))).await {
        Reply::Events(events) => events,
        other => panic!("{other:?}"),
    };
    let first = events(String::new()).await;
    assert!(first.groups[0].violated && first.vms.iter().all(|vm| vm.misplaced.is_some()));
    pool.done(destroy("v1")).await;
    let next = events(first.cursor).await;
    assert!(!next.groups[0].violated);
    let other = next.vms.iter().find(|vm| vm.spec.name == "v2").expect("told of, too");
    assert_eq!(other.misplaced, None);
    pool.ok(remove("ha")).await;
    let last = events(next.cursor).await;
    assert_eq!(last.gone[0].object, v1::ObjectKind::Group);
    assert!(last.vms.iter().all(|vm| vm.groups.is_empty()) && last.vms.len() == 2);
}
