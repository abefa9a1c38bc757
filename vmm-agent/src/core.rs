//! What all parts of one agent share. The [`crate::Agent`] is its owner; tasks hold it by `Arc`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::AgentConfig;
use crate::cpu::Processors;
use crate::device::leases::Leases;
use crate::domain::migration::Migrations;
use crate::domain::registry::Registry;
use crate::domain::room::Promises;
use crate::domain::shells::Shells;
use crate::env::{Backend, Env};
use crate::journal::{Journal, JournalError, Record};
use crate::kernels::Kernels;
use crate::memory::Balloons;
use crate::saved::SavedFiles;
use crate::server::once::Once;
use crate::stats::HostHistory;

/// Bits of a generation that count changes since the start; those above count starts.
const GENERATION_BITS: u32 = 32;

pub(crate) struct Core {
    pub(crate) config: AgentConfig,
    pub(crate) backend: Backend,
    pub(crate) env: Env,
    pub(crate) journal: Arc<Journal>,
    pub(crate) registry: Registry,
    pub(crate) leases: Leases,
    pub(crate) shells: Shells,
    pub(crate) once: Once,
    pub(crate) history: HostHistory,
    pub(crate) kernels: Kernels,
    pub(crate) processors: Processors,
    #[allow(dead_code, reason = "saving and restoring ask it from the next change on")]
    pub(crate) saved: SavedFiles,
    /// Tells this run of the agent from others, in cursors.
    pub(crate) boot: String,
    /// The newest generation of any VM; long polls wait on it.
    pub(crate) generation: watch::Sender<u64>,
    /// Memory promised to builds and growth under way.
    pub(crate) promises: Mutex<Promises>,
    pub(crate) balloons: Balloons,
    /// VMs that come and go while they run.
    pub(crate) migrations: Migrations,
    /// Cancelled: finish nothing new, leave guests running.
    pub(crate) stop: CancellationToken,
    /// `None` when the agent was killed: nothing begins any more.
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Core {
    pub(crate) fn new(config: AgentConfig, backend: Backend, env: Env, journal: Journal) -> Self {
        let boot = (env.random)().iter().map(|byte| format!("{byte:02x}")).collect();
        let first = journal.starts() << GENERATION_BITS;
        let (cache, limits) = (config.state.join("kernels"), config.kernels);
        let kernels = Kernels::open(&cache, limits, backend.unpack.clone());
        let saved = SavedFiles::new(&config.state);
        Self {
            config,
            backend,
            env,
            journal: Arc::new(journal),
            registry: Registry::default(),
            leases: Leases::default(),
            shells: Shells::default(),
            once: Once::default(),
            history: HostHistory::default(),
            kernels,
            processors: Processors::default(),
            saved,
            boot,
            generation: watch::Sender::new(first),
            promises: Mutex::default(),
            balloons: Balloons::default(),
            migrations: Migrations::default(),
            stop: CancellationToken::new(),
            tasks: Mutex::new(Some(JoinSet::new())),
        }
    }

    /// Runs one blocking step on the host.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Backend) -> T + Send + 'static,
    ) -> T {
        let backend = self.backend.clone();
        self.env.blocking.run(move || work(&backend)).await
    }

    /// Writes a record.
    pub(crate) async fn record(&self, record: &Record) -> Result<(), JournalError> {
        let (journal, record) = (self.journal.clone(), record.clone());
        self.env.blocking.run(move || journal.put(&record)).await
    }

    /// The generation of a change that happens now.
    pub(crate) fn next_generation(&self) -> u64 {
        let mut next = 0;
        self.generation.send_modify(|generation| {
            *generation += 1;
            next = *generation;
        });
        next
    }

    fn lock_tasks(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task that ends with the agent.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock_tasks();
        let Some(tasks) = &mut *tasks else { return };
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Takes the tasks, to wait for them.
    pub(crate) fn take_tasks(&self) -> JoinSet<()> {
        self.lock_tasks().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Ends the tasks where they are, and begins no other.
    pub(crate) fn kill_tasks(&self) {
        self.stop.cancel();
        // Dropped outside of the lock: what a task holds may spawn.
        let tasks = self.lock_tasks().take();
        drop(tasks);
    }
}
