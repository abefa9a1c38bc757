//! Lists: what they hold, in which order, page after page, and what it comes to.

use std::collections::BTreeSet;
use std::time::Duration;

use vmm_proto::v1::{self, FaultCode, ListHosts, ListVms, Reply, Request};

use super::asks::{create, destroy, refused};
use super::places::{define_pool, define_site, label, put, tags};
use super::pool::Pool;

async fn vms(pool: &Pool, list: ListVms) -> v1::Vms {
    match pool.ok(Request::ListVms(list)).await {
        Reply::Vms(vms) => vms,
        other => panic!("{other:?}"),
    }
}

async fn hosts(pool: &Pool, list: ListHosts) -> v1::Hosts {
    match pool.ok(Request::ListHosts(list)).await {
        Reply::Hosts(hosts) => hosts,
        other => panic!("{other:?}"),
    }
}

fn names(page: &v1::Vms) -> Vec<&str> {
    page.vms.iter().map(|vm| vm.spec.name.as_str()).collect()
}

/// Two sites, a VM on each of three hosts, one that is stopped, and what each was measured to use.
async fn peopled() -> Pool {
    let pool = Pool::of(&["h1", "h2", "h3"]).await;
    pool.ok(define_site("paris", |_| {})).await;
    pool.ok(define_pool("fast", |pool| pool.site = Some("paris".into()))).await;
    pool.ok(put("h3", "fast")).await;
    for (name, cpus) in [("web-1", 1), ("web-2", 2), ("db", 2)] {
        pool.done(create(name, |spec| (spec.vcpus, spec.vcpus_max) = (cpus, 4))).await;
    }
    pool.create("old").await;
    pool.done(destroy("old")).await;
    pool.ok(label("db", |label| label.add = tags(&["prod", "data"]))).await;
    pool.ok(label("web-2", |label| {
        label.add = tags(&["prod"]);
        label.folder = Some("/prod/web".into());
    }))
    .await;
    measure(&pool, &[("web-1", 900), ("db", 300)]).await;
    pool
}

