//! A large day: what operators of a room full of servers do in it, and the faults that meet them.
//!
//! ```text
//!   morning     sites and pools are made, hosts are put into them
//!   step 1      as many VMs as the pool is for, all asked for at once; the manager queues them
//!   steps       one deed each: tens of changes, or several faults; nobody waits for what the last step began
//!   evening     what is broken is mended, every task ends, all comes to rest, is compared, and is cleared in bulk
//! ```
//!
//! Faults last: a host without power comes back seconds later, while other deeds and other faults have happened. What is to be mended stands
//! in a timetable.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio::task::JoinSet;
use tokio::time::Instant;
use vmm_proto::client::CallError;
use vmm_proto::v1::{self, BulkOperation, Reply, Request, VmPhase};

use super::deeds::{BULKS, DEEDS, Deed};
use super::follower::Follower;
use super::{Day, TICK};

/// How long all tasks may take to end in the evening.
const TASKS_END: Duration = Duration::from_secs(900);
/// Requests that operators send before the first one is answered.
const AT_ONCE: usize = 32;
/// VMs that one bulk operation takes.
const BULK_MAX: usize = 1000;
/// How long a guest is given to do what it is asked.
const WAIT_MS: u64 = 20_000;
/// How often a manager is started before that is called a failure.
const STARTS_MAX: u32 = 100;
/// The manager's place in the network.
const MANAGER: &str = "manager";

/// What is to happen at its time.
enum Due {
    StartAgent(usize),
    StartManager,
    Unplug(String),
    PlugIn(String),
}

/// A large day under way.
struct Large<'a> {
    day: &'a mut Day,
    follower: Follower,
    /// Requests without an answer yet.
    errands: JoinSet<Result<Reply, CallError>>,
    turns: std::sync::Arc<tokio::sync::Semaphore>,
    timetable: BTreeMap<(Instant, u64), Due>,
    dues: u64,
    /// In a row, of a manager.
    failed_starts: u32,
    /// Refused at once, or not answered at all.
    refused: usize,
    /// Answered at once, without a task.
    answered: usize,
}

/// Lives a day.
pub(super) async fn live(day: &mut Day) -> Result<()> {
    let follower = Follower::start(day.pool.operator.clone());
    let mut large = Large {
        day,
        follower,
        errands: JoinSet::new(),
        turns: std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE)),
        timetable: BTreeMap::new(),
        dues: 0,
        failed_starts: 0,
        refused: 0,
        answered: 0,
    };
    let outcome = large.live().await;
    let known = large.follower.known();
    let report = &mut large.day.report;
    report.fulfilled = large.answered + known.done_count;
    report.refused = large.refused + known.failed_count;
    report.moved = known.moved_count;
    outcome
}

