//! What the agent is given from outside besides its host: where blocking work runs, and randomness.
//!
//! With [`Blocking::Inline`] and tokio's paused clock the whole agent runs on one thread and does the same thing each time.

use std::fmt;
use std::sync::Arc;

use vmm_proto::aead::Backend as SealBackend;
use vmm_proto::client::{Client, ClientOptions, Connector, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::LiveCredentials;
use vmm_proto::principal::Principal;
use xen_bindings::Xen;

use crate::dom0::Dom0;
use crate::kernels::Unpack;

/// Where blocking steps (hypercalls, xenstore, files) run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On tokio's blocking pool, a step at a time.
    Pool,
    /// Here and now: for a simulated host, whose steps take no time.
    Inline,
}

impl Blocking {
    /// Runs one step. A panic in it goes on in the caller.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Inline => {
                let value = work();
                // Others get their turn between two steps, as they do with a pool.
                tokio::task::yield_now().await;
                value
            }
            Self::Pool => match tokio::task::spawn_blocking(work).await {
                Ok(value) => value,
                Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
                // The runtime is going down; nobody will see an answer.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// 16 random bytes at each call.
pub type Random = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// Makes a connector to an address.
pub type Dial = Arc<dyn Fn(&str) -> Arc<dyn Connector> + Send + Sync>;

/// How this agent reaches those of other hosts.
#[derive(Clone)]
pub struct Peers {
    /// What it says who it is with.
    pub credentials: LiveCredentials,
    /// Dates certificates.
    pub clock: Arc<dyn WallClock>,
    /// To an agent's address.
    pub dial: Dial,
    /// Seals its bulk streams.
    pub seal: SealBackend,
}

impl Peers {
    /// Over TCP.
    #[must_use]
    pub fn tcp(credentials: LiveCredentials) -> Self {
        let dial = |address: &str| Arc::new(TcpConnector::new(address)) as Arc<dyn Connector>;
        Self {
            credentials,
            clock: Arc::new(SystemClock),
            dial: Arc::new(dial),
            seal: SealBackend::Fast,
        }
    }

    /// The agent of a host, which must be who its certificate says.
    pub(crate) fn client(&self, host: &str, address: &str) -> Client {
        Client::new(
            self.credentials.clone(),
            Principal::agent(host),
            (self.dial)(address),
            ClientOptions::new(self.clock.clone()),
        )
    }
}

/// The agent's surroundings.
#[derive(Clone)]
pub struct Env {
    /// Where blocking steps run.
    pub blocking: Blocking,
    /// For the host's id and the report cursor.
    pub random: Random,
    /// Agents of other hosts; one without them receives VMs and sends none.
    pub peers: Option<Peers>,
}

/// The host: a real one or a simulated one. Chosen in `main`, once.
#[derive(Clone)]
pub struct Backend {
    /// The hypervisor and xenstore.
    pub xen: Xen,
    /// dom0's Linux.
    pub dom0: Arc<dyn Dom0>,
    /// Unpacks kernels, away from the agent.
    pub unpack: Arc<dyn Unpack>,
    /// `libxc` or `simulator`; every report carries it, so that a stand-in never passes for the real thing.
    pub name: &'static str,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.name).finish_non_exhaustive()
    }
}
