//! The pool: its parts, how they start, and how they break.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmm_agent::{Blocking, Env, Peers};
use vmm_core::id::HostId;
use vmm_core::invariant::{HostFacts, Violation, check_pool};
use vmm_manager::{MANAGER_ID, Manager, ManagerConfig, MemoryStore, StoreLocation};
use vmm_proto::client::{CallError, CallOptions, Client, ClientOptions, Connector};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Server, ServerOptions};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{Reply, Request};
use xen_bindings::contract::StoreFlavour;
use xen_bindings::sim::{SimConfig, SimMachine};

use super::SimHost;
use super::facts::host_facts;
use super::size::{DOM0_KIB, Size};

/// The date on which every simulated day begins: 2026-01-01.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);
/// The network address of the manager.
const MANAGER: &str = "manager";
/// How long one call of the operator may take.
const CALL_DEADLINE: Duration = Duration::from_secs(300);

/// An invariant does not hold, or the pool cannot go on.
pub type PoolError = anyhow::Error;

/// A source of ids that a seed decides.
#[must_use]
pub fn random_bytes(seed: u64) -> Arc<dyn Fn() -> [u8; 16] + Send + Sync> {
    let rng = Mutex::new(StdRng::seed_from_u64(seed));
    Arc::new(move || {
        let mut bytes = [0; 16];
        if let Ok(mut rng) = rng.lock() {
            rng.fill_bytes(&mut bytes);
        }
        bytes
    })
}

/// Who asks the manager. A clone is the same one.
#[derive(Clone)]
pub struct Operator {
    /// His client.
    pub client: Client,
    keys: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
}

impl Operator {
    /// Asks the manager.
    ///
    /// # Errors
    /// The fault, or that nobody answered.
    pub async fn ask(&self, request: Request) -> Result<Reply, CallError> {
        let mutating = vmm_proto::v1::verb(&request).mutating;
        let idempotency_key = mutating.then(|| uuid::Uuid::from_bytes((self.keys)()).to_string());
        let options = CallOptions { deadline: Some(CALL_DEADLINE), idempotency_key };
        self.client.call(request, options).await
    }
}

/// A manager and its hosts.
pub struct Pool {
    /// The network between all parts; names are addresses.
    pub network: MemoryNetwork,
    /// The hosts, in order of name.
    pub hosts: Vec<SimHost>,
    /// Who asks.
    pub operator: Operator,
    /// Files that guests are built from: a kernel and disks, as the simulator wants them.
    pub files: TempDir,
    store: MemoryStore,
    manager: Option<RunningManager>,
    credentials: Arc<Credentials>,
    clock: Arc<dyn WallClock>,
    seed: u64,
    managers_started: u64,
}

struct RunningManager {
    manager: Arc<Manager>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts a pool and joins its hosts.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(seed: u64, size: Size) -> Result<Self> {
        let clock: Arc<dyn WallClock> = Arc::new(TokioClock::starting_at(EPOCH));
        let authority = CertificateAuthority::create(EPOCH)?;
        let issue = |principal: Principal| {
            Ok::<_, PoolError>(Arc::new(authority.issue(&principal, EPOCH)?))
        };
        let (network, files) = (MemoryNetwork::new(), scratch()?);
        std::fs::write(files.path().join("kernel"), "SIMKERNEL")?;
        let mut hosts = Vec::new();
        for n in 1..=size.hosts {
            let name = format!("host{n}");
            let machine = machine(seed.wrapping_mul(31).wrapping_add(n), size);
            let state = files.path().join(&name);
            let credentials = issue(Principal::agent(name.clone()))?;
            let dial = network.clone();
            let peers = Peers {
                credentials: credentials.clone().into(),
                clock: Arc::clone(&clock),
                dial: Arc::new(move |address| {
                    Arc::new(dial.connector(address)) as Arc<dyn Connector>
                }),
                seal: vmm_proto::aead::Backend::Fast,
            };
            let random = random_bytes(seed.wrapping_mul(1009).wrapping_add(n));
            let env = Env { blocking: Blocking::Inline, random, peers: Some(peers) };
            let mut host = SimHost::new(&name, machine, state, credentials, env)?;
            host.start_agent(network.listener(&name), Arc::clone(&clock)).await?;
            hosts.push(host);
        }
        let options = ClientOptions { clock: Arc::clone(&clock), deadline: CALL_DEADLINE };
        let user = issue(Principal::admin("operator"))?;
        let connector: Arc<dyn Connector> = Arc::new(network.connector(MANAGER));
        let client = Client::new(user, Principal::manager(MANAGER_ID), connector, options);
        let credentials = issue(Principal::manager(MANAGER_ID))?;
        let store = MemoryStore::default();
        let operator = Operator { client, keys: random_bytes(seed ^ 0x6b65_7973) };
        let mut pool = Self {
            network,
            hosts,
            operator,
            files,
            store,
            manager: None,
            credentials,
            clock,
            seed,
            managers_started: 0,
        };
        pool.start_manager().await?;
        pool.join().await?;
        Ok(pool)
    }

