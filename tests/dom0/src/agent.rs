//! The agent, as the manager speaks to it: over loopback, both layers of encryption, one open session.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use uuid::Uuid;
use vmm_proto::client::{CallOptions, Client, ClientOptions, TcpConnector};
use vmm_proto::clock::SystemClock;
use vmm_proto::credentials::Credentials;
use vmm_proto::principal::Principal;
use vmm_proto::v1::{
    AwaitReport, BuildVm, DestroyVm, GetHostStats, Reply, ReportedVm, Request, Spec,
};

/// A build under emulation, its kernel unpacked, beside three others.
const DEADLINE: Duration = Duration::from_secs(120);

/// A clone shares the session.
#[derive(Clone)]
pub(crate) struct Agent(Client);

impl Agent {
    pub(crate) fn new(name: &str, address: &str, credentials: &Path) -> Result<Self> {
        let credentials = Credentials::load(credentials).context("the manager's credentials")?;
        Ok(Self(Client::new(
            Arc::new(credentials),
            Principal::agent(name),
            Arc::new(TcpConnector::new(address.to_owned())),
            ClientOptions::new(Arc::new(SystemClock)),
        )))
    }

    async fn call(&self, request: Request) -> Result<Reply> {
        let key = format!("{:032x}", number()?);
        let options = CallOptions { deadline: Some(DEADLINE), idempotency_key: Some(key) };
        Ok(self.0.call(request, options).await?)
    }

    /// Builds a VM and runs it; its id.
    pub(crate) async fn build(&self, spec: Spec) -> Result<String> {
        let vm = Uuid::from_u128(number()?).to_string();
        let request = Request::BuildVm(BuildVm { vm: vm.clone(), restore_from: None, spec });
        self.call(request).await?;
        Ok(vm)
    }

    pub(crate) async fn destroy(&self, vm: &str) -> Result<()> {
        self.call(Request::DestroyVm(DestroyVm { vm: vm.to_owned() })).await.map(drop)
    }

    /// The VMs on the host, as every heartbeat lists them.
    pub(crate) async fn list(&self) -> Result<Vec<ReportedVm>> {
        match self.call(Request::AwaitReport(AwaitReport::default())).await? {
            Reply::AgentReport(report) => Ok(report.vms),
            other => bail!("the agent answered a request for a report with {other:?}"),
        }
    }

    /// What it has prepared: shells that wait to be taken.
    pub(crate) async fn shells(&self) -> Result<u32> {
        match self.call(Request::AwaitReport(AwaitReport::default())).await? {
            Reply::AgentReport(report) => Ok(report.load.shell_count),
            other => bail!("the agent answered a request for a report with {other:?}"),
        }
    }

    pub(crate) async fn sample(&self) -> Result<()> {
        let request = GetHostStats { host: String::new() };
        self.call(Request::GetHostStats(request)).await.map(drop)
    }
}

fn number() -> Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random number: {error}"))?;
    Ok(u128::from_be_bytes(bytes))
}
