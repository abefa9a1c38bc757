//! One simulated host: a machine, the agent on it, and the server in front of the agent.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmm_agent::{Agent, AgentConfig, Backend, Env};
use vmm_proto::bulk::BulkService;
use vmm_proto::clock::WallClock;
use vmm_proto::credentials::Credentials;
use vmm_proto::server::{Listener, Server, ServerOptions};
use xen_bindings::sim::SimMachine;

/// A host of the pool.
pub struct SimHost {
    /// Its name, and the network address of its agent.
    pub name: String,
    /// The machine.
    pub machine: SimMachine,
    backend: Backend,
    config: AgentConfig,
    credentials: Arc<Credentials>,
    env: Env,
    driver: CancellationToken,
    running: Option<Running>,
}

struct Running {
    agent: Arc<Agent>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl SimHost {
    /// A machine that has just booted, without an agent yet.
    ///
    /// # Errors
    /// The name is refused.
    pub fn new(
        name: &str,
        machine: SimMachine,
        state: PathBuf,
        credentials: Arc<Credentials>,
        env: Env,
    ) -> Result<Self> {
        let backend = vmm_agent::sim::backend(&machine);
        let driver = CancellationToken::new();
        tokio::spawn(vmm_agent::sim::drive(machine.clone(), driver.clone()));
        Ok(Self {
            name: name.to_owned(),
            machine,
            backend,
            config: AgentConfig::new(name, &state)?,
            credentials,
            env,
            driver,
            running: None,
        })
    }

    /// Starts the agent; it adopts what it finds.
    ///
    /// # Errors
    /// It cannot start.
    pub async fn start_agent(
        &mut self,
        listener: impl Listener,
        clock: Arc<dyn WallClock>,
    ) -> Result<()> {
        let agent = Agent::start(self.config.clone(), self.backend.clone(), self.env.clone())
            .await
            .with_context(|| format!("start the agent on {}", self.name))?;
        let stop = CancellationToken::new();
        let bulk: Arc<dyn BulkService> = Arc::<Agent>::clone(&agent);
        let options = ServerOptions { bulk: Some(bulk), ..ServerOptions::new(clock) };
        let service: Arc<Agent> = Arc::clone(&agent);
        let server = Server::new(Arc::clone(&self.credentials), service, options);
        let token = stop.clone();
        let server = tokio::spawn(async move {
            let _ = server.serve(listener, token).await;
        });
        self.running = Some(Running { agent, stop, server });
        Ok(())
    }

    /// The agent is gone in the middle of whatever it does, as after `kill -9`: its guests run on. Pull its cable first: the dead do not answer.
    pub fn crash_agent(&mut self) {
        if let Some(running) = self.running.take() {
            running.agent.kill();
            running.server.abort();
            running.stop.cancel();
        }
    }

    /// The agent ends in order, at once: its guests run on.
    pub async fn kill_agent(&mut self) {
        if let Some(running) = self.running.take() {
            running.server.abort();
            running.stop.cancel();
            running.agent.stop().await;
        }
    }

    /// The machine loses power and boots again; its agent was ended before, its disk is kept.
    pub fn power_loss(&mut self) {
        self.machine.power_loss();
        self.backend = vmm_agent::sim::backend(&self.machine);
    }

    /// Is its agent running?
    #[must_use]
    pub fn has_agent(&self) -> bool {
        self.running.is_some()
    }

    /// The host's id.
    #[must_use]
    pub fn id(&self) -> Option<vmm_core::id::HostId> {
        self.running.as_ref().map(|running| running.agent.host_id())
    }

    /// What the agent sees of the machine and of dom0.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for SimHost {
    fn drop(&mut self) {
        self.driver.cancel();
    }
}
