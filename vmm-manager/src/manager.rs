//! The manager's door: open, run, answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;
use vmm_core::id::{HostId, VmId};
use vmm_core::units::Kib;
use vmm_proto::clock::WallClock;
use vmm_proto::credentials::{CertificateDer, LiveCredentials};
use vmm_proto::enrolment::{Application, Invitation, Registrar};
use vmm_proto::server::{Caller, Service};
use vmm_proto::v1;

use crate::agents::{AgentCalls, BoxFuture, Dial, RemoteAgents};
use crate::app::{App, Outside};
use crate::config::{ManagerConfig, ManagerConfigError};
use crate::enrolment::{Enrolment, Office};
use crate::store::{MemoryStore, Store, StoreError};
use crate::{api, background};

/// The id of the manager's principal: agents and users expect `manager/manager`.
pub const MANAGER_ID: &str = "manager";

/// What comes from outside: randomness, the date, and the network.
#[derive(Clone)]
pub struct Env {
    /// Sixteen random bytes a call: ids and jitter.
    pub random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// Dates certificates.
    pub clock: Arc<dyn WallClock>,
    /// Makes a connector to an agent's address.
    pub dial: Dial,
}

/// Where the store lies.
#[derive(Clone, Debug)]
#[cfg_attr(test, allow(private_interfaces, reason = "tests of this crate alone have faulty ones"))]
pub enum StoreLocation {
    /// A file; made when it is missing.
    File(PathBuf),
    /// Memory that outlives the manager.
    Memory(MemoryStore),
    /// One that fails when it is told to.
    #[cfg(test)]
    Faulty(crate::store::faulty::Faulty),
}

/// Why a manager cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A limit cannot work.
    #[error("the configuration is refused")]
    Config(#[from] ManagerConfigError),
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
}

/// One host's figures, as the manager has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFigures {
    /// Its id.
    pub host: HostId,
    /// Memory for VMs, as last reported.
    pub memory_capacity: Kib,
    /// Memory reserved on it.
    pub memory_reserved: Kib,
    /// VMs that the manager believes to have a domain there, or cannot exclude.
    pub vms: Vec<VmId>,
}

/// What a reconciler has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Looks.
    pub turns: u64,
    /// Things that were looked at, in all of them.
    pub looked: u64,
    /// Things where something changed.
    pub changed: u64,
}

/// The first wait before the store is opened again; doubles up to the last.
const REOPEN_FIRST: Duration = Duration::from_millis(200);
const REOPEN_LAST: Duration = Duration::from_secs(30);

/// The manager of a pool.
pub struct Manager {
    config: ManagerConfig,
    location: StoreLocation,
    outside: Outside,
    /// Another one after the store has failed.
    app: Mutex<Arc<App>>,
}

