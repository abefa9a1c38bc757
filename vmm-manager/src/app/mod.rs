//! The manager's state: hosts, VMs, tasks and keys, consistent under one lock.
//!
//! A change is a list of `store::Put`s. [`State::commit`] stores it in one transaction and only then takes it over into memory, so
//! that nothing is ever acted on which a restart would not remember. What only the present needs (load, the last report, when
//! a host was heard) lives beside the records and is never stored.
//!
//! The lock is held for microseconds and a small write to disk, never over an await.

mod begin;
mod devices;
mod finish;
mod news;
mod placement;
mod report;
mod resolve;
mod state;

pub(crate) use begin::{Begin, KeyUse, store_fault};
pub(crate) use news::{News, Object, Seen};
pub(crate) use placement::{charge_of, no_capacity};
pub(crate) use report::{Observed, off_host};
pub(crate) use state::{Host, State, Vm};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vmm_core::id::{HostId, PoolId, SiteId, TaskId, VmId};

use crate::agents::{AgentAddress, AgentCalls};
use crate::config::ManagerConfig;
use crate::enrolment::Office;
use crate::store::{Contents, Store};

/// Sixteen random bytes a call.
pub(crate) type Random = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// What api, workflows and background loops share.
pub(crate) struct App {
    pub(crate) config: ManagerConfig,
    pub(crate) agents: Arc<dyn AgentCalls>,
    /// Ends everything that runs.
    pub(crate) stop: CancellationToken,
    pub(crate) jobs: TaskTracker,
    /// Signs certificates; none in a manager that speaks over no wire.
    pub(crate) office: Option<Office>,
    /// Which run of the manager this is: cursors of another one mean nothing here.
    pub(crate) run: String,
    random: Random,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// Tests let the step of this name fail.
    #[cfg(test)]
    pub(crate) failing_step: Mutex<Option<&'static str>>,
}

impl App {
    pub(crate) fn new(
        config: ManagerConfig,
        (store, contents): (Store, Contents),
        agents: Arc<dyn AgentCalls>,
        random: Random,
        office: Option<Office>,
    ) -> Self {
        let run = (random)().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self {
            run,
            office,
            state: Mutex::new(State::new(store, contents, config.preference)),
            config,
            agents,
            stop: CancellationToken::new(),
            jobs: TaskTracker::new(),
            random,
            changed: watch::Sender::new(0),
            #[cfg(test)]
            failing_step: Mutex::new(None),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell_changed(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sees every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
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
