//! The unified view over 10 000 VMs on 500 hosts in 3 sites: cold start, memory, and lists by query, order and page, while the hosts report.
//!
//! One process fills a store, as users would: hosts, sites, pools, VMs, tags. Another one opens it, so that its times and its memory are
//! those of a manager that has just been started. The hosts are a script; the manager is called directly, as its HTTP edge calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio_util::sync::CancellationToken;
use vmm_manager::agents::{AgentAddress, AgentCall, AgentCalls, AgentError, BoxFuture};
use vmm_manager::{Manager, ManagerConfig, StoreLocation};
use vmm_proto::clock::SystemClock;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Service as _};
use vmm_proto::v1::{
    self, AgentReport, FaultCode, HostFacts, ListHosts, ListVms, Reply, ReportedVm, Request,
    VmPhase, VmRates,
};

use crate::report::Report;

const HOSTS: usize = 500;
const VMS: usize = 10_000;
const SITES: usize = 3;
const POOLS: usize = 12;
const ROUNDS: usize = 100;
const PAGE: u32 = 100;
const COLD: &str = "cold start to the first list";
const MEMORY: &str = "memory of the manager's process";
const P99: &str = "lists, p99 of all";
const LIST_GOAL_MS: f64 = 20.0;
const COLD_GOAL_S: f64 = 3.0;
const MEMORY_GOAL_MB: f64 = 300.0;
/// As long as a real agent's poll lasts when nothing happens.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long the last VMs may take to run.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// What users ask lists for, and in which order.
const LISTS: &[(&str, &str)] = &[
    ("", ""),
    ("web-00042", ""),
    ("status=running and host=h17 and tag~prod and cpu>0.01", "name"),
    ("site=site-1 tag=prod", "-cpu,name"),
    ("folder=/prod/team-3 memory>512MiB", "-memory"),
    ("not (status=running or tag=test)", "host,name"),
    ("host in (h1, h2, h3) or mac:ff", "-cpu-used"),
    ("status=running cpu>20%", "-cpu"),
];

/// Hosts that do what they are told at once.
#[derive(Default)]
struct Farm(Mutex<BTreeMap<String, BTreeMap<String, ReportedVm>>>);

impl Farm {
    fn put(&self, host: String, vm: String, spec: &v1::Spec) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = hosts.entry(host).or_default();
        let number = u64::try_from(here.len()).unwrap_or_default();
        let rates = VmRates {
            age_ms: 900,
            cpu_milli: Some(number * 97 % 1000),
            disk_bytes_per_s: Some(number * 40_960),
            disk_requests_per_s: Some(number),
            network_bytes_per_s: Some(number * 1500),
        };
        let seen = ReportedVm {
            vm: vm.clone(),
            generation: 1,
            phase: VmPhase::Running,
            reason: String::new(),
            vcpus_online: spec.vcpus,
            memory_kib: spec.memory_kib,
            domid: Some(1),
            cpu_features: None,
            rates: Some(rates),
            migration: None,
        };
        here.insert(vm, seen);
    }

    fn report(&self, host: &str) -> AgentReport {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let vms = hosts.get(host).map(|vms| vms.values().cloned().collect());
        AgentReport {
            cursor: "1".to_owned(),
            host: format!("machine of {host}"),
            facts: HostFacts {
                pcpus: 64,
                memory_kib: 256 << 20,
                disk_bytes_per_s: 1_000_000_000,
                disk_requests_per_s: None,
                network_bytes_per_s: None,
                migration_address: None,
                ..HostFacts::default()
            },
            load: v1::HostLoad { memory_free_kib: 128 << 20, ..v1::HostLoad::default() },
            stores: Vec::new(),
            vms: vms.unwrap_or_default(),
        }
    }
}

/// The hosts, as the manager reaches them.
struct Script {
    farm: Arc<Farm>,
    /// Of those that have reported: while a store is filled, they report no sooner than a poll lasts, whatever is asked. Else each task's
    /// end would have all hosts asked for everything, which is not what is measured.
    calm: Option<Mutex<BTreeSet<String>>>,
}

impl Script {
    fn waits(&self, host: &str, cursor: &str) -> bool {
        let Some(calm) = &self.calm else { return !cursor.is_empty() };
        !calm.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned())
    }
}

impl AgentCalls for Script {
    fn call(
        &self,
        agent: AgentAddress,
        call: AgentCall,
    ) -> BoxFuture<'_, Result<Reply, AgentError>> {
        Box::pin(async move {
            match call.request {
                Request::BuildVm(build) => {
                    self.farm.put(agent.host, build.vm, &build.spec);
                    Ok(Reply::Done(v1::Done {}))
                }
                Request::AttachDisk(_) => Ok(Reply::Done(v1::Done {})),
                Request::AwaitReport(wait) => {
                    if self.waits(&agent.host, &wait.cursor) {
                        tokio::time::sleep(REPORT_EVERY).await;
                    }
                    Ok(Reply::AgentReport(self.farm.report(&agent.host)))
                }
                other => Err(AgentError::NoReply(format!("no {}", v1::verb(&other).name))),
            }
        })
    }
}