impl Manager {
    /// Opens the store and takes up what it says. Talks to nobody yet. Without an `enrolment` nobody is admitted and nothing renewed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        config: ManagerConfig,
        store: StoreLocation,
        credentials: impl Into<LiveCredentials>,
        enrolment: Option<Enrolment>,
        env: Env,
    ) -> Result<Arc<Manager>, OpenError> {
        let credentials = credentials.into();
        let (clock, dial) = (Arc::clone(&env.clock), Arc::clone(&env.dial));
        let agents = Arc::new(RemoteAgents::new(credentials.clone(), clock, dial));
        let clock = Arc::clone(&env.clock);
        let office = Some(Arc::new(Office::new(credentials, env.clock, enrolment)));
        let outside = Outside { agents, random: env.random, clock, office };
        Manager::opened(config, store, outside).await
    }

    /// As [`Manager::open`], with another way to reach agents.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn with_agents(
        config: ManagerConfig,
        store: StoreLocation,
        agents: Arc<dyn AgentCalls>,
        random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
        clock: Arc<dyn WallClock>,
    ) -> Result<Arc<Manager>, OpenError> {
        let outside = Outside { agents, random, clock, office: None };
        Manager::opened(config, store, outside).await
    }

    async fn opened(
        config: ManagerConfig,
        location: StoreLocation,
        outside: Outside,
    ) -> Result<Arc<Manager>, OpenError> {
        let config = config.validated()?;
        let app = Mutex::new(open_app(&config, &location, &outside).await?);
        Ok(Arc::new(Manager { config, location, outside, app }))
    }

    /// What answers now.
    pub(crate) fn app(&self) -> Arc<App> {
        Arc::clone(&self.app.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hears the hosts, and finishes what was under way when the last manager ended, until `stop`. Changes that are still
    /// under way then are left where they are, as a crash would leave them: the next [`Manager::open`] takes them up. The store is closed then, whoever
    /// still holds this manager.
    ///
    /// When the store fails, all stops as if the manager had crashed, and goes on with what is found in the store when it can be opened again.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let app = self.app();
            work(&app, &stop).await;
            app.store.close().await;
            if stop.is_cancelled() {
                return;
            }
            tracing::error!("the store failed; it is opened anew");
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.reopen() => tracing::warn!("the store is open again"),
            }
        }
    }

    /// Tries until the store can be read.
    async fn reopen(&self) {
        let mut pause = REOPEN_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            match open_app(&self.config, &self.location, &self.outside).await {
                Ok(app) => {
                    *self.app.lock().unwrap_or_else(PoisonError::into_inner) = app;
                    return;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the store cannot be opened; tried again");
                }
            }
            pause = (pause * 2).min(REOPEN_LAST);
        }
    }

    /// What each reconciler has done, by its name.
    #[must_use]
    pub fn reconciled(&self) -> BTreeMap<&'static str, Reconciled> {
        self.app().reconciled()
    }

    /// Each host by name, for checks of invariants.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, HostFigures> {
        let app = self.app();
        let state = app.lock();
        let figures = state.hosts.values().map(|host| {
            let id = host.record.id;
            let figures = HostFigures {
                host: id,
                memory_capacity: host.ledger.capacity().memory,
                memory_reserved: host.ledger.reserved().memory,
                vms: state.vms_on(id).collect(),
            };
            (host.record.name.clone(), figures)
        });
        figures.collect()
    }
}

/// The state as it is stored; what cannot be taken up is given up.
async fn open_app(
    config: &ManagerConfig,
    location: &StoreLocation,
    outside: &Outside,
) -> Result<Arc<App>, StoreError> {
    let run = outside.new_run();
    let stored = Store::open(location, &run, outside.clock.now()).await?;
    let app = Arc::new(App::new(config.clone(), run, stored, outside.clone()));
    background::give_up_unresumable(&app);
    Ok(app)
}

/// All that runs, until `stop` or until the store fails. Dropped, it leaves nothing running.
async fn work(app: &Arc<App>, stop: &CancellationToken) {
    let _ends = app.stop.clone().drop_guard();
    background::resume(app);
    tokio::join!(
        background::hear_hosts(app),
        background::reconcile(app),
        background::renew(app),
        async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = app.store.keep(&*app.clock) => {}
            }
            app.stop.cancel();
            app.tell_changed();
        }
    );
    app.jobs.close();
    app.jobs.wait().await;
}

impl Service for Manager {
    fn call(
        &self,
        caller: Caller,
        request: v1::Request,
    ) -> BoxFuture<'_, Result<v1::Reply, v1::Fault>> {
        let app = self.app();
        Box::pin(async move { api::answer(&app, caller, request).await })
    }
}

/// Whoever has a token is admitted; a host that says where it is to be called is in the pool then.
impl Registrar for Manager {
    fn invitation(&self, token: &str) -> Option<Invitation> {
        self.outside.office.as_ref()?.invitation(token)
    }

    fn admit(
        &self,
        application: Application,
    ) -> BoxFuture<'_, Result<CertificateDer<'static>, v1::Fault>> {
        let app = self.app();
        Box::pin(async move { api::admit(&app, application).await })
    }
}
