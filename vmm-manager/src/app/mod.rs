//! The manager's state: hosts, VMs, tasks and keys, consistent under one lock.
//!
//! A change is a list of `store::Put`s. [`State::commit`] takes it over into memory and hands it to the store, under the lock, so that the
//! next decision sees it. Before anything is acted on, and before anybody is answered, [`App::stored`] waits until it is on the disk: nothing is
//! done or told that a restart would not remember. What only the present needs (load, the last report, when a host was heard) lives
//! beside the records and is never stored.
//!
//! ```text
//!   lock ─ look, decide, commit ─ unlock ─ stored().await ─┬─ answer the caller
//!                                                          └─ tell the agent
//! ```
//!
//! The lock is held for microseconds, never over an await and never for a disk. When the store fails, the memory may be ahead of it: this
//! state then decides nothing any more, its changes stop where they are, and the manager makes another one of what is stored.

mod begin;
mod begin_all;
mod bounds;
mod decisions;
mod devices;
mod finish;
mod groups;
mod moves;
mod news;
mod own;
mod placement;
mod problem;
mod profiles;
mod report;
mod resolve;
mod show_task;
mod state;
mod turns;

pub(crate) use begin::{Begin, Choice, Deed, KeyUse, Origin, Target, store_fault};
pub(crate) use begin_all::Part;
pub(crate) use decisions::{Made, Unreadable};
pub(crate) use moves::Unsettled;
pub(crate) use news::{News, Object, Seen};
pub(crate) use placement::{Decided, Newcomer, charge_of, no_capacity};
pub(crate) use problem::demand_of;
pub(crate) use report::{Observed, off_host};
pub(crate) use show_task::Detail;
pub(crate) use state::{Host, State, Vm};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vmm_core::id::{GroupId, HostId, PoolId, SiteId, TaskId, VmId};
use vmm_proto::clock::WallClock;

use crate::agents::{AgentAddress, AgentCalls};
use crate::background::Turn;
use crate::config::ManagerConfig;
use crate::enrolment::Office;
use crate::manager::Reconciled;
use crate::store::{Contents, Store, StoreError};

/// As lowercase hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sixteen random bytes a call.
pub(crate) type Random = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// What comes from outside.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) agents: Arc<dyn AgentCalls>,
    pub(crate) random: Random,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) office: Option<Arc<Office>>,
}

impl Outside {
    /// A name for a run of the manager.
    pub(crate) fn new_run(&self) -> String {
        hex(&(self.random)()[..8])
    }
}

/// What api, workflows and background loops share.
pub(crate) struct App {
    pub(crate) config: ManagerConfig,
    pub(crate) agents: Arc<dyn AgentCalls>,
    /// Dates what happens.
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) store: Store,
    /// Ends everything that runs.
    pub(crate) stop: CancellationToken,
    pub(crate) jobs: TaskTracker,
    /// Signs certificates; none in a manager that speaks over no wire.
    pub(crate) office: Option<Arc<Office>>,
    /// Which run of the manager this is: cursors of another one mean nothing here.
    pub(crate) run: String,
    random: Random,
    state: Mutex<State>,
    /// What reconcilers have done in this run.
    reconciled: Mutex<BTreeMap<&'static str, Reconciled>>,
    changed: watch::Sender<u64>,
    /// Tests let the step of this name fail.
    #[cfg(test)]
    pub(crate) failing_step: Mutex<Option<&'static str>>,
    /// Tests let a task go no further than this.
    #[cfg(test)]
    pub(crate) halts: crate::workflow::Halts,
}

impl App {
    pub(crate) fn new(
        config: ManagerConfig,
        run: String,
        (store, contents): (Store, Contents),
        outside: Outside,
    ) -> Self {
        let Outside { agents, random, clock, office } = outside;
        let date_ms = u64::try_from(clock.now().as_millis()).unwrap_or(u64::MAX);
        let state = State::new(store.clone(), contents, config.preference, date_ms);
        Self {
            run,
            office,
            state: Mutex::new(state),
            config,
            agents,
            clock,
            stop: CancellationToken::new(),
            jobs: TaskTracker::new(),
            random,
            store,
            reconciled: Mutex::default(),
            changed: watch::Sender::new(0),
            #[cfg(test)]
            failing_step: Mutex::new(None),
            #[cfg(test)]
            halts: crate::workflow::Halts::default(),
        }
    }

    /// Waits until everything that was decided or noted is stored.
    pub(crate) async fn stored(&self) -> Result<(), StoreError> {
        self.store.stored().await
    }

    /// As [`App::stored`], for what cannot go on without. When the store has failed, this never ends: whoever waits is stopped, as in a
    /// crash.
    pub(crate) async fn until_stored(&self) {
        if self.stored().await.is_err() {
            std::future::pending().await
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a reconciler's turn.
    pub(crate) fn count_turn(&self, name: &'static str, turn: Turn) {
        let mut reconciled = self.reconciled.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = reconciled.entry(name).or_default();
        counters.turns += 1;
        counters.looked += u64::try_from(turn.looked).unwrap_or(u64::MAX);
        counters.changed += u64::try_from(turn.changed).unwrap_or(u64::MAX);
    }

    /// What each reconciler has done in this run.
    pub(crate) fn reconciled(&self) -> BTreeMap<&'static str, Reconciled> {
        self.reconciled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn tell_changed(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sees every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The date, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn new_vm_id(&self) -> VmId {
        VmId::from_random((self.random)())
    }

    pub(crate) fn new_host_id(&self) -> HostId {
        HostId::from_random((self.random)())
    }

    pub(crate) fn new_pool_id(&self) -> PoolId {
        PoolId::from_random((self.random)())
    }

    pub(crate) fn new_site_id(&self) -> SiteId {
        SiteId::from_random((self.random)())
    }

    pub(crate) fn new_group_id(&self) -> GroupId {
        GroupId::from_random((self.random)())
    }

    /// Nobody guesses it: who knows it may send the VM's memory.
    pub(crate) fn new_migration_id(&self) -> String {
        hex(&(self.random)())
    }

    pub(crate) fn new_task_id(&self) -> TaskId {
        TaskId::from_random((self.random)())
    }

    /// Between half and all of `time`, so that many who wait do not come back at once.
    pub(crate) fn jittered(&self, time: Duration) -> Duration {
        let [low, ..] = (self.random)();
        time / 2 + time.mul_f64(f64::from(low) / 510.0)
    }

    pub(crate) fn address_of(&self, host: HostId) -> Option<AgentAddress> {
        let state = self.lock();
        let record = &state.hosts.get(&host)?.record;
        Some(AgentAddress { host: record.name.clone(), address: record.address.clone() })
    }
}