async fn open(store: &Path, agents: Script) -> Result<Arc<Manager>> {
    let count = AtomicU64::new(u64::from(std::process::id()) << 32);
    let random = move || u128::from(count.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
    let store = StoreLocation::File(store.to_owned());
    let (config, random, agents) = (ManagerConfig::default(), Arc::new(random), Arc::new(agents));
    Ok(Manager::with_agents(config, store, agents, random, Arc::new(SystemClock)).await?)
}

async fn ask(manager: &Manager, request: Request) -> Result<Reply, v1::Fault> {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let key = format!("{} {}", std::process::id(), KEYS.fetch_add(1, Ordering::Relaxed));
    let caller = Caller {
        principal: Principal::admin("bench"),
        request_id: key.clone(),
        idempotency_key: Some(key),
        deadline: None,
    };
    manager.call(caller, request).await
}

async fn done(manager: &Manager, request: impl Fn() -> Request) -> Result<()> {
    loop {
        match ask(manager, request()).await {
            Ok(_) => return Ok(()),
            Err(fault) if fault.code == FaultCode::Busy => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(fault) => return Err(anyhow!("{}: {fault}", v1::verb(&request()).name)),
        }
    }
}

/// Fills a store and has another process open it.
#[expect(clippy::disallowed_methods, reason = "the manager that starts cold is this program")]
pub(crate) fn run() -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store.redb");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let start = Instant::now();
    runtime.block_on(fill(&store))?;
    println!("filled the store in {:.0} s", start.elapsed().as_secs_f64());
    let mut child = std::process::Command::new(std::env::current_exe()?);
    let output =
        child.args(["view", "--store"]).arg(&store).output().context("the cold manager")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let figures: BTreeMap<String, f64> =
        serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let mut report = Report::new("view");
    for (name, value) in figures {
        match name.as_str() {
            COLD => report.at_most(name, value, "s", COLD_GOAL_S),
            MEMORY => report.at_most(name, value, "MB", MEMORY_GOAL_MB),
            P99 => report.at_most(name, value, "ms", LIST_GOAL_MS),
            _ => report.tell(name, value, "ms"),
        }
    }
    Ok(report)
}

async fn fill(store: &Path) -> Result<()> {
    let farm = Arc::new(Farm::default());
    let manager = open(store, Script { farm, calm: Some(Mutex::default()) }).await?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&manager).run(stop.clone()));
    places(&manager).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for n in 0..VMS {
        let spec = || v1::CreateVm { spec: spec(n), ..v1::CreateVm::default() };
        done(&manager, || Request::CreateVm(spec())).await?;
        done(&manager, || Request::LabelVm(label(n))).await?;
    }
    // A new VM's disks are looked for on each host, which is not what is measured.
    for n in 0..VMS {
        done(&manager, || Request::AttachDisk(attach(n))).await?;
    }
    let end = Instant::now() + SETTLE_MAX;
    loop {
        let others = listed(&manager, "status!=running or busy=yes", "").await?;
        let Some(one) = others.vms.first() else { break };
        ensure!(Instant::now() < end, "{:?} VMs do not run, such as {one:?}", others.totals);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    Ok(running.await?)
}

async fn places(manager: &Manager) -> Result<()> {
    for n in 0..SITES {
        let site = || v1::DefineSite { site: format!("site-{n}"), ..v1::DefineSite::default() };
        done(manager, || Request::DefineSite(site())).await?;
    }
    for n in 0..POOLS {
        let site = || Some(format!("site-{}", n % SITES));
        let pool = || format!("pool-{n}");
        let define = || v1::DefinePool { pool: pool(), site: site(), ..v1::DefinePool::default() };
        done(manager, || Request::DefinePool(define())).await?;
    }
    for n in 0..HOSTS {
        let (name, address) = (|| format!("h{n}"), || format!("h{n}:1"));
        let add = || v1::AddHost { name: name(), address: address(), pool: None };
        done(manager, || Request::AddHost(add())).await?;
        let put = || v1::SetHostPool { host: name(), pool: format!("pool-{}", n % POOLS) };
        done(manager, || Request::SetHostPool(put())).await?;
    }
    Ok(())
}

