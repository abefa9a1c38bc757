//! Calls to agents: a small trait, so that everything above is tested without TLS, and its real half over XVMP/1.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use vmm_proto::client::{CallError, CallOptions, Client, ClientOptions, Connector};
use vmm_proto::clock::WallClock;
use vmm_proto::credentials::LiveCredentials;
use vmm_proto::principal::Principal;
use vmm_proto::v1;

/// A future that a trait object gives.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes a connector to an address.
pub type Dial = Arc<dyn Fn(&str) -> Arc<dyn Connector> + Send + Sync>;

/// Where an agent is, and who it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAddress {
    /// The host's name, for which its certificate was issued.
    pub host: String,
    /// Where it listens.
    pub address: String,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentCall {
    /// What is asked.
    pub request: v1::Request,
    /// How long to wait for the reply.
    pub deadline: Duration,
    /// For changes: the same key does it once.
    pub key: Option<String>,
}

/// Why a call gave no reply.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AgentError {
    /// The agent said no.
    #[error("{0}")]
    Fault(v1::Fault),
    /// No reply came: the request may have been carried out or not.
    #[error("no reply from its agent: {0}")]
    NoReply(String),
}

/// Reaches agents.
pub trait AgentCalls: Send + Sync + 'static {
    /// Calls one agent.
    fn call(
        &self,
        agent: AgentAddress,
        call: AgentCall,
    ) -> BoxFuture<'_, Result<v1::Reply, AgentError>>;
}

/// Agents over the network.
pub struct RemoteAgents {
    credentials: LiveCredentials,
    clock: Arc<dyn WallClock>,
    dial: Dial,
    clients: Mutex<BTreeMap<(String, String), Client>>,
}

impl RemoteAgents {
    /// Connects at the first call.
    #[must_use]
    pub fn new(credentials: LiveCredentials, clock: Arc<dyn WallClock>, dial: Dial) -> Self {
        Self { credentials, clock, dial, clients: Mutex::default() }
    }

    /// One client an agent, so that its session is shared.
    fn client(&self, agent: &AgentAddress) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // A host that moved leaves its old client behind; one a host is kept.
        clients.retain(|(host, address), _| *host != agent.host || *address == agent.address);
        let key = (agent.host.clone(), agent.address.clone());
        let make = || {
            let options =
                ClientOptions { clock: Arc::clone(&self.clock), deadline: Duration::from_secs(10) };
            Client::new(
                self.credentials.clone(),
                Principal::agent(agent.host.clone()),
                (self.dial)(&agent.address),
                options,
            )
        };
        clients.entry(key).or_insert_with(make).clone()
    }
}

impl AgentCalls for RemoteAgents {
    fn call(
        &self,
        agent: AgentAddress,
        call: AgentCall,
    ) -> BoxFuture<'_, Result<v1::Reply, AgentError>> {
        Box::pin(async move {
            let client = self.client(&agent);
            let options = CallOptions { deadline: Some(call.deadline), idempotency_key: call.key };
            client.call(call.request, options).await.map_err(|error| match error {
                CallError::Fault(fault) => {
                    AgentError::Fault(fault.at(&format!("agent {}", agent.host)))
                }
                other => AgentError::NoReply(other.to_string()),
            })
        })
    }
}
