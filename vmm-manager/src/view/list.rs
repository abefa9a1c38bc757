//! Lists: a query, an order, a page, totals. One way for all kinds of objects.

use std::collections::BTreeMap;

use tokio::time::Instant;
use vmm_core::id::PoolId;
use vmm_core::query::{Query, QueryError, Record, Sort};
use vmm_proto::v1::{
    Capacity, Fault, FaultCode, Groups, Hosts, ListGroups, ListHosts, ListPools, ListSites,
    ListVms, Pools, Reply, Sites, VmPhase, VmTotals, Vms,
};

use super::page::{self, Page};
use super::rows::{GroupRow, HostRow, PoolRow, SiteRow, VmRow};
use super::show::{add_capacity, add_host, shown_site};
use super::{cursor, show};
use crate::app::{App, State};

/// What a caller asked for.
struct Asked<'a> {
    filter: Option<&'a str>,
    sort: Option<&'a str>,
    after: Option<&'a str>,
    count_max: Option<u32>,
    totals: bool,
}

macro_rules! asked {
    ($($list:ident)*) => {$(
        impl<'a> From<&'a $list> for Asked<'a> {
            fn from(list: &'a $list) -> Self {
                Self {
                    filter: list.filter.as_deref(),
                    sort: list.sort.as_deref(),
                    after: list.after.as_deref(),
                    count_max: list.count_max,
                    totals: list.totals,
                }
            }
        }
    )*};
}

asked! { ListVms ListHosts ListPools ListSites ListGroups }

impl Asked<'_> {
    /// Then a place in it is a name.
    fn is_plain(&self) -> bool {
        self.filter.is_none() && self.sort.is_none()
    }

    /// As it was before there were pages.
    fn says_nothing(&self) -> bool {
        self.is_plain() && self.after.is_none() && self.count_max.is_none()
    }
}

/// A page of wanted rows, and what to ask for next.
struct Listed<T> {
    shown: Vec<T>,
    next: Option<String>,
}

fn refused(what: &str, error: &QueryError) -> Fault {
    Fault::new(FaultCode::BadRequest, format!("{what}: {error}"))
}

/// The rows that are wanted and come behind the page before; each wanted one is counted, wherever it comes.
fn wanted<R: Record>(
    rows: impl Iterator<Item = R>,
    asked: &Asked<'_>,
    sort: &Sort<R::Field>,
    mut count: impl FnMut(&R),
) -> Result<Vec<R>, Fault> {
    let query = Query::parse(asked.filter.unwrap_or_default());
    let query = query.map_err(|error| refused("where", &error))?;
    let bound = match asked.after {
        None => None,
        Some(name) if asked.is_plain() => Some(cursor::behind_name(name)),
        Some(text) => Some(cursor::read(sort, text)?),
    };
    let mut behind = Vec::new();
    for row in rows.filter(|row| query.matches(row)) {
        count(&row);
        if bound.as_ref().is_none_or(|bound| sort.is_behind(&row, bound)) {
            behind.push(row);
        }
    }
    Ok(behind)
}

/// Brings the first so many to the front, in order.
fn order<R: Record>(rows: &mut Vec<R>, sort: &Sort<R::Field>, count_max: usize) {
    if count_max < rows.len() {
        rows.select_nth_unstable_by(count_max, |one, other| sort.compare(one, other));
        rows.truncate(count_max);
    }
    rows.sort_unstable_by(|one, other| sort.compare(one, other));
}

fn list<R: Record, T>(
    rows: impl Iterator<Item = R>,
    asked: &Asked<'_>,
    count: impl FnMut(&R),
    (show, weigh): (impl Fn(&R) -> T, fn(&T) -> usize),
) -> Result<Listed<T>, Fault> {
    let sort = Sort::parse(asked.sort.unwrap_or_default());
    let sort = sort.map_err(|error| refused("sort", &error))?;
    let mut behind = wanted(rows, asked, &sort, count)?;
    let all = behind.len();
    let mut page = if asked.says_nothing() { None } else { Some(Page::of(asked.count_max)) };
    order(&mut behind, &sort, page.as_ref().map_or(usize::MAX, Page::count_max));
    let mut shown = Vec::with_capacity(behind.len());
    for row in &behind {
        let object = show(row);
        if page.as_mut().is_some_and(|page| !page.take(weigh(&object))) {
            break;
        }
        shown.push(object);
    }
    let last = shown.len().checked_sub(1).and_then(|last| behind.get(last));
    let next = last.filter(|_| shown.len() < all).map(|row| {
        let bound = sort.bound(row);
        match (asked.is_plain(), bound.keys.first()) {
            (true, Some(vmm_core::query::Key::Text(name))) => name.clone(),
            _ => cursor::write(&sort, bound),
        }
    });
    Ok(Listed { shown, next })
}