/// What the hosts report of these VMs' processor time.
async fn measure(pool: &Pool, rates: &[(&str, u64)]) {
    for (name, cpu_milli) in rates {
        let vm = pool.vm(name).await.expect("there");
        pool.agents.with(vm.host.as_deref().expect("it runs"), |host| {
            let seen = host.vms.get_mut(&vm.vm).expect("it is there");
            seen.rates = Some(v1::VmRates {
                age_ms: 1500,
                cpu_milli: Some(*cpu_milli),
                disk_bytes_per_s: Some(4096),
                disk_requests_per_s: Some(1),
                network_bytes_per_s: None,
            });
        });
    }
    pool.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_holds_what_was_asked_for_in_the_order_that_was_asked_for() {
    let pool = peopled().await;
    let check = async |filter: &str, sort: &str, expect: &[&str]| {
        let list = ListVms {
            filter: Some(filter.to_owned()),
            sort: Some(sort.to_owned()),
            ..ListVms::default()
        };
        let page = vms(&pool, list).await;
        assert_eq!(names(&page), expect, "{filter:?} by {sort:?}");
        assert_eq!(page.next, None);
    };
    check("", "", &["db", "old", "web-1", "web-2"]).await;
    check("status=running", "-name", &["web-2", "web-1", "db"]).await;
    check("web status=running", "", &["web-1", "web-2"]).await;
    check("tag=prod and not tag=data", "", &["web-2"]).await;
    check("folder=/prod", "", &["web-2"]).await;
    check("status=stopped", "", &["old"]).await;
    check("cpu>80%", "", &["web-1"]).await;
    check("cpu-used>0.2", "-cpu-used", &["web-1", "db"]).await;
    check("", "-cpu,name", &["web-1", "db", "old", "web-2"]).await;
    check("disk>=4KiB/s", "", &["db", "web-1"]).await;
    check("vcpus-max=4", "vcpus-max,-name", &["web-2", "web-1", "db"]).await;
    check("host=\"\"", "", &["old"]).await;
    check("busy=yes or stale=yes", "", &[]).await;
    let on_fast = vms(&pool, ListVms { filter: Some("pool=fast".into()), ..Default::default() });
    let by_site = ListVms { filter: Some("site=paris".into()), ..Default::default() };
    assert_eq!(names(&on_fast.await), names(&vms(&pool, by_site).await));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_refused_with_the_place_and_the_nearest_name() {
    let pool = Pool::of(&["h1"]).await;
    let check = async |list: ListVms, says: &str| {
        refused(&pool, Request::ListVms(list), FaultCode::BadRequest, says).await;
    };
    let text = |text: &str| Some(text.to_owned());
    let list = ListVms::default;
    check(ListVms { filter: text("statu=x"), ..list() }, "where: at byte 0").await;
    check(ListVms { filter: text("statu=x"), ..list() }, "did you mean status").await;
    check(ListVms { sort: text("nam"), ..list() }, "sort: at byte 0").await;
    let (sort, after) = (text("name"), text("web"));
    check(ListVms { sort, after, ..list() }, "no end of a page").await;
    let fleet = ListHosts { filter: text("status=up"), ..ListHosts::default() };
    refused(&pool, Request::ListHosts(fleet), FaultCode::BadRequest, "a host has no field").await;
}

#[tokio::test(start_paused = true)]
async fn pages_go_on_where_they_ended_whatever_comes_and_goes() {
    let pool = Pool::of(&["h1", "h2"]).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        pool.create(name).await;
    }
    measure(&pool, &[("a", 500), ("b", 500), ("c", 100), ("e", 100)]).await;
    for sort in [None, Some("name"), Some("-name"), Some("-cpu"), Some("cpu,-name"), Some("host")] {
        let (mut seen, mut after, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let list = ListVms {
                sort: sort.map(str::to_owned),
                after: after.take(),
                count_max: Some(2),
                totals: true,
                ..ListVms::default()
            };
            let page = vms(&pool, list).await;
            pages += 1;
            for vm in &page.vms {
                assert!(seen.insert(vm.spec.name.clone()), "{} twice by {sort:?}", vm.spec.name);
            }
            assert_eq!(page.totals.expect("asked for").vm_count, 6);
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!((seen.len(), pages), (6, 3), "{sort:?}");
    }
    let by = |sort: &str, after: Option<String>| ListVms {
        sort: Some(sort.to_owned()),
        after,
        count_max: Some(2),
        ..ListVms::default()
    };
    let first = vms(&pool, by("name", None)).await;
    pool.create("aa").await;
    pool.create("cc").await;
    let second = vms(&pool, by("name", first.next.clone())).await;
    assert_eq!((names(&first), names(&second)), (vec!["a", "b"], vec!["c", "cc"]));
    let other = Request::ListVms(by("-name", first.next));
    refused(&pool, other, FaultCode::BadRequest, "in another order").await;
}

#[tokio::test(start_paused = true)]
async fn totals_are_of_everything_that_is_wanted() {
    let pool = peopled().await;
    let list = ListVms { totals: true, count_max: Some(1), ..ListVms::default() };
    let page = vms(&pool, list).await;
    let expect = v1::VmTotals {
        vm_count: 4,
        running_count: 3,
        vcpus_online: 5,
        memory_now_kib: 3 * 128 * 1024,
        cpu_used_milli: 1200,
        disk_used_bytes_per_s: 8192,
        network_used_bytes_per_s: 0,
    };
    assert_eq!((page.vms.len(), page.totals), (1, Some(expect)));
    let filter = || Some("status=running and tag=prod".to_owned());
    let list = ListVms { totals: true, filter: filter(), ..ListVms::default() };
    assert_eq!(vms(&pool, list).await.totals.expect("asked for").vm_count, 2);
    let list = ListVms { filter: filter(), ..ListVms::default() };
    assert_eq!(vms(&pool, list).await.totals, None);
    let list =
        ListHosts { totals: true, filter: Some("pool=default".into()), ..Default::default() };
    let page = hosts(&pool, list).await;
    let totals = page.totals.expect("asked for");
    assert_eq!((totals.host_count, totals.host_up_count, totals.pcpus), (2, 2, 8));
    let reserved: u64 = page.hosts.iter().map(|host| host.memory_reserved_kib).sum();
    assert_eq!(totals.memory_reserved_kib, reserved);
}

#[tokio::test(start_paused = true)]
async fn hosts_pools_and_sites_can_be_asked_for_likewise() {
    let pool = peopled().await;
    let check = async |filter: &str, sort: &str, expect: &[&str]| {
        let (filter, sort) = (Some(filter.to_owned()), Some(sort.to_owned()));
        let page = hosts(&pool, ListHosts { filter, sort, ..ListHosts::default() }).await;
        let found: Vec<&str> = page.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(found, expect);
    };
    check("site=default", "-name", &["h2", "h1"]).await;
    check("health=up cpus=4 memory=4GiB", "name", &["h1", "h2", "h3"]).await;
    check("maintenance=yes", "", &[]).await;
    check("heard>1h or memory-use>100%", "", &[]).await;
    let list = v1::ListPools { filter: Some("hosts>1".into()), totals: true, ..Default::default() };
    let Reply::Pools(pools) = pool.ok(Request::ListPools(list)).await else { panic!("pools") };
    assert_eq!((pools.count, pools.pools[0].name.as_str()), (Some(1), "default"));
    let list = v1::ListSites { sort: Some("-hosts".into()), ..Default::default() };
    let Reply::Sites(sites) = pool.ok(Request::ListSites(list)).await else { panic!("sites") };
    let found: Vec<&str> = sites.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(found, ["default", "paris"]);
    let list = ListHosts { count_max: Some(2), ..ListHosts::default() };
    let first = hosts(&pool, list).await;
    assert_eq!((first.hosts.len(), first.next.as_deref()), (2, Some("h2")));
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_grows_old_and_ends_with_the_domain() {
    let pool = peopled().await;
    let rates = pool.vm("web-1").await.and_then(|vm| vm.rates).expect("measured");
    assert_eq!((rates.cpu_milli, rates.network_bytes_per_s), (Some(900), None));
    assert!(rates.age_ms >= 1500, "{rates:?}");
    let host = pool.vm("web-1").await.and_then(|vm| vm.host).expect("it runs");
    pool.agents.with(&host, |host| host.silent = true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let older = pool.vm("web-1").await.and_then(|vm| vm.rates).expect("measured");
    assert!(older.age_ms >= rates.age_ms + 40_000, "{older:?}");
    let list = ListVms { filter: Some("measured>30s stale=yes".into()), ..ListVms::default() };
    assert!(names(&vms(&pool, list).await).contains(&"web-1"));
    pool.agents.with(&host, |host| host.silent = false);
    pool.settle().await;
    pool.done(destroy("web-1")).await;
    assert_eq!(pool.vm("web-1").await.and_then(|vm| vm.rates), None);
}
