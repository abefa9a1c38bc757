//! The manager's door: open, run, answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

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
use crate::app::App;
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
pub enum StoreLocation {
    /// A file; made when it is missing.
    File(PathBuf),
    /// Memory that outlives the manager.
    Memory(MemoryStore),
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

/// The manager of a pool.
pub struct Manager {
    app: Arc<App>,
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
        let agents = RemoteAgents::new(credentials.clone(), clock, dial);
        let office = Office::new(credentials, env.clock, enrolment);
        Manager::opened(config, store, Arc::new(agents), env.random, Some(office))
    }

    /// As [`Manager::open`], with another way to reach agents.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn with_agents(
        config: ManagerConfig,
        store: StoreLocation,
        agents: Arc<dyn AgentCalls>,
        random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    ) -> Result<Arc<Manager>, OpenError> {
        Manager::opened(config, store, agents, random, None)
    }

    fn opened(
        config: ManagerConfig,
        store: StoreLocation,
        agents: Arc<dyn AgentCalls>,
        random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
        office: Option<Office>,
    ) -> Result<Arc<Manager>, OpenError> {
        let config = config.validated()?;
        let stored = Store::open(&store)?;
        let app = Arc::new(App::new(config, stored, agents, random, office));
        background::give_up_unresumable(&app);
        Ok(Arc::new(Manager { app }))
    }

    /// Hears the hosts, and finishes what was under way when the last manager ended, until `stop`. Changes that are still
    /// under way then are left where they are, as a crash would leave them: the next [`Manager::open`] takes them up. The store is closed then, whoever
    /// still holds this manager.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        background::resume(&self.app);
        let app = &self.app;
        tokio::join!(
            background::hear_hosts(app),
            background::watch_health(app),
            background::renew(app),
            async {
                stop.cancelled().await;
                app.stop.cancel();
                app.tell_changed();
            }
        );
        self.app.jobs.close();
        self.app.jobs.wait().await;
        self.app.lock().close_store();
    }

    /// Each host by name, for checks of invariants.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, HostFigures> {
        let state = self.app.lock();
        let figures = state.hosts.values().map(|host| {
            let id = host.record.id;
            let vms = state.vms.values().filter(|vm| vm.record.host == Some(id));
            let figures = HostFigures {
                host: id,
                memory_capacity: host.ledger.capacity().memory,
                memory_reserved: host.ledger.reserved().memory,
                vms: vms.map(|vm| vm.record.id).collect(),
            };
            (host.record.name.clone(), figures)
        });
        figures.collect()
    }
}

#[cfg(test)]
impl Manager {
    pub(crate) fn app(&self) -> &App {
        &self.app
    }
}

impl Service for Manager {
    fn call(
        &self,
        caller: Caller,
        request: v1::Request,
    ) -> BoxFuture<'_, Result<v1::Reply, v1::Fault>> {
        Box::pin(api::answer(&self.app, caller, request))
    }
}

/// Whoever has a token is admitted; a host that says where it is to be called is in the pool then.
impl Registrar for Manager {
    fn invitation(&self, token: &str) -> Option<Invitation> {
        self.app.office.as_ref()?.invitation(token)
    }

    fn admit(
        &self,
        application: Application,
    ) -> BoxFuture<'_, Result<CertificateDer<'static>, v1::Fault>> {
        Box::pin(api::admit(&self.app, application))
    }
}
