//! A small day: one operator, who waits for each of his tasks, and one fault at a time.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::seq::IndexedRandom;
use vmm_proto::client::CallError;
use vmm_proto::v1::{self, Reply, Request};

use super::Day;

/// How long an operator waits for a task before he looks away.
const TASK_PATIENCE: Duration = Duration::from_secs(240);

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

impl Deed {
    fn is_a_fault(self) -> bool {
        matches!(
            self,
            Self::CrashGuest
                | Self::KillAgent
                | Self::PowerLoss
                | Self::KillManager
                | Self::PullCable
        )
    }
}

impl Day {
    /// Lives it.
    pub(super) async fn live(&mut self) -> Result<()> {
        for _ in 0..self.size.steps {
            let deed = DEEDS.choose_weighted(&mut self.rng, |(_, weight)| *weight)?.0;
            let outcome = self.act(deed).await.with_context(|| format!("{deed:?}"))?;
            self.report.deeds += 1;
            self.report.faults += usize::from(deed.is_a_fault());
            self.note(&format!("{deed:?}: {outcome}"));
            let wait = self.rng.random_range(0..4000);
            self.rest_for(Duration::from_millis(wait)).await?;
        }
        self.heal().await?;
        self.come_to_rest().await?;
        self.believe_what_is_true().await?;
        self.clear().await
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
                self.pool.hosts[host].kill_agent().await;
                self.pool.hosts[host].power_loss();
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
        if self.vms().await?.len() >= self.size.vms {
            return Ok("enough".into());
        }
        let spec = self.spec();
        let dry_run = self.rng.random_bool(0.1);
        self.ask(Request::CreateVm(v1::CreateVm { dry_run, spec, ..v1::CreateVm::default() })).await
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
    pub(super) async fn ask(&mut self, request: Request) -> Result<String> {
        let client = self.pool.operator.client.clone();
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

    pub(super) async fn vms(&self) -> Result<Vec<v1::Vm>> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let list = v1::ListVms { after, ..v1::ListVms::default() };
            match self.pool.ask(Request::ListVms(list)).await {
                Ok(Reply::Vms(vms)) => {
                    all.extend(vms.vms);
                    after = vms.next;
                }
                Ok(other) => bail!("ListVms answered {other:?}"),
                // The cable of the manager may be out; an operator looks again later.
                Err(_) => return Ok(Vec::new()),
            }
            if after.is_none() {
                return Ok(all);
            }
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
}
