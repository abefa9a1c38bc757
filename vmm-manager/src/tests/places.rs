//! Sites, pools, and what people write on objects: who may stand where, what is remembered, who is told.

use vmm_proto::v1::{self, FaultCode, Reply, Request};

use super::asks::{destroy, discard, refused, save};
use super::pool::Pool;

pub(super) fn define_site(site: &str, change: impl FnOnce(&mut v1::DefineSite)) -> Request {
    let mut define = v1::DefineSite { site: site.into(), ..v1::DefineSite::default() };
    change(&mut define);
    Request::DefineSite(define)
}

pub(super) fn define_pool(pool: &str, change: impl FnOnce(&mut v1::DefinePool)) -> Request {
    let mut define = v1::DefinePool { pool: pool.into(), ..v1::DefinePool::default() };
    change(&mut define);
    Request::DefinePool(define)
}

fn remove_site(site: &str) -> Request {
    Request::RemoveSite(v1::RemoveSite { site: site.into() })
}

fn remove_pool(pool: &str) -> Request {
    Request::RemovePool(v1::RemovePool { pool: pool.into() })
}

pub(super) fn put(host: &str, pool: &str) -> Request {
    Request::SetHostPool(v1::SetHostPool { host: host.into(), pool: pool.into() })
}

pub(super) fn label(vm: &str, change: impl FnOnce(&mut v1::LabelVm)) -> Request {
    let mut label = v1::LabelVm { vm: vm.into(), ..v1::LabelVm::default() };
    change(&mut label);
    Request::LabelVm(label)
}

pub(super) fn tags(names: &[&str]) -> Vec<v1::Tag> {
    names.iter().map(|name| v1::Tag { name: (*name).to_owned() }).collect()
}

pub(super) async fn pools(pool: &Pool) -> Vec<v1::Pool> {
    match pool.ok(Request::ListPools(v1::ListPools::default())).await {
        Reply::Pools(pools) => pools.pools,
        other => panic!("{other:?}"),
    }
}

async fn sites(pool: &Pool) -> Vec<v1::Site> {
    match pool.ok(Request::ListSites(v1::ListSites::default())).await {
        Reply::Sites(sites) => sites.sites,
        other => panic!("{other:?}"),
    }
}

async fn host(pool: &Pool, name: &str) -> v1::Host {
    match pool.ok(Request::ListHosts(v1::ListHosts::default())).await {
        Reply::Hosts(hosts) => hosts.hosts.into_iter().find(|h| h.name == name).expect("there"),
        other => panic!("{other:?}"),
    }
}