impl Large<'_> {
    async fn live(&mut self) -> Result<()> {
        self.morning().await?;
        let count = self.create(self.day.size.vms);
        self.day.note(&format!("{count} VMs are asked for"));
        for _ in 0..self.day.size.steps {
            let deed = DEEDS.choose_weighted(&mut self.day.rng, |(_, weight)| *weight)?.0;
            let what = self.act(deed).with_context(|| format!("{deed:?}"))?;
            self.day.report.deeds += 1;
            self.day.note(&format!("{deed:?}: {what}"));
            let wait = self.day.rng.random_range(0..3000);
            self.go_on_for(Duration::from_millis(wait)).await?;
        }
        self.evening().await
    }

    /// A pool for each ten hosts, and a site for each two pools.
    async fn morning(&mut self) -> Result<()> {
        let pool_count = self.pool_count();
        for n in 0..pool_count {
            let site = format!("site{}", n / 2);
            let define = v1::DefineSite { site: site.clone(), new_name: None, notes: None };
            self.must(Request::DefineSite(define)).await?;
            let (pool, site) = (format!("pool{n}"), Some(site));
            let define = v1::DefinePool { pool, site, ..v1::DefinePool::default() };
            self.must(Request::DefinePool(define)).await?;
        }
        for n in 0..self.day.pool.hosts.len() {
            let host = self.day.pool.hosts[n].name.clone();
            let pool = format!("pool{}", n % pool_count);
            self.must(Request::SetHostPool(v1::SetHostPool { host, pool })).await?;
        }
        Ok(())
    }

    fn pool_count(&self) -> usize {
        (self.day.pool.hosts.len() / 10).max(1)
    }

    /// In the morning nothing is broken yet.
    async fn must(&mut self, request: Request) -> Result<()> {
        self.day.pool.ask(request.clone()).await.map(drop).with_context(|| format!("{request:?}"))
    }

    fn act(&mut self, deed: Deed) -> Result<String> {
        Ok(match deed {
            Deed::Create => {
                let there = self.follower.known().vms.len() + self.errands.len();
                let room = self.day.size.vms.saturating_sub(there);
                let count = self.some(10, 10).min(room);
                format!("{} VMs", self.create(count))
            }
            Deed::Bulk => self.bulk()?,
            Deed::Singles => self.singles(),
            Deed::Migrate => self.migrate(),
            Deed::Cancel => {
                let count = self.some(1, 50);
                let open: Vec<String> = self.follower.known().open.keys().cloned().collect();
                let tasks = open.into_iter().choose_multiple(&mut self.day.rng, count);
                let count = tasks.len();
                for task in tasks {
                    self.send(Request::CancelTask(v1::CancelTask { task }));
                }
                format!("{count} tasks")
            }
            Deed::Retry => {
                let count = self.some(1, 50);
                let failed = self.follower.known().failed.clone();
                let tasks = failed.into_iter().rev().take(count);
                tasks.for_each(|task| self.send(Request::RetryTask(v1::RetryTask { task })));
                format!("up to {count} tasks")
            }
            Deed::Maintenance => {
                let maintenance = self.day.rng.random_bool(0.5);
                let hosts = self.some_hosts(8);
                for n in &hosts {
                    let host = self.day.pool.hosts[*n].name.clone();
                    self.send(Request::SetMaintenance(v1::SetMaintenance { host, maintenance }));
                }
                format!("{maintenance} of {} hosts", hosts.len())
            }
            Deed::Nothing => "tea".to_owned(),
            fault => self.fault(fault)?,
        })
    }

    /// From `least` to a share of the VMs that the day is for.
    fn some(&mut self, least: usize, share: usize) -> usize {
        let most = (self.day.size.vms / share).max(least + 1);
        self.day.rng.random_range(least..=most)
    }

    /// Up to so many.
    fn some_hosts(&mut self, share: usize) -> Vec<usize> {
        let all = self.day.pool.hosts.len();
        let count = self.day.rng.random_range(1..=(all / share).max(1));
        let mut hosts = (0..all).choose_multiple(&mut self.day.rng, count);
        hosts.sort_unstable();
        hosts
    }

    fn send(&mut self, request: Request) {
        let (operator, turns) =
            (self.day.pool.operator.clone(), std::sync::Arc::clone(&self.turns));
        self.errands.spawn(async move {
            let _turn = turns.acquire().await;
            operator.ask(request).await
        });
    }

    fn create(&mut self, count: usize) -> usize {
        for _ in 0..count {
            let (spec, dry_run) = (self.day.spec(), self.day.rng.random_bool(0.02));
            let pool = self.day.rng.random_range(0..2 * self.pool_count());
            let pool = (pool < self.pool_count()).then(|| format!("pool{pool}"));
            let create = v1::CreateVm { dry_run, pool, spec, ..v1::CreateVm::default() };
            self.send(Request::CreateVm(create));
        }
        count
    }

    fn some_vms(&mut self, count: usize) -> Vec<String> {
        let all: Vec<String> = self.follower.known().vms.keys().cloned().collect();
        all.into_iter().choose_multiple(&mut self.day.rng, count)
    }

    fn bulk(&mut self) -> Result<String> {
        let operation = BULKS.choose_weighted(&mut self.day.rng, |(_, weight)| *weight)?.0;
        let count = self.some(5, 8);
        let vms = self.some_vms(count);
        let what = format!("{operation:?} {} VMs", vms.len());
        self.send_bulk(operation, vms);
        Ok(what)
    }

    fn send_bulk(&mut self, operation: BulkOperation, vms: Vec<String>) {
        let files = self.day.pool.files.path().to_string_lossy().into_owned();
        let directory = (operation == BulkOperation::Save).then_some(files);
        for vms in vms.chunks(BULK_MAX) {
            let vms = vms.iter().map(|vm| v1::VmRef { vm: vm.clone() }).collect();
            let (directory, wait_ms_max) = (directory.clone(), Some(WAIT_MS));
            self.send(Request::BulkVms(v1::BulkVms { operation, wait_ms_max, directory, vms }));
        }
    }

    fn singles(&mut self) -> String {
        let count = self.some(2, 20);
        let vms = self.some_vms(count);
        let count = vms.len();
        for vm in vms {
            let request = self.single(vm);
            self.send(request);
        }
        format!("{count} changes")
    }

    /// To wherever it costs least, or to a host that may be of another pool.
    fn migrate(&mut self) -> String {
        let count = self.some(2, 40);
        let vms = self.some_vms(count);
        let count = vms.len();
        for vm in vms {
            let rng = &mut self.day.rng;
            let host = self.day.pool.hosts.choose(rng).map(|host| host.name.clone());
            let host = host.filter(|_| rng.random_bool(0.3));
            let deadline_s = Some(rng.random_range(5..120));
            self.send(Request::MigrateVm(v1::MigrateVm {
                vm,
                host,
                deadline_s,
                ..v1::MigrateVm::default()
            }));
        }
        format!("{count} VMs")
    }

    fn single(&mut self, vm: String) -> Request {
        let wait_ms_max = WAIT_MS;
        let rng = &mut self.day.rng;
        match rng.random_range(0..12) {
            0 => Request::StartVm(v1::StartVm { vm }),
            1 => Request::PauseVm(v1::PauseVm { vm }),
            2 => Request::UnpauseVm(v1::UnpauseVm { vm }),
            3 => Request::RebootVm(v1::RebootVm { vm, wait_ms_max }),
            4 => Request::DestroyVm(v1::DestroyVm { vm }),
            5 => Request::DeleteVm(v1::DeleteVm { vm }),
            6 => {
                let name = format!("renamed{}", rng.random_range(0..100_000));
                Request::RenameVm(v1::RenameVm { vm, name })
            }
            7 => Request::DiscardSaved(v1::DiscardSaved { vm }),
            8 => {
                let folder = Some(format!("/folder{}", rng.random_range(0..20)));
                let (add, remove) = (vec![v1::Tag { name: "seen".into() }], Vec::new());
                Request::LabelVm(v1::LabelVm { vm, folder, notes: None, add, remove })
            }
            9 => Request::SetVcpus(v1::SetVcpus { vm, vcpus: rng.random_range(1..4), wait_ms_max }),
            _ => {
                let memory_kib = rng.random_range(32..240) << 10;
                Request::SetMemory(v1::SetMemory { vm, memory_kib, wait_ms_max })
            }
        }
    }

    fn due_in(&mut self, after_ms: u64, due: Due) {
        self.dues += 1;
        self.timetable.insert((Instant::now() + Duration::from_millis(after_ms), self.dues), due);
    }

    fn some_ms(&mut self, most: u64) -> u64 {
        self.day.rng.random_range(500..most)
    }

    fn fault(&mut self, deed: Deed) -> Result<String> {
        let hosts = self.some_hosts(12);
        let count = match deed {
            Deed::CrashGuests => self.crash_guests(&hosts)?,
            Deed::KillManager if !self.day.pool.has_manager() => 0,
            Deed::KillManager => {
                self.day.pool.kill_manager();
                let away = self.some_ms(8000);
                self.due_in(away, Due::StartManager);
                1
            }
            Deed::PullCables => {
                for n in &hosts {
                    let name = self.day.pool.hosts[*n].name.clone();
                    self.pull(name);
                }
                if self.day.rng.random_bool(0.1) {
                    self.pull(MANAGER.to_owned());
                }
                hosts.len()
            }
            _ => self.stop_agents(deed, &hosts),
        };
        self.day.report.faults += count;
        Ok(count.to_string())
    }

    fn pull(&mut self, name: String) {
        let after = self.some_ms(2000);
        let back = after + self.some_ms(45_000);
        self.due_in(after, Due::Unplug(name.clone()));
        self.due_in(back, Due::PlugIn(name));
    }

    /// By power, or by a kill, in the middle of whatever they do; those that are down already stay so.
    fn stop_agents(&mut self, deed: Deed, hosts: &[usize]) -> usize {
        let mut stopped = 0;
        for n in hosts {
            let pool = &mut self.day.pool;
            let host = &mut pool.hosts[*n];
            if !host.has_agent() {
                continue;
            }
            pool.network.unplug(&host.name);
            host.crash_agent();
            if matches!(deed, Deed::PowerLoss) {
                host.power_loss();
            }
            let dark = self.some_ms(40_000);
            self.due_in(dark, Due::StartAgent(*n));
            stopped += 1;
        }
        stopped
    }

    fn crash_guests(&mut self, hosts: &[usize]) -> Result<usize> {
        let mut crashed = 0;
        for n in hosts {
            let machine = self.day.pool.hosts[*n].machine.clone();
            let guests = machine.xen().control.list()?.into_iter();
            let guests = guests.filter(|guest| guest.domid != xen_bindings::DomId::DOM0);
            for guest in guests.choose_multiple(&mut self.day.rng, 3) {
                machine.crash_guest(guest.domid);
                crashed += 1;
            }
        }
        Ok(crashed)
    }

    /// Time goes by: what is due happens, what must hold is asserted, answers are heard.
    async fn go_on_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.do_what_is_due().await?;
            self.day.pool.check(false)?;
            if let Some(violation) = self.follower.known().violation.take() {
                bail!("{violation}");
            }
            while let Some(answer) = self.errands.try_join_next() {
                match answer? {
                    Ok(Reply::Placement(_)) => self.answered += 1,
                    Ok(_) => {}
                    Err(_) => self.refused += 1,
                }
            }
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let due = self.timetable.first_key_value().map_or(end, |((at, _), _)| *at);
            tokio::time::sleep_until(end.min(due).min(now + TICK)).await;
        }
    }

    async fn do_what_is_due(&mut self) -> Result<()> {
        while let Some(entry) = self.timetable.first_entry() {
            if entry.key().0 > Instant::now() {
                break;
            }
            let pool = &mut self.day.pool;
            match entry.remove() {
                Due::StartAgent(n) if !pool.hosts[n].has_agent() => pool.start_agent(n).await?,
                Due::StartManager if !pool.has_manager() => {
                    // In one process the last one lets go of its store when its tasks have noticed that it is dead.
                    if let Err(error) = pool.start_manager().await {
                        self.failed_starts += 1;
                        ensure!(self.failed_starts < STARTS_MAX, "{error:#}");
                        self.due_in(100, Due::StartManager);
                    } else {
                        self.failed_starts = 0;
                    }
                }
                Due::Unplug(name) => pool.network.unplug(&name),
                Due::PlugIn(name) => pool.network.plug_in(&name),
                Due::StartAgent(_) | Due::StartManager => {}
            }
        }
        Ok(())
    }

    async fn evening(&mut self) -> Result<()> {
        while !self.timetable.is_empty() {
            self.go_on_for(Duration::from_secs(1)).await?;
        }
        for n in 0..self.day.pool.hosts.len() {
            let host = self.day.pool.hosts[n].name.clone();
            self.send(Request::SetMaintenance(v1::SetMaintenance { host, maintenance: false }));
        }
        self.end_tasks().await?;
        self.day.note("all is mended, and no task is open");
        self.day.come_to_rest().await?;
        self.day.believe_what_is_true().await?;
        self.know_what_lists_say().await?;
        self.clear().await
    }

    /// Goes on until every request is answered and every task is over.
    async fn end_tasks(&mut self) -> Result<()> {
        let end = Instant::now() + TASKS_END;
        loop {
            self.go_on_for(Duration::from_secs(2)).await?;
            let known = self.follower.known();
            if known.open.is_empty() && self.errands.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                let open = known.open.values().take(5);
                let open: Vec<String> = open
                    .map(|task| format!("{} of {} at {:?}", task.verb, task.vm_name, task.step))
                    .collect();
                bail!("{} tasks hang: {}", known.open.len(), open.join("; "));
            }
        }
    }

    /// Whoever followed the events knows what is there now.
    async fn know_what_lists_say(&mut self) -> Result<()> {
        let brief = |vm: &v1::Vm| {
            (vm.vm.clone(), vm.spec.name.clone(), vm.phase, vm.host.clone(), vm.folder.clone())
        };
        let end = Instant::now() + super::evening::REST;
        loop {
            let mut listed: Vec<_> = self.day.vms().await?.iter().map(brief).collect();
            listed.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            let known: Vec<_> = self.follower.known().vms.values().map(brief).collect();
            if known == listed {
                return Ok(());
            }
            let odd = known.iter().filter(|vm| !listed.contains(vm)).take(3);
            let odd: Vec<_> =
                odd.chain(listed.iter().filter(|vm| !known.contains(vm))).take(3).collect();
            ensure!(Instant::now() < end, "events and lists differ in {odd:?}");
            self.go_on_for(Duration::from_secs(2)).await?;
        }
    }

    async fn clear(&mut self) -> Result<()> {
        let vms = self.day.vms().await?;
        let by = |wanted: fn(&v1::Vm) -> bool| -> Vec<String> {
            vms.iter().filter(|vm| wanted(vm)).map(|vm| vm.vm.clone()).collect()
        };
        for vm in by(|vm| vm.phase == VmPhase::Saved) {
            self.send(Request::DiscardSaved(v1::DiscardSaved { vm }));
        }
        let on_a_host = by(|vm| vm.host.is_some());
        self.day.note(&format!("{} VMs, {} of them on a host", vms.len(), on_a_host.len()));
        self.send_bulk(BulkOperation::Destroy, on_a_host);
        self.end_tasks().await?;
        self.send_bulk(BulkOperation::Delete, by(|_| true));
        self.end_tasks().await?;
        let left = self.day.vms().await?;
        if let Some(vm) = left.first() {
            bail!("{} VMs could not be deleted, {vm:?} for one", left.len());
        }
        self.day.leave_nothing().await
    }
}
