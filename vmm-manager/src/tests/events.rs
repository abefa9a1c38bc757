//! Events: whoever follows them has what the lists have.

use std::collections::BTreeMap;
use std::time::Duration;

use vmm_proto::v1::{self, Events, FaultCode, ListVms, ObjectKind, Reply, Request, WaitEvents};

use super::asks::destroy;
use super::places::{define_pool, define_site, put};
use super::pool::Pool;
use super::spec;

fn wait(cursor: &str, wait_ms_max: u64, count_max: u32) -> WaitEvents {
    let cursor = cursor.to_owned();
    let (hosts, vms, tasks, pools, sites, groups) = (true, true, true, true, true, true);
    WaitEvents { cursor, wait_ms_max, count_max, hosts, vms, tasks, pools, sites, groups }
}

async fn ask(pool: &Pool, wait: WaitEvents) -> Events {
    match pool.ok(Request::WaitEvents(wait)).await {
        Reply::Events(events) => events,
        other => panic!("{other:?}"),
    }
}

/// What somebody knows who has seen these answers.
#[derive(Default)]
struct Follower {
    cursor: String,
    hosts: BTreeMap<String, v1::Host>,
    vms: BTreeMap<String, v1::Vm>,
    tasks: BTreeMap<String, v1::Task>,
    pools: BTreeMap<String, v1::Pool>,
    sites: BTreeMap<String, v1::Site>,
    groups: BTreeMap<String, v1::Group>,
}

impl Follower {
    async fn follow(&mut self, pool: &Pool, count: u32) {
        loop {
            let events = ask(pool, wait(&self.cursor, 0, count)).await;
            if events.resync {
                *self = Self::default();
            }
            self.hosts.extend(events.hosts.into_iter().map(|host| (host.host.clone(), host)));
            self.vms.extend(events.vms.into_iter().map(|vm| (vm.vm.clone(), vm)));
            self.tasks.extend(events.tasks.into_iter().map(|task| (task.task.clone(), task)));
            self.pools.extend(events.pools.into_iter().map(|pool| (pool.pool.clone(), pool)));
            self.sites.extend(events.sites.into_iter().map(|site| (site.site.clone(), site)));
            self.groups.extend(events.groups.into_iter().map(|one| (one.group.clone(), one)));
            for gone in events.gone {
                match gone.object {
                    ObjectKind::Host => drop(self.hosts.remove(&gone.id)),
                    ObjectKind::Vm => drop(self.vms.remove(&gone.id)),
                    ObjectKind::Task => drop(self.tasks.remove(&gone.id)),
                    ObjectKind::Pool => drop(self.pools.remove(&gone.id)),
                    ObjectKind::Site => drop(self.sites.remove(&gone.id)),
                    ObjectKind::Group => drop(self.groups.remove(&gone.id)),
                }
            }
            self.cursor = events.cursor;
            if !events.more {
                return;
            }
        }
    }

