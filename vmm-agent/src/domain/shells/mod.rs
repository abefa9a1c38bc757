//! Shells: guests built before anybody asked for them, paused and nameless, so that a VM of their flavour starts at once.
//!
//! ```text
//!   a build succeeds ─► note: once more of this flavour ─► twice? ─► keep up to `shells` of it ready, one built at a time
//!   a build begins   ─► take: one of its flavour, its files unchanged ─► name, devices, xenstore, unpause
//!                              └─ none ─► a build as always
//!   memory is short  ─► give way: the oldest go first          nobody asks for its time to live ─► it goes
//! ```
//!
//! # Who owns what
//!
//! The pool owns its shells, each a domain with a uuid of its own and a record in the journal, so that an agent that died leaves
//! none behind: the next one removes them ([`super::adopt`]). A shell that is taken changes its uuid to the VM's; from then on it is
//! the VM's domain. Memory that shells hold counts as free for VMs, because they give way to them at once.
//!
//! # How it fails
//!
//! A shell that cannot be built is not there; one that is gone when it is taken makes its VM be built as always. Neither fails a
//! request. One that cannot be taken off the host stays in the journal for the next agent, and in the log.

mod flavour;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::{Scheduling, VmName, VmSpec, overhead};
use xen_bindings::{BuiltGuest, DomId, Port, Shell};

use super::site::Site;
use super::{plan, room};
use crate::core::Core;
use crate::journal::{Intent, Record};

pub(crate) use flavour::Flavour;

/// Builds of one flavour until shells of it are worth their memory.
const BUILDS_MIN: u32 = 2;
/// Shells of all flavours.
const SHELLS_MAX: usize = 16;
/// Flavours that are remembered.
const FLAVOURS_MAX: usize = 64;
/// How often the pool is looked after when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many shells are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ShellLimits {
    /// Of each flavour; 0 keeps none.
    pub per_flavour: usize,
    /// A flavour that was not asked for in this time loses its shells.
    pub time_to_live: Duration,
}

/// What a built domain consists of, for whoever takes it.
pub(crate) struct Parts {
    pub(crate) domid: DomId,
    pub(crate) shell: Shell,
    pub(crate) ports: (Port, Port),
    pub(crate) built: BuiltGuest,
}

/// A shell that waits.
pub(crate) struct Ready {
    flavour: Flavour,
    pub(crate) record: Record,
    pub(crate) parts: Parts,
}

struct Wanted {
    spec: VmSpec,
    builds: u32,
    last: Instant,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    ready: Vec<Ready>,
    wanted: BTreeMap<Flavour, Wanted>,
    /// VMs that are being built: they come first.
    builds_under_way: usize,
}

/// The pool of one host.
#[derive(Default)]
pub(crate) struct Shells {
    state: Mutex<State>,
    news: Notify,
}

/// A VM's build is under way.
pub(crate) struct Busy(Arc<Core>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.shells.lock().builds_under_way -= 1;
        self.0.shells.news.notify_one();
    }
}

impl Shells {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shells wait while a VM is built.
    pub(crate) fn build_begins(core: &Arc<Core>) -> Busy {
        core.shells.lock().builds_under_way += 1;
        Busy(core.clone())
    }

    /// A VM of this flavour was built.
    pub(crate) fn note(&self, flavour: Flavour, spec: &VmSpec) {
        let mut state = self.lock();
        if state.wanted.len() >= FLAVOURS_MAX && !state.wanted.contains_key(&flavour) {
            let oldest = state.wanted.iter().min_by_key(|(_, wanted)| wanted.last);
            if let Some(oldest) = oldest.map(|(flavour, _)| flavour.clone()) {
                state.wanted.remove(&oldest);
            }
        }
        let wanted = state.wanted.entry(flavour).or_insert_with(|| Wanted {
            spec: spec.clone(),
            builds: 0,
            last: Instant::now(),
        });
        (wanted.builds, wanted.last) = (wanted.builds.saturating_add(1), Instant::now());
        drop(state);
        self.news.notify_one();
    }

    /// A shell of this flavour, if there is one.
    pub(crate) fn take(&self, flavour: &Flavour) -> Option<Ready> {
        let mut state = self.lock();
        let place = state.ready.iter().position(|ready| ready.flavour == *flavour)?;
        Some(state.ready.remove(place))
    }

    /// One that was taken and not used.
    pub(crate) fn put_back(&self, ready: Ready) {
        self.lock().ready.push(ready);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().ready.len()
    }

    /// What the shells' VMs would be charged.
    pub(crate) fn memory(&self) -> Kib {
        let charge = |ready: &Ready| ready.record.spec.memory + overhead(&ready.record.spec);
        self.lock().ready.iter().map(charge).sum()
    }

    fn take_oldest(&self) -> Option<Ready> {
        let mut state = self.lock();
        (!state.ready.is_empty()).then(|| state.ready.remove(0))
    }