/// VMs: those that are wanted, a page of them.
pub(crate) fn list_vms(app: &App, asked: &ListVms) -> Result<Reply, Fault> {
    let (state, now) = (app.lock(), Instant::now());
    // A list of VMs was always one of pages.
    let asked = Asked { count_max: asked.count_max.or(Some(u32::MAX)), ..Asked::from(asked) };
    let rows = state.vms.values().map(|vm| VmRow::of(&state, vm, now));
    let mut totals = VmTotals::default();
    let count = |row: &VmRow<'_>| {
        if asked.totals {
            add_vm(&mut totals, row);
        }
    };
    let show = (|row: &VmRow<'_>| state.show_vm(row.vm, now), page::of_vm as fn(&_) -> _);
    let listed = list(rows, &asked, count, show)?;
    let totals = asked.totals.then_some(totals);
    Ok(Reply::Vms(Vms { next: listed.next, totals, vms: listed.shown }))
}

fn add_vm(totals: &mut VmTotals, row: &VmRow<'_>) {
    totals.vm_count += 1;
    totals.running_count += u64::from(row.vm.record.phase == VmPhase::Running);
    if !row.has_domain() {
        return;
    }
    let measured = row.measured();
    let (cpu, disk) = (measured.and_then(|m| m.cpu), measured.and_then(|m| m.disk));
    let network = measured.and_then(|measured| measured.network).unwrap_or_default();
    for (sum, part) in [
        (&mut totals.vcpus_online, u64::from(row.vm.vcpus_online)),
        (&mut totals.memory_now_kib, row.vm.memory_now_kib),
        (&mut totals.cpu_used_milli, cpu.unwrap_or_default().0),
        (&mut totals.disk_used_bytes_per_s, disk.unwrap_or_default().0),
        (&mut totals.network_used_bytes_per_s, network.0),
    ] {
        *sum = sum.saturating_add(part);
    }
}

/// Hosts: those that are wanted.
pub(crate) fn list_hosts(app: &App, asked: &ListHosts) -> Result<Reply, Fault> {
    let (state, now) = (app.lock(), Instant::now());
    let asked = Asked::from(asked);
    let rows = state.hosts.values().map(|host| HostRow::of(&state, host, now));
    let mut totals = Capacity::default();
    let count = |row: &HostRow<'_>| {
        if asked.totals {
            add_host(&mut totals, row.host, now);
        }
    };
    let show = (|row: &HostRow<'_>| state.show_host(row.host, now), page::of_host as fn(&_) -> _);
    let listed = list(rows, &asked, count, show)?;
    let totals = asked.totals.then_some(totals);
    Ok(Reply::Hosts(Hosts { next: listed.next, totals, hosts: listed.shown }))
}

/// Pools: those that are wanted.
pub(crate) fn list_pools(app: &App, asked: &ListPools) -> Result<Reply, Fault> {
    let (state, now) = (app.lock(), Instant::now());
    let (asked, sums) = (Asked::from(asked), sums(&state, now));
    let rows = state.places.pools().map(|pool| PoolRow {
        pool,
        site: state.places.site(pool.site),
        capacity: sums.get(&pool.id).copied().unwrap_or_default(),
    });
    let mut count = 0;
    let show = |row: &PoolRow<'_>| state.shown_pool(row.pool, row.site, row.capacity);
    let listed = list(rows, &asked, |_| count += 1, (show, page::of_pool as fn(&_) -> _))?;
    let count = asked.totals.then_some(count);
    Ok(Reply::Pools(Pools { next: listed.next, count, pools: listed.shown }))
}

/// Sites: those that are wanted.
pub(crate) fn list_sites(app: &App, asked: &ListSites) -> Result<Reply, Fault> {
    let (state, now) = (app.lock(), Instant::now());
    let (asked, sums) = (Asked::from(asked), sums(&state, now));
    let rows = state.places.sites().map(|site| {
        let (mut capacity, mut pool_count) = (Capacity::default(), 0);
        for pool in state.pools_of(site.id) {
            pool_count += 1;
            add_capacity(&mut capacity, &sums.get(&pool.id).copied().unwrap_or_default());
        }
        SiteRow { site, pool_count, capacity }
    });
    let mut count = 0;
    let show = |row: &SiteRow<'_>| shown_site(row.site, row.pool_count, row.capacity);
    let listed = list(rows, &asked, |_| count += 1, (show, page::of_site as fn(&_) -> _))?;
    let count = asked.totals.then_some(count);
    Ok(Reply::Sites(Sites { next: listed.next, count, sites: listed.shown }))
}

/// Groups of VMs: those that are wanted.
pub(crate) fn list_groups(app: &App, asked: &ListGroups) -> Result<Reply, Fault> {
    let (state, asked) = (app.lock(), Asked::from(asked));
    let rows = state.groups.all().map(|group| GroupRow { state: &state, group });
    let mut count = 0;
    let show = |row: &GroupRow<'_>| state.show_group(row.group);
    let listed = list(rows, &asked, |_| count += 1, (show, page::of_group as fn(&_) -> _))?;
    let count = asked.totals.then_some(count);
    Ok(Reply::Groups(Groups { next: listed.next, count, groups: listed.shown }))
}

/// What the hosts of each pool have, by one look at each host.
fn sums(state: &State, now: Instant) -> BTreeMap<PoolId, Capacity> {
    let mut sums = BTreeMap::new();
    for host in state.hosts.values() {
        show::add_host(sums.entry(host.record.pool).or_default(), host, now);
    }
    sums
}
