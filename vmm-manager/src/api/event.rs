//! WaitEvents: what has changed since a cursor.
//!
//! A cursor is `RUN.REVISION.BASE`: of which run of the manager, and how far it has seen (see [`crate::app::Seen`]). One of another run, or of a
//! time that is forgotten, is answered from the beginning, and says so.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vmm_proto::server::Caller;
use vmm_proto::v1::{Events, Fault, FaultCode, Gone, ObjectKind, Reply, WaitEvents};

use super::task::REPLY_MARGIN;
use crate::app::{App, Detail, News, Object, Seen, State};
use crate::view::{self, Page};

/// Less than what proxies and clients take for silence.
const WAIT_MAX: Duration = Duration::from_secs(55);

/// Where a caller goes on.
struct Place {
    seen: Seen,
    resync: bool,
}

/// Answers when there is something to tell, or when the wait is over.
pub(super) async fn wait(app: &App, caller: &Caller, wait: &WaitEvents) -> Result<Reply, Fault> {
    let asked = Duration::from_millis(wait.wait_ms_max).min(WAIT_MAX);
    let left = caller.deadline.map_or(asked, |deadline| deadline.saturating_sub(REPLY_MARGIN));
    let end = Instant::now() + asked.min(left);
    let mut changes = app.changes();
    let mut place = find_place(app, &wait.cursor)?;
    loop {
        let events = look(app, &mut place, wait);
        let tells = events.resync || events.more || !is_empty(&events);
        let ended = app.stop.is_cancelled();
        if tells || ended || timeout_at(end, changes.changed()).await.is_err() {
            return Ok(Reply::Events(events));
        }
    }
}

fn is_empty(events: &Events) -> bool {
    events.hosts.is_empty()
        && events.vms.is_empty()
        && events.tasks.is_empty()
        && events.pools.is_empty()
        && events.sites.is_empty()
        && events.groups.is_empty()
        && events.gone.is_empty()
}

fn find_place(app: &App, cursor: &str) -> Result<Place, Fault> {
    let state = app.lock();
    if cursor.is_empty() {
        return Ok(Place { seen: state.journal.start(), resync: false });
    }
    let bad = || {
        let text = "this is no cursor of WaitEvents; begin with an empty one";
        Fault::new(FaultCode::BadRequest, text)
    };
    let (run, seen) = parse(cursor).ok_or_else(bad)?;
    if run == app.run && state.journal.knows(seen) {
        return Ok(Place { seen, resync: false });
    }
    Ok(Place { seen: state.journal.start(), resync: true })
}

fn parse(cursor: &str) -> Option<(&str, Seen)> {
    let mut parts = cursor.split('.');
    let run = parts.next().filter(|run| run.len() == 16)?;
    let (revision, base) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((run, Seen { revision, base }))
}

/// Everything since the place, a page of it; the place is behind it then.
fn look(app: &App, place: &mut Place, wait: &WaitEvents) -> Events {
    let mut state = app.lock();
    let now = Instant::now();
    state.note_health(now);
    let mut events = Events { resync: place.resync, ..Events::default() };
    let mut page = Page::of(Some(wait.count_max));
    let mut seen = place.seen;
    for news in state.journal.since(place.seen) {
        let is_wanted = match news.object {
            Object::Host(_) => wait.hosts,
            Object::Vm(_) => wait.vms,
            Object::Task(_) => wait.tasks,
            Object::Pool(_) => wait.pools,
            Object::Site(_) => wait.sites,
            Object::Group(_) => wait.groups,
        };
        if is_wanted && !tell(&state, &mut events, &mut page, news, now) {
            events.more = true;
            break;
        }
        seen.revision = news.revision;
    }
    if !events.more {
        seen = state.journal.end();
    }
    place.seen = seen;
    events.cursor = format!("{}.{}.{}", app.run, seen.revision, seen.base);
    events
}

/// False when the object does not fit into the answer any more.
fn tell(state: &State, events: &mut Events, page: &mut Page, news: News, now: Instant) -> bool {
    if news.is_gone {
        let (object, id) = match news.object {
            Object::Host(id) => (ObjectKind::Host, id.to_string()),
            Object::Vm(id) => (ObjectKind::Vm, id.to_string()),
            Object::Task(id) => (ObjectKind::Task, id.to_string()),
            Object::Pool(id) => (ObjectKind::Pool, id.to_string()),
            Object::Site(id) => (ObjectKind::Site, id.to_string()),
            Object::Group(id) => (ObjectKind::Group, id.to_string()),
        };
        return add(&mut events.gone, page, Gone { object, id }, |_| view::OF_GONE);
    }
    let added =
        match news.object {
            Object::Host(id) => state.hosts.get(&id).map(|host| {
                add(&mut events.hosts, page, state.show_host(host, now), view::of_host)
            }),
            Object::Vm(id) => state
                .vms
                .get(&id)
                .map(|vm| add(&mut events.vms, page, state.show_vm(vm, now), view::of_vm)),
            Object::Task(id) => state.tasks.get(&id).map(|task| {
                let shown = state.show_task(&task.record, Detail::Brief);
                add(&mut events.tasks, page, shown, view::of_task)
            }),
            Object::Pool(id) => state.places.pool(id).map(|pool| {
                add(&mut events.pools, page, state.show_pool(pool, now), view::of_pool)
            }),
            Object::Site(id) => state.places.site(id).map(|site| {
                add(&mut events.sites, page, state.show_site(site, now), view::of_site)
            }),
            Object::Group(id) => state.groups.get(id).map(|group| {
                add(&mut events.groups, page, state.show_group(group), view::of_group)
            }),
        };
    added.unwrap_or(true)
}

fn add<T>(to: &mut Vec<T>, page: &mut Page, shown: T, weight: fn(&T) -> usize) -> bool {
    let fits = page.take(weight(&shown));
    if fits {
        to.push(shown);
    }
    fits
}