    async fn join(&mut self) -> Result<()> {
        for n in 0..self.hosts.len() {
            let name = self.hosts[n].name.clone();
            let add = vmm_proto::v1::AddHost { name: name.clone(), address: name, pool: None };
            self.ask(Request::AddHost(add)).await?;
        }
        // One long poll's time is enough for the first report of each.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    /// Starts the manager on the store that the last one left.
    ///
    /// # Errors
    /// The store is refused.
    pub async fn start_manager(&mut self) -> Result<()> {
        self.managers_started += 1;
        let network = self.network.clone();
        let env = vmm_manager::Env {
            random: random_bytes(self.seed.wrapping_add(self.managers_started << 32)),
            clock: Arc::clone(&self.clock),
            dial: Arc::new(move |address| {
                Arc::new(network.connector(address)) as Arc<dyn Connector>
            }),
        };
        let location = StoreLocation::Memory(self.store.clone());
        let credentials = Arc::clone(&self.credentials);
        let manager =
            Manager::open(ManagerConfig::default(), location, credentials, None, env).await?;
        let stop = CancellationToken::new();
        let service: Arc<Manager> = Arc::clone(&manager);
        let options = ServerOptions::new(Arc::clone(&self.clock));
        let server = Server::new(Arc::clone(&self.credentials), service, options);
        let (listener, token) = (self.network.listener(MANAGER), stop.clone());
        let serving = tokio::spawn(async move {
            let _ = server.serve(listener, token).await;
        });
        let background = tokio::spawn(Arc::clone(&manager).run(stop.clone()));
        self.manager = Some(RunningManager { manager, stop, tasks: vec![serving, background] });
        Ok(())
    }

    /// Is a manager running?
    #[must_use]
    pub fn has_manager(&self) -> bool {
        self.manager.is_some()
    }

    /// The manager is gone at once, in the middle of whatever it does.
    pub fn kill_manager(&mut self) {
        if let Some(running) = self.manager.take() {
            self.network.unplug(MANAGER);
            running.stop.cancel();
            for task in running.tasks {
                task.abort();
            }
        }
    }

    /// Starts a host's agent after a kill or a power loss.
    ///
    /// # Errors
    /// It cannot start.
    pub async fn start_agent(&mut self, index: usize) -> Result<()> {
        let host = self.hosts.get_mut(index).context("no such host")?;
        let listener = self.network.listener(&host.name);
        host.start_agent(listener, Arc::clone(&self.clock)).await
    }

    /// Asks the manager, as the operator.
    ///
    /// # Errors
    /// The fault, or that nobody answered.
    pub async fn ask(&self, request: Request) -> Result<Reply, CallError> {
        self.operator.ask(request).await
    }

    /// What is true, by host. `quiet` as in [`host_facts`].
    ///
    /// # Errors
    /// A machine refuses to say.
    pub fn facts(&self, quiet: bool) -> Result<BTreeMap<HostId, HostFacts>> {
        let figures =
            self.manager.as_ref().map(|running| running.manager.facts()).unwrap_or_default();
        let mut all = BTreeMap::new();
        for (host, n) in self.hosts.iter().zip(1u64..) {
            let mut facts = host_facts(host, quiet && host.has_agent())?;
            if let Some(figures) = figures.get(&host.name) {
                facts.memory_capacity = figures.memory_capacity;
                facts.memory_reserved = figures.memory_reserved;
            }
            all.insert(host.id().unwrap_or(HostId::from_bytes(u128::from(n).to_be_bytes())), facts);
        }
        Ok(all)
    }

    /// Asserts the invariants.
    ///
    /// # Errors
    /// The one that is broken.
    pub fn check(&self, quiet: bool) -> Result<(), PoolError> {
        check_pool(&self.facts(quiet)?).map_err(|violation: Violation| anyhow!(violation))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.kill_manager();
    }
}

/// Where the pool's files lie. Nothing of them outlives it, so memory serves, where there is a file system of it: agents wait for their disk often.
fn scratch() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

fn machine(seed: u64, size: Size) -> SimMachine {
    let start = tokio::time::Instant::now();
    let config = SimConfig {
        seed,
        memory_total_kib: size.memory_total_kib(),
        dom0_memory_kib: DOM0_KIB,
        // Pools are mixed.
        store: if seed.is_multiple_of(2) { StoreFlavour::C } else { StoreFlavour::Ocaml },
        ..SimConfig::default()
    };
    SimMachine::new(config, Arc::new(move || start.elapsed()))
}