    async fn check(&self, pool: &Pool) {
        let Reply::Vms(vms) = pool.ok(Request::ListVms(ListVms::default())).await else {
            panic!("VMs")
        };
        let listed: BTreeMap<_, _> = vms.vms.into_iter().map(|vm| (vm.vm.clone(), vm)).collect();
        assert_eq!(self.vms, listed);
        let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(v1::ListTasks::default())).await
        else {
            panic!("tasks")
        };
        let listed: BTreeMap<_, _> =
            tasks.tasks.into_iter().map(|task| (task.task.clone(), task)).collect();
        assert_eq!(self.tasks, listed);
        let Reply::Hosts(hosts) = pool.ok(Request::ListHosts(v1::ListHosts::default())).await
        else {
            panic!("hosts")
        };
        // When it was heard and what it does just now are no events.
        let lasting = |host: &v1::Host| v1::Host { heard_ms_ago: None, load: None, ..host.clone() };
        let known: Vec<_> = self.hosts.values().map(lasting).collect();
        let mut listed: Vec<_> = hosts.hosts.iter().map(lasting).collect();
        listed.sort_by(|a, b| a.host.cmp(&b.host));
        assert_eq!(known, listed);
        self.check_places(pool).await;
    }

    /// Sums change without an event.
    async fn check_places(&self, pool: &Pool) {
        let Reply::Pools(pools) = pool.ok(Request::ListPools(v1::ListPools::default())).await
        else {
            panic!("pools")
        };
        let lasting =
            |pool: &v1::Pool| v1::Pool { capacity: v1::Capacity::default(), ..pool.clone() };
        let known: Vec<_> = self.pools.values().map(lasting).collect();
        let mut listed: Vec<_> = pools.pools.iter().map(lasting).collect();
        listed.sort_by(|a, b| a.pool.cmp(&b.pool));
        assert_eq!(known, listed);
        let Reply::Sites(sites) = pool.ok(Request::ListSites(v1::ListSites::default())).await
        else {
            panic!("sites")
        };
        let told = |site: &v1::Site| (site.site.clone(), site.name.clone(), site.notes.clone());
        let known: Vec<_> = self.sites.values().map(told).collect();
        let mut listed: Vec<_> = sites.sites.iter().map(told).collect();
        listed.sort();
        assert_eq!(known, listed);
        let list = Request::ListGroups(v1::ListGroups::default());
        let Reply::Groups(groups) = pool.ok(list).await else { panic!("groups") };
        let known: Vec<_> = self.groups.values().cloned().collect();
        let mut listed = groups.groups;
        listed.sort_by(|a, b| a.group.cmp(&b.group));
        assert_eq!(known, listed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_knows_what_the_lists_say_after_each_change() {
    let mut pool = Pool::of(&["h1", "h2"]).await;
    let (mut small, mut large) = (Follower::default(), Follower::default());
    for step in 0..9 {
        match step {
            0 => {}
            1..=4 => drop(pool.create(&format!("vm{step}")).await),
            5 => pool.agents.with("h1", |host| host.silent = true),
            6 => pool.agents.with("h1", |host| host.silent = false),
            7 => pool.restart().await,
            _ => {
                pool.done(Request::DestroyVm(v1::DestroyVm { vm: "vm1".into() })).await;
                pool.ok(Request::DeleteVm(v1::DeleteVm { vm: "vm1".into() })).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        small.follow(&pool, 1).await;
        small.check(&pool).await;
        if step % 3 == 2 {
            large.follow(&pool, 1000).await;
            large.check(&pool).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_knows_where_everything_is() {
    let mut pool = Pool::of(&["h1", "h2"]).await;
    let mut follower = Follower::default();
    drop(pool.create("web").await);
    for step in 0..9 {
        match step {
            0 => drop(pool.ok(define_site("paris", |_| {})).await),
            1 => drop(pool.ok(define_pool("fast", |p| p.site = Some("paris".into()))).await),
            2 => drop(pool.done(destroy("web")).await),
            3 => {
                pool.ok(put("h1", "fast")).await;
                pool.ok(put("h2", "fast")).await;
            }
            4 => drop(pool.ok(define_pool("fast", |p| p.new_name = Some("slow".into()))).await),
            5 => drop(pool.ok(define_site("paris", |s| s.new_name = Some("rome".into()))).await),
            6 => drop(pool.ok(define_pool("slow", |p| p.site = Some("default".into()))).await),
            7 => drop(pool.ok(Request::RemoveSite(v1::RemoveSite { site: "rome".into() })).await),
            _ => {
                for host in ["h1", "h2"] {
                    pool.ok(Request::RemoveHost(v1::RemoveHost { host: host.into() })).await;
                }
                pool.ok(Request::RemovePool(v1::RemovePool { pool: "slow".into() })).await;
            }
        }
        follower.follow(&pool, 2).await;
        follower.check(&pool).await;
    }
    pool.restart().await;
    follower.follow(&pool, 100).await;
    follower.check(&pool).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_at_once_and_only_what_concerns_him() {
    let pool = Pool::of(&["h1"]).await;
    let now = ask(&pool, wait("", 0, 1000)).await;
    assert!(!now.resync && !now.more && now.hosts.len() == 1);
    let before = tokio::time::Instant::now();
    let quiet = ask(&pool, wait(&now.cursor, 20_000, 1000)).await;
    assert!(quiet.hosts.is_empty() && before.elapsed() >= Duration::from_secs(20));
    let before = tokio::time::Instant::now();
    let (told, _) = tokio::join!(ask(&pool, wait(&quiet.cursor, 50_000, 1000)), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let create = v1::CreateVm { spec: spec("web"), ..v1::CreateVm::default() };
        pool.ok(Request::CreateVm(create)).await
    });
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(told.vms.len(), 1);
    let vms_only = WaitEvents { hosts: false, tasks: false, ..wait(&quiet.cursor, 0, 1000) };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = ask(&pool, vms_only).await;
    assert!(told.hosts.is_empty() && told.tasks.is_empty() && told.vms.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_manager_begins_anew_and_one_that_is_none_is_refused() {
    let mut pool = Pool::of(&["h1"]).await;
    let old = ask(&pool, wait("", 0, 1000)).await.cursor;
    pool.restart().await;
    let anew = ask(&pool, wait(&old, 50_000, 1000)).await;
    assert!(anew.resync && anew.hosts.len() == 1);
    let on = ask(&pool, wait(&anew.cursor, 0, 1000)).await;
    assert!(!on.resync);
    for bad in ["x", "1.2.3", "0011223344556677", "0011223344556677.1", "0011223344556677.x.0"] {
        let fault = pool.call(None, Request::WaitEvents(wait(bad, 0, 10))).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::BadRequest, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_comes_in_pages_in_order() {
    let pool = Pool::of(&["h1"]).await;
    for name in ["d", "b", "a", "c", "e"] {
        drop(pool.create(name).await);
    }
    for count in 1..=6 {
        let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let list =
                ListVms { after: after.take(), count_max: Some(count), ..ListVms::default() };
            let Reply::Vms(page) = pool.ok(Request::ListVms(list)).await else { panic!("VMs") };
            names.extend(page.vms.into_iter().map(|vm| vm.spec.name));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        assert_eq!(pages, 5_u32.div_ceil(count));
    }
}
