//! A short random day of a pool: an operator at work, and everything that can break breaking under him.
//!
//! After each step, and while each step waits, VM1 is asserted over what the machines hold. In the evening all is healed; then
//! the pool must come to rest with nothing left over, the manager must believe just what is true, and when every VM is
//! destroyed nothing may remain.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use vmm_core::vm::VmState;
use vmm_proto::client::CallError;
use vmm_proto::v1::{self, Reply, Request};

use super::Pool;

/// Steps of a day.
const STEPS: usize = 40;
/// VMs at most at a time.
const VMS_MAX: usize = 12;
/// How long an operator waits for a task before he looks away.
const TASK_PATIENCE: Duration = Duration::from_secs(240);
/// How long a healed pool may take to come to rest.
const REST: Duration = Duration::from_secs(300);
/// How often invariants are asserted while something is under way.
const TICK: Duration = Duration::from_millis(500);

/// What a day was like.
#[derive(Debug, Default)]
pub struct DayReport {
    /// One line a step; the same seed gives the same lines.
    pub lines: Vec<String>,
    /// Requests that were fulfilled.
    pub fulfilled: usize,
    /// Requests that were refused or failed, with a typed fault.
    pub refused: usize,
}

/// A day under way.
pub struct Day {
    pool: Pool,
    rng: StdRng,
    start: tokio::time::Instant,
    report: DayReport,
    vms_named: usize,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Create,
    Start,
    Pause,
    Unpause,
    Shutdown,
    Reboot,
    Destroy,
    Delete,
    Vcpus,
    Memory,
    Maintenance,
    CrashGuest,
    KillAgent,
    PowerLoss,
    KillManager,
    PullCable,
    Nothing,
}

/// What happens how often.
const DEEDS: &[(Deed, u32)] = &[
    (Deed::Create, 20),
    (Deed::Start, 6),
    (Deed::Pause, 4),
    (Deed::Unpause, 4),
    (Deed::Shutdown, 5),
    (Deed::Reboot, 4),
    (Deed::Destroy, 5),
    (Deed::Delete, 5),
    (Deed::Vcpus, 8),
    (Deed::Memory, 8),
    (Deed::Maintenance, 2),
    (Deed::CrashGuest, 4),
    (Deed::KillAgent, 5),
    (Deed::PowerLoss, 4),
    (Deed::KillManager, 3),
    (Deed::PullCable, 10),
    (Deed::Nothing, 5),
];

