//! The agent as its owner sees it: start, serve, stop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use thiserror::Error;
use vmm_core::id::HostId;
use vmm_proto::bulk::{BulkService, IncomingStream};
use vmm_proto::server::{Caller, Service};
use vmm_proto::v1::{Fault, Reply, Request};
use xen_bindings::XenError;

use crate::config::AgentConfig;
use crate::core::Core;
use crate::domain::{adopt, shells};
use crate::env::{Backend, Env};
use crate::journal::{Journal, JournalError};
use crate::memory;
use crate::server;
use crate::share;
use crate::stats;
use crate::watch::Bell;

/// How long a stopping agent waits for steps under way.
const DRAIN: Duration = Duration::from_secs(30);
/// Fires when a domain has shut down or is gone.
const RELEASED: &str = "@releaseDomain";

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("the state directory cannot be used")]
    Journal(#[from] JournalError),
    /// Xen does not say which domains there are.
    #[error("the hypervisor does not list its domains")]
    Xen(#[from] XenError),
}

/// The agent of one host. Dropped, it ends at once, as if it had been killed; guests run on either way.
pub struct Agent {
    core: Arc<Core>,
}

impl Agent {
    /// Starts the agent: opens its journal, adopts the VMs that an earlier agent left running, and removes what one left
    /// half-built.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: AgentConfig,
        backend: Backend,
        env: Env,
    ) -> Result<Arc<Agent>, StartError> {
        let (state, random) = (config.state.clone(), (env.random)());
        let journal = env.blocking.run(move || Journal::open(&state, random)).await?;
        let agent = Agent { core: Arc::new(Core::new(config, backend, env, journal)) };
        let core = &agent.core;
        // The watch comes first, so that nothing that ends from here on is missed.
        let released = match Bell::hang(core, RELEASED).await {
            Ok(bell) => Some(bell),
            Err(error) => {
                tracing::warn!(%error, "no watch on released domains; the samples will tell");
                None
            }
        };
        share::give_dom0(core).await;
        adopt::reconcile(core).await?;
        core.spawn(stats::sample_forever(core.clone(), released));
        core.spawn(memory::keep_giving_back(core.clone()));
        core.spawn(shells::keep(core.clone()));
        tracing::info!(host_id = %agent.host_id(), backend = core.backend.name, "agent started");
        Ok(Arc::new(agent))
    }

    /// Stops the agent in order: builds under way are taken back, guests run on.
    pub async fn stop(&self) {
        self.core.stop.cancel();
        let mut tasks = self.core.take_tasks();
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("tasks are cut off; the next agent will clean up after them");
        }
        tracing::info!("agent stopped");
    }

    /// Ends it at once, as if it had been killed: what is under way stays half done, guests run on. The next agent cleans up.
    pub fn kill(&self) {
        self.core.kill_tasks();
    }

    /// The host's id, made at the agent's first start and kept in its state directory.
    #[must_use]
    pub fn host_id(&self) -> HostId {
        self.core.journal.host_id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

impl BulkService for Agent {
    fn stream(&self, incoming: IncomingStream) -> BoxFuture<'_, ()> {
        let core = self.core.clone();
        async move { server::migration::stream(&core, incoming).await }.boxed()
    }
}

impl Service for Agent {
    fn call(&self, caller: Caller, request: Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        server::answer(self.core.clone(), caller, request).boxed()
    }
}