fn names<T>(objects: &[T], name: impl Fn(&T) -> &str) -> Vec<&str> {
    objects.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn places_are_made_changed_remembered_and_removed() {
    let mut pool = Pool::of(&["h1"]).await;
    assert_eq!(names(&pools(&pool).await, |pool| &pool.name), ["default"]);
    let shown = host(&pool, "h1").await;
    assert_eq!((shown.pool.as_str(), shown.site.as_str()), ("default", "default"));
    for _ in 0..2 {
        pool.ok(define_site("paris", |site| site.notes = Some("room 2".into()))).await;
        pool.ok(define_pool("fast", |pool| pool.site = Some("paris".into()))).await;
    }
    pool.ok(define_pool("fast", |pool| pool.notes = Some("NVMe".into()))).await;
    pool.ok(define_site("default", |site| site.new_name = Some("berlin".into()))).await;
    pool.ok(put("h1", "fast")).await;
    pool.restart().await;
    pool.settle().await;
    let sites = sites(&pool).await;
    assert_eq!(names(&sites, |site| &site.name), ["berlin", "paris"]);
    assert!(sites[0].first && !sites[1].first);
    assert_eq!((sites[1].notes.as_str(), sites[1].pool_count), ("room 2", 1));
    assert_eq!((sites[0].capacity.host_count, sites[1].capacity.host_count), (0, 1));
    let pools = pools(&pool).await;
    assert_eq!(names(&pools, |pool| &pool.site), ["berlin", "paris"]);
    assert_eq!((pools[1].name.as_str(), pools[1].notes.as_str()), ("fast", "NVMe"));
    let capacity = pools[1].capacity;
    assert_eq!((capacity.host_up_count, capacity.pcpus, capacity.memory_kib), (1, 4, 4 << 20));
    let shown = host(&pool, "h1").await;
    assert_eq!((shown.pool.as_str(), shown.site.as_str()), ("fast", "paris"));
    pool.ok(put("h1", "default")).await;
    pool.ok(remove_pool("fast")).await;
    pool.ok(remove_site("paris")).await;
    assert_eq!(names(&self::pools(&pool).await, |pool| &pool.name), ["default"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_use_or_not_there_is_refused_with_what_to_do() {
    let pool = Pool::of(&["h1"]).await;
    pool.ok(define_site("paris", |_| {})).await;
    pool.ok(define_pool("fast", |pool| pool.site = Some("paris".into()))).await;
    pool.ok(put("h1", "fast")).await;
    let check = async |request, code, says: &str| refused(&pool, request, code, says).await;
    check(remove_pool("fast"), FaultCode::BadState, "pool fast has 1 hosts (h1)").await;
    check(remove_site("paris"), FaultCode::BadState, "site paris has 1 pools (fast)").await;
    check(remove_pool("default"), FaultCode::BadState, "from the beginning").await;
    check(remove_site("default"), FaultCode::BadState, "from the beginning").await;
    check(remove_pool("slow"), FaultCode::UnknownPool, "\"slow\"").await;
    check(remove_site("rome"), FaultCode::UnknownSite, "\"rome\"").await;
    check(put("h1", "slow"), FaultCode::UnknownPool, "\"slow\"").await;
    check(put("h9", "fast"), FaultCode::UnknownHost, "\"h9\"").await;
    check(define_pool("a b", |_| {}), FaultCode::BadRequest, "A-Z a-z 0-9").await;
    check(
        define_pool("slow", |pool| pool.site = Some("rome".into())),
        FaultCode::UnknownSite,
        "\"rome\"",
    )
    .await;
    let taken = |name: &str| Some(name.to_owned());
    check(define_pool("fast", |p| p.new_name = taken("default")), FaultCode::Conflict, "default")
        .await;
    check(define_site("rome", |s| s.new_name = taken("x")), FaultCode::UnknownSite, "rome").await;
    check(
        define_site("paris", |site| site.notes = Some("x".repeat(4097))),
        FaultCode::BadRequest,
        "4096",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_host_changes_its_pool_only_when_nothing_is_on_it_and_stopped_vms_follow() {
    let pool = Pool::of(&["h1"]).await;
    pool.ok(define_pool("fast", |_| {})).await;
    pool.create("web").await;
    refused(&pool, put("h1", "fast"), FaultCode::BadState, "(web)").await;
    pool.ok(put("h1", "default")).await;
    pool.done(save("web", "/save/web")).await;
    refused(&pool, put("h1", "fast"), FaultCode::BadState, "(web)").await;
    pool.ok(discard("web")).await;
    pool.create("db").await;
    pool.done(destroy("db")).await;
    let place = async || pool.vm("db").await.and_then(|vm| vm.pool);
    assert_eq!(place().await.as_deref(), Some("default"));
    pool.ok(put("h1", "fast")).await;
    assert_eq!(place().await.as_deref(), Some("fast"));
}

#[tokio::test(start_paused = true)]
async fn labels_are_written_whatever_the_vm_does_and_survive() {
    let mut pool = Pool::of(&["h1"]).await;
    pool.create("web").await;
    pool.ok(label("web", |label| {
        label.add = tags(&["prod", "tier:1", "prod"]);
        label.folder = Some("/prod/web/".into());
        label.notes = Some("ask ann".into());
    }))
    .await;
    // A task owns it now.
    pool.agents.with("h1", |host| host.change_time = std::time::Duration::from_secs(20));
    let task = pool.begin(destroy("web")).await;
    pool.ok(label("web", |label| {
        label.add = tags(&["a"]);
        label.remove = tags(&["tier:1", "never"]);
    }))
    .await;
    pool.wait(&task.task).await;
    pool.restart().await;
    let vm = pool.vm("web").await.expect("there");
    assert_eq!(names(&vm.tags, |tag| &tag.name), ["a", "prod"]);
    assert_eq!((vm.folder.as_deref(), vm.notes.as_str()), (Some("/prod/web"), "ask ann"));
    assert_eq!(vm.phase, v1::VmPhase::Destroyed);
    let host_label = |add: &[&str]| {
        let (host, notes) = ("h1".to_owned(), Some("rack 4".to_owned()));
        Request::LabelHost(v1::LabelHost { host, notes, add: tags(add), remove: Vec::new() })
    };
    pool.ok(host_label(&["gpu", "prod"])).await;
    let Reply::Labels(labels) = pool.ok(Request::ListLabels(v1::ListLabels {})).await else {
        panic!("labels")
    };
    let used: Vec<_> =
        labels.tags.iter().map(|t| (t.name.as_str(), t.vm_count, t.host_count)).collect();
    assert_eq!(used, [("a", 1, 0), ("gpu", 0, 1), ("prod", 1, 1)]);
    let folders: Vec<_> = labels.folders.iter().map(|f| (f.path.as_str(), f.vm_count)).collect();
    assert_eq!(folders, [("/prod", 0), ("/prod/web", 1)]);
    assert!(!labels.cut);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_refused() {
    let pool = Pool::of(&["h1"]).await;
    pool.create("web").await;
    let check = async |request, says: &str| {
        refused(&pool, request, FaultCode::BadRequest, says).await;
    };
    check(label("web", |_| {}), "nothing is to be changed").await;
    check(label("web", |label| label.add = tags(&["a b"])), "\"a b\"").await;
    check(label("web", |label| label.folder = Some("prod".into())), "/prod/web").await;
    check(label("web", |label| label.notes = Some("x".repeat(4097))), "4096").await;
    check(
        label("web", |label| {
            label.add = tags(&["a"]);
            label.remove = tags(&["a"]);
        }),
        "say one",
    )
    .await;
    let many: Vec<String> = (0..33).map(|n| format!("t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(label("web", |label| label.add = tags(&many)), "33 tags").await;
    refused(&pool, label("db", |_| {}), FaultCode::UnknownVm, "db").await;
}
