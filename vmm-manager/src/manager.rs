//! The manager's door: open, run, answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio_util::sync::CancellationToken;
use vmm_core::id::{HostId, VmId};
use vmm_core::units::Kib;
use vmm_proto::clock::WallClock;
use vmm_proto::credentials::Credentials;
use vmm_proto::server::{Caller, Service};
use vmm_proto::v1;

use crate::agents::{AgentCalls, BoxFuture, Dial, RemoteAgents};
use crate::config::{ManagerConfig, ManagerConfigError};
use crate::store::{MemoryStore, StoreError};

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFigures {
    /// Its id; `None` never happens for a host of the pool.
    pub host: Option<HostId>,
    /// Memory for VMs, as last reported.
    pub memory_capacity: Kib,
    /// Memory reserved on it.
    pub memory_reserved: Kib,
    /// VMs that the manager believes to have a domain there, or cannot exclude.
    pub vms: Vec<VmId>,
}

/// The manager of a pool.
pub struct Manager {}

impl Manager {
    /// Opens the store and takes up what it says. Talks to nobody yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        config: ManagerConfig,
        store: StoreLocation,
        credentials: Arc<Credentials>,
        env: Env,
    ) -> Result<Arc<Manager>, OpenError> {
        let agents =
            RemoteAgents::new(credentials, Arc::clone(&env.clock), Arc::clone(&env.dial));
        Manager::with_agents(config, store, Arc::new(agents), env.random).await
    }

    /// As [`Manager::open`], with another way to reach agents.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn with_agents(
        _config: ManagerConfig,
        _store: StoreLocation,
        _agents: Arc<dyn AgentCalls>,
        _random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    ) -> Result<Arc<Manager>, OpenError> {
        Ok(Arc::new(Manager {}))
    }

    /// Hears the hosts, and finishes what was under way when the last manager ended, until `stop`. Changes that are still
    /// under way then are left where they are, as a crash would leave them: the next [`Manager::open`] takes them up.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        stop.cancelled().await;
    }

    /// Each host by name, for checks of invariants.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, HostFigures> {
        BTreeMap::new()
    }
}

impl Service for Manager {
    fn call(
        &self,
        _caller: Caller,
        _request: v1::Request,
    ) -> BoxFuture<'_, Result<v1::Reply, v1::Fault>> {
        Box::pin(async {
            Err(v1::Fault::new(v1::FaultCode::Unsupported, "not built yet").at("manager"))
        })
    }
}
