//! The inventory of 10 000 VMs, through both layers over loopback: everything, and what has changed. The hosts are a script.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vmm_manager::agents::{AgentAddress, AgentCall, AgentCalls, AgentError, BoxFuture};
use vmm_manager::{MANAGER_ID, Manager, ManagerConfig, MemoryStore, StoreLocation};
use vmm_proto::client::{CallError, CallOptions, Client, ClientOptions, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Server, ServerOptions, TcpListenerAdapter};
use vmm_proto::v1::{
    self, AgentReport, Events, FaultCode, HostFacts, Reply, ReportedVm, Request, VmPhase,
    WaitEvents,
};

use crate::protocol::median;
use crate::report::Report;

const HOSTS: usize = 20;
const VMS: usize = 10_000;
const CHANGES: usize = 10;
const ROUNDS: usize = 9;
const PAGE: u32 = 1000;
const FULL_GOAL_MS: f64 = 150.0;
const DELTA_GOAL_MS: f64 = 2.0;
/// A host tells its news this often.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Hosts that do what they are told at once.
#[derive(Default)]
struct Farm {
    vms: Mutex<BTreeMap<String, BTreeMap<String, ReportedVm>>>,
}

impl Farm {
    fn with<T>(
        &self,
        work: impl FnOnce(&mut BTreeMap<String, BTreeMap<String, ReportedVm>>) -> T,
    ) -> T {
        work(&mut self.vms.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other memory for some VMs.
    fn change(&self, round: u64) {
        self.with(|hosts| {
            let vms = hosts.values_mut().flat_map(BTreeMap::values_mut);
            for vm in vms.step_by(VMS / CHANGES).take(CHANGES) {
                vm.memory_kib = 1024 * (1000 + round);
                vm.generation += 1;
            }
        });
    }

    async fn answer(&self, host: String, request: Request) -> Result<Reply, AgentError> {
        match request {
            Request::BuildVm(build) => {
                let vm = ReportedVm {
                    vm: build.vm.clone(),
                    generation: 1,
                    phase: VmPhase::Running,
                    reason: String::new(),
                    vcpus_online: build.spec.vcpus,
                    memory_kib: build.spec.memory_kib,
                    domid: Some(1),
                    cpu_features: None,
                    rates: None,
                    migration: None,
                };
                self.with(|hosts| hosts.entry(host).or_default().insert(build.vm, vm));
                Ok(Reply::Done(v1::Done {}))
            }
            Request::AwaitReport(_) => {
                tokio::time::sleep(REPORT_EVERY).await;
                let vms = self.with(|hosts| hosts.get(&host).cloned()).unwrap_or_default();
                Ok(Reply::AgentReport(AgentReport {
                    cursor: String::new(),
                    host: format!("machine of {host}"),
                    facts: HostFacts {
                        pcpus: 128,
                        memory_kib: 4 << 30,
                        disk_bytes_per_s: 10_000_000_000,
                        disk_requests_per_s: None,
                        network_bytes_per_s: None,
                        migration_address: None,
                        ..HostFacts::default()
                    },
                    load: v1::HostLoad { memory_free_kib: 4 << 30, ..v1::HostLoad::default() },
                    stores: Vec::new(),
                    vms: vms.into_values().collect(),
                }))
            }
            other => Err(AgentError::NoReply(format!("no {}", v1::verb(&other).name))),
        }
    }
}

struct Script(Arc<Farm>);

impl AgentCalls for Script {
    fn call(
        &self,
        agent: AgentAddress,
        call: AgentCall,
    ) -> BoxFuture<'_, Result<Reply, AgentError>> {
        Box::pin(self.0.answer(agent.host, call.request))
    }
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(times(report))
}

async fn times(report: &mut Report) -> Result<()> {
    let farm = Arc::new(Farm::default());
    let count = AtomicU64::new(1);
    let random = move || u128::from(count.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
    let store = StoreLocation::Memory(MemoryStore::default());
    let agents = Arc::new(Script(Arc::clone(&farm)));
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let (config, random) = (ManagerConfig::default(), Arc::new(random));
    let manager = Manager::with_agents(config, store, agents, random, Arc::clone(&clock)).await?;
    let authority = CertificateAuthority::create(clock.now())?;
    let principal = Principal::manager(MANAGER_ID);
    let own = Arc::new(authority.issue(&principal, clock.now())?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let stop = CancellationToken::new();
    let server = Server::new(own, manager.clone(), ServerOptions::new(Arc::clone(&clock)));
    let serving = tokio::spawn(server.serve(TcpListenerAdapter(listener), stop.clone()));
    let running = tokio::spawn(manager.run(stop.clone()));
    let client = Client::new(
        Arc::new(authority.issue(&Principal::admin("bench"), clock.now())?),
        principal,
        Arc::new(TcpConnector::new(address)),
        ClientOptions::new(clock),
    );
    fill(&client).await?;
    full_reads(&client, report).await?;
    deltas(&client, &farm, report).await?;
    stop.cancel();
    serving.await??;
    Ok(running.await?)
}

async fn change(client: &Client, request: Request, key: String) -> Result<Reply, CallError> {
    client.call(request, CallOptions { idempotency_key: Some(key), deadline: None }).await
}

async fn fill(client: &Client) -> Result<()> {
    for n in 0..HOSTS {
        let add = v1::AddHost { name: format!("h{n}"), address: format!("h{n}:1"), pool: None };
        change(client, Request::AddHost(add), format!("host {n}")).await?;
    }
    tokio::time::sleep(REPORT_EVERY * 3).await;
    for n in 0..VMS {
        let create =
            || Request::CreateVm(v1::CreateVm { spec: spec(n), ..v1::CreateVm::default() });
        loop {
            match change(client, create(), format!("vm {n}")).await {
                Ok(_) => break,
                Err(CallError::Fault(fault)) if fault.code == FaultCode::Busy => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(error).context("creating the VMs"),
            }
        }
    }
    // The last tasks end, and the hosts' reports bring nothing new.
    tokio::time::sleep(REPORT_EVERY * 4).await;
    Ok(())
}

fn spec(n: usize) -> v1::Spec {
    v1::Spec {
        name: format!("web-{n:05}"),
        vcpus: 2,
        vcpus_max: 4,
        memory_kib: 1 << 20,
        memory_max_kib: 1 << 21,
        kernel: "/var/lib/smps-vmm/kernels/vmlinuz-6.1".into(),
        initramfs: Some("/var/lib/smps-vmm/kernels/initrd-6.1".into()),
        cmdline: "console=hvc0 root=/dev/xvda1 ro".into(),
        cpu_demand_milli: 10,
        disk_demand_bytes_per_s: 10_000,
        disks: vec![v1::Disk {
            path: format!("/srv/vm/web-{n:05}.img"),
            device: "xvda".into(),
            read_only: false,
        }],
        ..v1::Spec::default()
    }
}

async fn events(client: &Client, cursor: String, wait_ms_max: u64) -> Result<Events> {
    let (hosts, tasks) = (false, false);
    let wait = WaitEvents {
        cursor,
        wait_ms_max,
        count_max: PAGE,
        hosts,
        vms: true,
        tasks,
        pools: false,
        sites: false,
        groups: false,
    };
    match client.call(Request::WaitEvents(wait), CallOptions::default()).await? {
        Reply::Events(events) => Ok(events),
        other => bail!("WaitEvents was answered with {other:?}"),
    }
}

/// All pages from the beginning; the cursor behind them.
async fn read_all(client: &Client) -> Result<(usize, String)> {
    let (mut cursor, mut count) = (String::new(), 0);
    loop {
        let page = events(client, cursor, 0).await?;
        count += page.vms.len();
        cursor = page.cursor;
        if !page.more {
            return Ok((count, cursor));
        }
    }
}

async fn full_reads(client: &Client, report: &mut Report) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (count, _) = read_all(client).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(count >= VMS, "{count} VMs were read");
    }
    let name = "inventory of 10 000 VMs, all of it, in pages of 1000";
    report.at_most(name, median(&mut times), "ms", FULL_GOAL_MS);
    Ok(())
}

async fn deltas(client: &Client, farm: &Farm, report: &mut Report) -> Result<()> {
    let (_, mut cursor) = read_all(client).await?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        farm.change(u64::try_from(round)?);
        tokio::time::sleep(REPORT_EVERY * 3).await;
        let start = Instant::now();
        let delta = events(client, cursor, 0).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(delta.vms.len() == CHANGES && !delta.more, "{} VMs changed", delta.vms.len());
        cursor = delta.cursor;
    }
    let name = "inventory of 10 000 VMs, 10 changes since the cursor";
    report.at_most(name, median(&mut times), "ms", DELTA_GOAL_MS);
    Ok(())
}