    /// One whose flavour nobody has asked for lately; nobody asks for one whose files have changed.
    fn take_stale(&self, limits: ShellLimits) -> Option<Ready> {
        let mut state = self.lock();
        let now = Instant::now();
        state.wanted.retain(|_, wanted| now - wanted.last < limits.time_to_live);
        let State { ready, wanted, .. } = &mut *state;
        let place = ready.iter().position(|ready| !wanted.contains_key(&ready.flavour))?;
        Some(ready.remove(place))
    }

    /// A flavour that has fewer shells than it should.
    fn missing(&self, limits: ShellLimits) -> Option<(Flavour, VmSpec)> {
        let state = self.lock();
        if state.builds_under_way > 0 || state.ready.len() >= SHELLS_MAX {
            return None;
        }
        let has = |flavour: &Flavour| state.ready.iter().filter(|r| r.flavour == *flavour).count();
        let short = |(flavour, wanted): &(&Flavour, &Wanted)| {
            wanted.builds >= BUILDS_MIN && has(flavour) < limits.per_flavour
        };
        let mut short = state.wanted.iter().filter(short);
        short.next().map(|(flavour, wanted)| (flavour.clone(), wanted.spec.clone()))
    }
}

/// Looks after the pool until the agent stops, and leaves none.
pub(crate) async fn keep(core: Arc<Core>) {
    let limits = core.config.shells;
    if limits.per_flavour == 0 {
        return;
    }
    loop {
        tokio::select! {
            biased;
            () = core.stop.cancelled() => break,
            () = core.shells.news.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        while let Some(stale) = core.shells.take_stale(limits) {
            remove(&core, stale).await;
        }
        while let Some((flavour, spec)) = core.shells.missing(limits) {
            if !make(&core, flavour, &spec).await {
                break;
            }
        }
    }
    while let Some(ready) = core.shells.take_oldest() {
        remove(&core, ready).await;
    }
}

/// Gives memory back to whoever needs it: shells go, oldest first, until `needed` is free or none is left.
pub(crate) async fn give_way(core: &Arc<Core>, needed: Kib) {
    let mut freed = Kib::ZERO;
    while freed < needed {
        let Some(ready) = core.shells.take_oldest() else { return };
        freed = freed + ready.record.spec.memory + overhead(&ready.record.spec);
        remove(core, ready).await;
    }
}

/// Builds one; false when it could not be.
async fn make(core: &Arc<Core>, flavour: Flavour, like: &VmSpec) -> bool {
    let uuid = VmId::from_random((core.env.random)());
    let Some(spec) = nameless(like, uuid) else { return false };
    let need = room::Need::to_build(uuid, &spec);
    let Ok(promise) = room::promise_free(core, need).await else { return false };
    let mut site = Site::new(core.clone(), Record::new(uuid, spec.clone(), None));
    let cancel = core.stop.child_token();
    let outcome = site.perform(plan::shell(), &cancel).await;
    drop(promise);
    match outcome.map(|()| site.into_shell()) {
        Ok(Some((record, parts))) => {
            tracing::info!(domid = parts.domid.get(), memory = %spec.memory, "shell ready");
            core.shells.lock().ready.push(Ready { flavour, record, parts });
            true
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(%error, "shell not built");
            // What is left of one is the next agent's to remove.
            if !error.has_left_over() {
                forget(core, uuid).await;
            }
            // Tried again when the flavour was asked for once more.
            core.shells.lock().wanted.remove(&flavour);
            false
        }
    }
}

/// What a VM is before it is somebody.
fn nameless(like: &VmSpec, uuid: VmId) -> Option<VmSpec> {
    let name = VmName::new(format!("shell-{uuid}")).ok()?;
    Some(VmSpec {
        name,
        disks: Vec::new(),
        nics: Vec::new(),
        scheduling: Scheduling::default(),
        autostart: None,
        ..like.clone()
    })
}

/// Takes one off the host.
pub(crate) async fn remove(core: &Arc<Core>, ready: Ready) {
    let (uuid, domid) = (ready.record.vm, ready.parts.domid);
    let mut site = Site::new(core.clone(), Record { intent: Intent::Shell, ..ready.record });
    let left_over = site.end().await;
    if left_over.is_empty() {
        tracing::info!(domid = domid.get(), "shell removed");
        forget(core, uuid).await;
    } else {
        tracing::error!(domid = domid.get(), ?left_over, "shell not taken off the host");
    }
}

/// Removes a shell's record.
pub(crate) async fn forget(core: &Arc<Core>, uuid: VmId) {
    let journal = core.journal.clone();
    if let Err(error) = core.env.blocking.run(move || journal.remove(uuid)).await {
        tracing::error!(%error, "record of a shell not removed");
    }
}