fn spec(n: usize) -> v1::Spec {
    let nic = v1::Nic {
        index: 0,
        mac: format!("00:16:3e:{:02x}:{:02x}:{:02x}", n >> 16, n >> 8 & 0xff, n & 0xff),
        bridge: "xenbr0".into(),
    };
    v1::Spec {
        name: format!("web-{n:05}"),
        vcpus: 2,
        vcpus_max: 4,
        memory_kib: (1 + u64::try_from(n % 4).unwrap_or_default()) << 18,
        memory_max_kib: 1 << 21,
        kernel: "/var/lib/smps-vmm/kernels/vmlinuz-6.1".into(),
        initramfs: Some("/var/lib/smps-vmm/kernels/initrd-6.1".into()),
        cmdline: "console=hvc0 root=/dev/xvda1 ro".into(),
        cpu_demand_milli: 10,
        disk_demand_bytes_per_s: 10_000,
        nics: vec![nic],
        ..v1::Spec::default()
    }
}

fn attach(n: usize) -> v1::AttachDisk {
    let path = format!("/srv/vm/web-{n:05}-xvda.img");
    let disk = v1::Disk { path, device: "xvda".into(), read_only: false };
    v1::AttachDisk { vm: format!("web-{n:05}"), wait_ms_max: 1000, disk }
}

fn label(n: usize) -> v1::LabelVm {
    let names = [["prod", "test", "dev"][n % 3], ["web", "db", "cache", "queue"][n % 4]];
    v1::LabelVm {
        vm: format!("web-{n:05}"),
        folder: Some(format!("/prod/team-{}", n % 20)),
        notes: Some(format!("ask team {} first", n % 20)),
        add: names.map(|name| v1::Tag { name: name.to_owned() }).into(),
        remove: Vec::new(),
    }
}

async fn listed(manager: &Manager, filter: &str, sort: &str) -> Result<v1::Vms> {
    let list = ListVms {
        filter: Some(filter.to_owned()),
        sort: Some(sort.to_owned()),
        after: None,
        count_max: Some(PAGE),
        totals: true,
    };
    match ask(manager, Request::ListVms(list))
        .await
        .map_err(|fault| anyhow!("{filter}: {fault}"))?
    {
        Reply::Vms(vms) => Ok(vms),
        other => bail!("ListVms was answered with {other:?}"),
    }
}

/// The manager that has just been started: prints its figures as JSON.
pub(crate) fn cold(store: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(store))?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn measure(store: &Path) -> Result<BTreeMap<String, f64>> {
    let farm = Arc::new(Farm::default());
    let start = Instant::now();
    let manager = open(store, Script { farm: Arc::clone(&farm), calm: None }).await?;
    let page = listed(&manager, "", "").await?;
    let cold_s = start.elapsed().as_secs_f64();
    let count = page.totals.map_or(0, |totals| totals.vm_count);
    ensure!(count == u64::try_from(VMS)?, "{count} VMs are stored");
    people(&manager, &farm).await?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&manager).run(stop.clone()));
    let mut figures = BTreeMap::new();
    figures.insert(COLD.to_owned(), cold_s);
    while hosts_up(&manager).await? < u64::try_from(HOSTS)? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut all = Vec::new();
    for (filter, sort) in LISTS {
        let mut times = times(&manager, filter, sort).await?;
        let name = format!("list, median: {filter:?} by {sort:?}");
        figures.insert(name, at(&mut times, 50));
        all.extend(times);
    }
    figures.insert(P99.to_owned(), at(&mut all, 99));
    figures.insert("lists, the slowest".to_owned(), at(&mut all, 100));
    figures.insert(MEMORY.to_owned(), resident_mb()?);
    stop.cancel();
    running.await?;
    Ok(figures)
}

/// The script knows what runs where, as the hosts do.
async fn people(manager: &Manager, farm: &Farm) -> Result<()> {
    let mut after = None;
    loop {
        let list = ListVms { after, ..ListVms::default() };
        let page = match ask(manager, Request::ListVms(list)).await {
            Ok(Reply::Vms(page)) => page,
            other => bail!("ListVms was answered with {other:?}"),
        };
        for vm in page.vms {
            farm.put(vm.host.context("it runs")?, vm.vm, &vm.spec);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn hosts_up(manager: &Manager) -> Result<u64> {
    let list = ListHosts { totals: true, count_max: Some(1), ..ListHosts::default() };
    match ask(manager, Request::ListHosts(list)).await {
        Ok(Reply::Hosts(hosts)) => Ok(hosts.totals.unwrap_or_default().host_up_count),
        other => bail!("ListHosts was answered with {other:?}"),
    }
}

/// Spread over some seconds, so that reports come in between.
async fn times(manager: &Manager, filter: &str, sort: &str) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let page = listed(manager, filter, sort).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(filter.contains("not (") || !page.vms.is_empty(), "{filter} finds nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(times)
}

/// The value that so many of a hundred do not exceed.
fn at(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

fn resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}