impl Day {
    /// Runs the day of a seed, on a clock that only this day uses.
    ///
    /// # Errors
    /// The invariant that broke, with the day until then.
    pub fn run(seed: u64) -> Result<DayReport> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        runtime.block_on(async {
            let pool = Pool::start(seed, 3).await?;
            let rng = StdRng::seed_from_u64(seed);
            let start = tokio::time::Instant::now();
            let mut day = Day { pool, rng, start, report: DayReport::default(), vms_named: 0 };
            let outcome = day.live().await;
            let so_far = day.report.lines.join("\n");
            outcome.with_context(|| format!("seed {seed}, the day until then:\n{so_far}"))?;
            Ok(day.report)
        })
    }

    async fn live(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            let deed = DEEDS.choose_weighted(&mut self.rng, |(_, weight)| *weight)?.0;
            let outcome = self.act(deed).await.with_context(|| format!("{deed:?}"))?;
            self.note(&format!("{deed:?}: {outcome}"));
            let wait = self.rng.random_range(0..4000);
            self.rest_for(Duration::from_millis(wait)).await?;
        }
        self.heal().await?;
        self.come_to_rest().await?;
        self.believe_what_is_true().await?;
        self.clear().await
    }

    fn note(&mut self, line: &str) {
        self.report.lines.push(format!("{:>9.3} {line}", self.start.elapsed().as_secs_f64()));
    }

    /// Sleeps, and asserts what must hold at every instant.
    async fn rest_for(&self, time: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            self.pool.check(false)?;
            tokio::time::sleep(TICK.min(end - tokio::time::Instant::now())).await;
        }
        self.pool.check(false)
    }

    async fn act(&mut self, deed: Deed) -> Result<String> {
        let host = self.rng.random_range(0..self.pool.hosts.len());
        match deed {
            Deed::Create => self.create().await,
            Deed::Maintenance => {
                let (host, maintenance) =
                    (self.pool.hosts[host].name.clone(), self.rng.random_bool(0.4));
                self.ask(Request::SetMaintenance(v1::SetMaintenance { host, maintenance })).await
            }
            Deed::CrashGuest => self.crash_guest(host),
            Deed::KillAgent => {
                self.pool.hosts[host].kill_agent().await;
                self.rest_for(Duration::from_secs(3)).await?;
                self.pool.start_agent(host).await?;
                Ok(format!("agent of {} started again", self.pool.hosts[host].name))
            }
            Deed::PowerLoss => {
                self.pool.hosts[host].power_loss().await;
                let dark = self.rng.random_range(1..40);
                self.rest_for(Duration::from_secs(dark)).await?;
                self.pool.start_agent(host).await?;
                Ok(format!("{} was dark for {dark} s", self.pool.hosts[host].name))
            }
            Deed::KillManager => {
                self.pool.kill_manager();
                self.rest_for(Duration::from_secs(2)).await?;
                self.pool.start_manager().await?;
                Ok("manager started again".into())
            }
            Deed::PullCable => self.pull_cable(host).await,
            Deed::Nothing => Ok("tea".into()),
            on_vm => self.on_a_vm(on_vm).await,
        }
    }

    async fn create(&mut self) -> Result<String> {
        if self.vms().await?.len() >= VMS_MAX {
            return Ok("enough".into());
        }
        self.vms_named += 1;
        let spec = self.spec(format!("vm{}", self.vms_named));
        let dry_run = self.rng.random_bool(0.1);
        self.ask(Request::CreateVm(v1::CreateVm { dry_run, spec, ..v1::CreateVm::default() })).await
    }

    fn spec(&mut self, name: String) -> v1::Spec {
        let file = |name: &str| self.pool.files.path().join(name).to_string_lossy().into_owned();
        let memory_kib = self.rng.random_range(64..1500) << 10;
        let vcpus = self.rng.random_range(1..=2);
        let disk = self.rng.random_bool(0.5).then(|| file(&name));
        if let Some(path) = &disk {
            // A failure to write shows as a missing file, which the pool must survive as well.
            let _ = std::fs::write(path, [0; 512]);
        }
        let kernel = if self.rng.random_bool(0.05) { file("missing") } else { file("kernel") };
        v1::Spec {
            name,
            vcpus,
            vcpus_max: vcpus + self.rng.random_range(0..3),
            memory_kib,
            memory_max_kib: memory_kib + (self.rng.random_range(0..128) << 10),
            kernel,
            initramfs: None,
            cmdline: (*["workload=idle", "workload=burn:1", "workload=idle behaviour=deaf"]
                .choose(&mut self.rng)
                .unwrap_or(&""))
            .to_owned(),
            cpu_demand_milli: self.rng.random_range(0..1500),
            disk_demand_bytes_per_s: self.rng.random_range(0..50_000_000),
            disks: disk
                .map(|path| v1::Disk { path, device: "xvda".into(), read_only: false })
                .into_iter()
                .collect(),
            ..v1::Spec::default()
        }
    }

    async fn on_a_vm(&mut self, deed: Deed) -> Result<String> {
        let vms = self.vms().await?;
        let Some(vm) = vms.choose(&mut self.rng).map(|vm| vm.vm.clone()) else {
            return Ok("no VM".into());
        };
        let wait_ms_max = 20_000;
        let request = match deed {
            Deed::Start => Request::StartVm(v1::StartVm { vm }),
            Deed::Pause => Request::PauseVm(v1::PauseVm { vm }),
            Deed::Unpause => Request::UnpauseVm(v1::UnpauseVm { vm }),
            Deed::Shutdown => Request::ShutdownVm(v1::ShutdownVm { vm, wait_ms_max }),
            Deed::Reboot => Request::RebootVm(v1::RebootVm { vm, wait_ms_max }),
            Deed::Destroy => Request::DestroyVm(v1::DestroyVm { vm }),
            Deed::Delete => Request::DeleteVm(v1::DeleteVm { vm }),
            Deed::Vcpus => Request::SetVcpus(v1::SetVcpus {
                vm,
                vcpus: self.rng.random_range(1..4),
                wait_ms_max,
            }),
            _ => {
                let memory_kib = self.rng.random_range(64..1800) << 10;
                Request::SetMemory(v1::SetMemory { vm, memory_kib, wait_ms_max })
            }
        };
        // Half of the changes are made while a cable is being pulled.
        if self.rng.random_bool(0.3) {
            self.pull_later();
        }
        self.ask(request).await
    }

    fn pull_later(&mut self) {
        let (network, address) = (self.pool.network.clone(), self.any_address());
        let (after, dark) = (self.rng.random_range(0..1500), self.rng.random_range(100..6000));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            network.unplug(&address);
            tokio::time::sleep(Duration::from_millis(dark)).await;
            network.plug_in(&address);
        });
    }

    fn any_address(&mut self) -> String {
        let n = self.rng.random_range(0..=self.pool.hosts.len());
        self.pool.hosts.get(n).map_or_else(|| "manager".to_owned(), |host| host.name.clone())
    }

    async fn pull_cable(&mut self, host: usize) -> Result<String> {
        let name = self.pool.hosts[host].name.clone();
        self.pool.network.unplug(&name);
        let dark = self.rng.random_range(1..45);
        self.rest_for(Duration::from_secs(dark)).await?;
        self.pool.network.plug_in(&name);
        Ok(format!("{name} was unreachable for {dark} s"))
    }

    fn crash_guest(&mut self, host: usize) -> Result<String> {
        let machine = &self.pool.hosts[host].machine;
        let guests = machine.xen().control.list()?;
        let guests: Vec<_> =
            guests.into_iter().filter(|d| d.domid != xen_bindings::DomId::DOM0).collect();
        Ok(match guests.choose(&mut self.rng) {
            Some(guest) => {
                machine.crash_guest(guest.domid);
                format!("domain {} on {}", guest.domid, self.pool.hosts[host].name)
            }
            None => "no guest".into(),
        })
    }

    /// Sends a request and waits for its task; the outcome in words. VM1 is asserted all the while.
    async fn ask(&mut self, request: Request) -> Result<String> {
        let client = self.pool.client.clone();
        let first = self.watched(self.pool.ask(request)).await?;
        let mut task = match first {
            Ok(Reply::Task(task)) => *task,
            Ok(_) => return Ok(self.tell(Ok(()))),
            Err(error) => return Ok(self.tell(Err(error))),
        };
        let end = tokio::time::Instant::now() + TASK_PATIENCE;
        while !task.state.is_over() {
            ensure!(
                tokio::time::Instant::now() < end,
                "task {} of {} hangs at {:?}",
                task.verb,
                task.vm_name,
                task.step
            );
            let wait =
                Request::WaitTask(v1::WaitTask { task: task.task.clone(), wait_ms_max: 5000 });
            match self.watched(client.call(wait, Default::default())).await? {
                Ok(Reply::Task(now)) => task = *now,
                Ok(other) => bail!("WaitTask answered {other:?}"),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        Ok(match task.fault {
            Some(fault) => self.tell(Err(CallError::Fault(fault))),
            None => self.tell(Ok(())),
        })
    }

    fn tell(&mut self, outcome: Result<(), CallError>) -> String {
        match outcome {
            Ok(()) => {
                self.report.fulfilled += 1;
                "done".into()
            }
            Err(CallError::Fault(fault)) => {
                self.report.refused += 1;
                format!("{:?}", fault.code)
            }
            Err(_) => {
                self.report.refused += 1;
                "nobody answered".into()
            }
        }
    }

    async fn watched<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(TICK) => self.pool.check(false)?,
            }
        }
    }

    async fn vms(&self) -> Result<Vec<v1::Vm>> {
        match self.pool.ask(Request::ListVms(v1::ListVms::default())).await {
            Ok(Reply::Vms(vms)) => Ok(vms.vms),
            Ok(other) => bail!("ListVms answered {other:?}"),
            // The cable of the manager may be out; an operator looks again later.
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn heal(&mut self) -> Result<()> {
        // Cables that are to be pulled later have been pulled by then.
        self.rest_for(Duration::from_secs(10)).await?;
        self.pool.network.plug_in("manager");
        for n in 0..self.pool.hosts.len() {
            let host = self.pool.hosts[n].name.clone();
            self.pool.network.plug_in(&host);
            self.ask(Request::SetMaintenance(v1::SetMaintenance { host, maintenance: false }))
                .await?;
        }
        Ok(())
    }

    async fn come_to_rest(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + REST;
        loop {
            self.rest_for(Duration::from_secs(5)).await?;
            match self.pool.check(true) {
                Ok(()) => return Ok(()),
                Err(error) if tokio::time::Instant::now() > end => {
                    return Err(error.context("the pool does not come to rest"));
                }
                Err(_) => {}
            }
        }
    }

    /// The manager's VMs with a domain are exactly those that the machines run, each on the host that it says.
    async fn believe_what_is_true(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + REST;
        loop {
            let believed: BTreeSet<(String, String)> = self
                .vms()
                .await?
                .into_iter()
                .filter(|vm| VmState::from(vm.phase).has_domain())
                .map(|vm| (vm.host.unwrap_or_default(), vm.vm))
                .collect();
            let mut real = BTreeSet::new();
            for host in &self.pool.hosts {
                let facts = super::host_facts(host, true)?;
                real.extend(facts.running.iter().map(|vm| (host.name.clone(), vm.to_string())));
            }
            if believed == real {
                return Ok(());
            }
            ensure!(
                tokio::time::Instant::now() < end,
                "the manager believes {believed:?}, the machines run {real:?}"
            );
            self.rest_for(Duration::from_secs(5)).await?;
        }
    }

    async fn clear(&mut self) -> Result<()> {
        for vm in self.vms().await? {
            let outcome = self.ask(Request::DestroyVm(v1::DestroyVm { vm: vm.vm.clone() })).await?;
            self.note(&format!("clear {}: {outcome}", vm.spec.name));
            let deleted = self.ask(Request::DeleteVm(v1::DeleteVm { vm: vm.vm })).await?;
            ensure!(deleted == "done", "{} cannot be deleted: {deleted}", vm.spec.name);
        }
        self.come_to_rest().await?;
        for (host, facts) in self.pool.facts(true)? {
            ensure!(
                facts.running.is_empty() && facts.memory_reserved.0 == 0,
                "{host} is not empty: {facts:?}"
            );
        }
        Ok(())
    }
}
