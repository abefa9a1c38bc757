//! The agent as its owner sees it.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use thiserror::Error;
use vmm_core::id::HostId;
use vmm_proto::server::{Caller, Service};
use vmm_proto::v1::{Fault, FaultCode, Reply, Request};

use crate::config::AgentConfig;
use crate::env::{Backend, Env};

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("the state directory cannot be used")]
    State {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The agent of one host.
pub struct Agent {}

impl Agent {
    /// Starts the agent and adopts the VMs that an earlier one left running.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        _config: AgentConfig,
        _backend: Backend,
        _env: Env,
    ) -> Result<Arc<Agent>, StartError> {
        Ok(Arc::new(Agent {}))
    }

    /// Stops the agent; guests run on.
    pub async fn stop(&self) {}

    /// The host's id, kept on its disk.
    #[must_use]
    pub fn host_id(&self) -> HostId {
        HostId::from_bytes([0; 16])
    }
}

impl Service for Agent {
    fn call(&self, _: Caller, _: Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        async { Err(Fault::new(FaultCode::Unsupported, "not built yet")) }.boxed()
    }
}
