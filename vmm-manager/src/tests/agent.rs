//! A scripted agent: does what it is told at once, unless it was told to misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use vmm_core::vm::VmState;
use vmm_proto::v1::{self, Fault, FaultCode, Reply, ReportedVm, Request, VmPhase};

use super::halves::Half;
use crate::agents::{AgentAddress, AgentCall, AgentCalls, AgentError, BoxFuture};
use crate::workflow::applied;

/// One host.
#[derive(Default)]
pub(crate) struct FakeHost {
    pub(crate) machine: String,
    pub(crate) facts: v1::HostFacts,
    pub(crate) load: v1::HostLoad,
    pub(crate) vms: BTreeMap<String, ReportedVm>,
    /// Does not answer, and does nothing.
    pub(crate) silent: bool,
    /// Does what it is told, but so many replies are lost.
    pub(crate) lose_replies: usize,
    /// Refuses these verbs.
    pub(crate) refuses: BTreeSet<&'static str>,
    /// A build takes this long.
    pub(crate) build_time: Duration,
    /// Any other change takes this long.
    pub(crate) change_time: Duration,
    /// How long it takes to send a VM's memory.
    pub(crate) copy_time: Duration,
    /// Ends of moves, by VM.
    pub(crate) halves: BTreeMap<String, Half>,
    /// Directories that it has in common with others.
    pub(crate) stores: Vec<v1::SharedStore>,
    /// What it was last told that a VM shall be.
    pub(crate) specs: BTreeMap<String, v1::Spec>,
    /// Saved VMs.
    pub(crate) files: BTreeSet<String>,
    /// What the guest does of the memory that it is asked for.
    pub(crate) memory_reached: Option<u64>,
    /// Polls that asked for everything.
    pub(crate) asked_for_everything: usize,
    /// Changes carried out.
    pub(crate) done: Vec<&'static str>,
    keys: BTreeMap<String, Result<Reply, Fault>>,
    generation: u64,
}

/// All hosts by name.
#[derive(Clone)]
pub(crate) struct FakeAgents {
    hosts: Arc<Mutex<BTreeMap<String, FakeHost>>>,
    news: watch::Sender<u64>,
    /// Guests of moves that ran on two hosts at once.
    broken: Arc<Mutex<Vec<String>>>,
}

impl FakeAgents {
    pub(crate) fn new() -> Self {
        Self { hosts: Arc::default(), news: watch::Sender::new(0), broken: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, FakeHost>> {
        self.hosts.lock().expect("no panic under the lock")
    }

    /// Looks at a host, or changes it.
    pub(crate) fn with<T>(&self, name: &str, change: impl FnOnce(&mut FakeHost) -> T) -> T {
        let mut hosts = self.lock();
        let host = hosts.entry(name.to_owned()).or_default();
        host.generation += 1;
        let result = change(host);
        self.note_broken(&hosts);
        drop(hosts);
        self.news.send_modify(|n| *n += 1);
        result
    }

    /// Looks at a host, which is no news.
    pub(super) fn with_quietly<T>(&self, name: &str, look: impl FnOnce(&FakeHost) -> T) -> T {
        look(self.lock().entry(name.to_owned()).or_default())
    }

    /// Looks at all of them.
    pub(super) fn look<T>(&self, look: impl FnOnce(&BTreeMap<String, FakeHost>) -> T) -> T {
        look(&self.lock())
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// VM1, of every VM that ever moved.
    fn note_broken(&self, hosts: &BTreeMap<String, FakeHost>) {
        let moved: BTreeSet<&String> = hosts.values().flat_map(|host| host.halves.keys()).collect();
        for vm in moved {
            let on: Vec<&String> =
                hosts.iter().filter(|(_, host)| host.executes(vm)).map(|(name, _)| name).collect();
            if on.len() > 1 {
                self.broken.lock().expect("no panic").push(format!("{vm} runs on {on:?}"));
            }
        }
    }

    /// When a guest ran on two hosts.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.lock().expect("no panic").clone()
    }

    /// All VMs that any host has heard of.
    pub(crate) fn known_vms(&self) -> BTreeSet<String> {
        self.lock().values().flat_map(|host| host.vms.keys().cloned()).collect()
    }

    /// Names of the hosts on which a VM has a domain.
    pub(crate) fn running_on(&self, vm: &str) -> Vec<String> {
        let hosts = self.lock();
        let runs = |host: &FakeHost| {
            host.vms.get(vm).is_some_and(|vm| VmState::from(vm.phase).has_domain())
        };
        hosts.iter().filter(|(_, host)| runs(host)).map(|(name, _)| name.clone()).collect()
    }

    async fn report(&self, name: &str, wait: &v1::AwaitReport) -> Reply {
        if wait.cursor.is_empty()
            && let Some(host) = self.lock().get_mut(name)
        {
            host.asked_for_everything += 1;
        }
        let mut news = self.news.subscribe();
        let changed = async {
            while self.lock().get(name).is_some_and(|h| h.generation.to_string() == wait.cursor) {
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(Duration::from_millis(wait.wait_ms_max), changed).await;
        let hosts = self.lock();
        let host = &hosts[name];
        Reply::AgentReport(v1::AgentReport {
            cursor: host.generation.to_string(),
            host: host.machine.clone(),
            facts: host.facts.clone(),
            load: host.load,
            stores: host.stores.clone(),
            vms: host.vms.values().cloned().collect(),
        })
    }

    fn with_times(&self, name: &str) -> (Duration, Duration) {
        let hosts = self.lock();
        (hosts[name].build_time, hosts[name].change_time)
    }

    async fn carry_out(&self, name: &str, call: &AgentCall) -> Result<Reply, AgentError> {
        let (build_time, change_time) = self.with_times(name);
        match call.request {
            Request::BuildVm(_) => tokio::time::sleep(build_time).await,
            Request::SendVm(_) => {}
            _ if call.key.is_some() => tokio::time::sleep(change_time).await,
            _ => {}
        }
        let sent = match &call.request {
            Request::SendVm(send) => Some(self.send(name, send).await),
            _ => None,
        };
        let (result, lost) = self.with(name, |host| {
            if sent.is_some() && !host.done.contains(&"SendVm") {
                host.done.push("SendVm");
            }
            let result = sent.unwrap_or_else(|| host.once(call));
            let lost = host.lose_replies > 0;
            host.lose_replies = host.lose_replies.saturating_sub(1);
            (result, lost)
        });
        self.break_streams();
        if lost {
            return Err(AgentError::NoReply("the reply was lost".into()));
        }
        result.map_err(AgentError::Fault)
    }
}

impl FakeHost {
    /// A key does it once.
    fn once(&mut self, call: &AgentCall) -> Result<Reply, Fault> {
        let verb = v1::verb(&call.request);
        assert!(verb.agent, "an agent was asked for {}", verb.name);
        assert_eq!(verb.mutating, call.key.is_some(), "changes carry a key: {}", verb.name);
        if let Some(known) = call.key.as_ref().and_then(|key| self.keys.get(key)) {
            return known.clone();
        }
        let result = if self.refuses.contains(verb.name) {
            Err(Fault::new(FaultCode::HostFailed, "refused by the script"))
        } else {
            self.done.push(verb.name);
            self.obey(&call.request)
        };
        if let Some(key) = &call.key {
            self.keys.insert(key.clone(), result.clone());
        }
        result
    }

    fn obey(&mut self, request: &Request) -> Result<Reply, Fault> {
        let done = Ok(Reply::Done(v1::Done {}));
        match request {
            Request::BuildVm(build) => {
                let moves = self.halves.get(&build.vm).is_some_and(Half::waits);
                refuse(moves, FaultCode::Conflict)?;
                if build.restore_from.as_ref().is_some_and(|path| !self.files.contains(path)) {
                    return Err(Fault::new(FaultCode::FileNotFound, "no such file"));
                }
                self.specs.insert(build.vm.clone(), build.spec.clone());
                self.vms.remove(&build.vm);
                self.set(&build.vm, VmPhase::Running);
                if let Some(path) = &build.restore_from {
                    self.files.remove(path);
                }
                done
            }
            Request::ReceiveVm(r) => self.receive(r),
            Request::SettleMigration(r) => self.settle(r),
            Request::AwaitMigration(r) => self.state_of(r),
            Request::SuspendVm(r) => self.move_to(&r.vm, VmPhase::Suspended),
            Request::ResumeVm(r) => self.move_to(&r.vm, VmPhase::Running),
            Request::SaveVm(r) => {
                if !self.files.insert(r.path.clone()) {
                    return Err(Fault::new(FaultCode::Conflict, "the file is there already"));
                }
                self.move_to(&r.vm, VmPhase::Saved)
            }
            Request::AttachDisk(r) => {
                let device = &r.disk.device;
                self.define(&r.vm, request, |spec| {
                    refuse(spec.disks.iter().any(|d| d.device == *device), FaultCode::Conflict)
                })
            }
            Request::DetachDisk(r) => self.define(&r.vm, request, |_| Ok(())),
            Request::AttachNic(r) => self.define(&r.vm, request, |spec| {
                refuse(spec.nics.iter().any(|n| n.index == r.nic.index), FaultCode::Conflict)
            }),
            Request::DetachNic(r) => self.define(&r.vm, request, |_| Ok(())),
            Request::RenameVm(r) => self.define(&r.vm, request, |_| Ok(())),
            Request::ConfigureVm(r) => self.define(&r.vm, request, |_| Ok(())),
            Request::ResizeDisk(_) => done,
            Request::PauseVm(r) => self.move_to(&r.vm, VmPhase::Paused),
            Request::UnpauseVm(r) => self.move_to(&r.vm, VmPhase::Running),
            Request::ShutdownVm(r) => self.move_to(&r.vm, VmPhase::PoweredOff),
            Request::RebootVm(r) => {
                if self.vms.remove(&r.vm).is_none() {
                    return Err(Fault::new(FaultCode::UnknownVm, "no such VM here"));
                }
                self.set(&r.vm, VmPhase::Running);
                done
            }
            Request::DestroyVm(r) => self.destroy(&r.vm),
            Request::SetMemory(r) => {
                let reached_kib = self.memory_reached.unwrap_or(r.memory_kib);
                self.sees(&r.vm, |seen| seen.memory_kib = reached_kib);
                let (asked_kib, note) = (r.memory_kib, String::new());
                Ok(Reply::Memory(v1::Memory { asked_kib, reached_kib, note }))
            }
            Request::SetVcpus(r) => {
                let (asked, online) = (r.vcpus, r.vcpus);
                self.sees(&r.vm, |seen| seen.vcpus_online = online);
                Ok(Reply::Vcpus(v1::Vcpus { asked, online, note: String::new() }))
            }
            Request::ReadConsole(r) => {
                let data = format!("console of {}", r.vm);
                Ok(Reply::ConsoleText(v1::ConsoleText { dropped_bytes: 0, data }))
            }
            _ => Err(Fault::new(FaultCode::Unsupported, "not in the script")),
        }
    }

    fn define(
        &mut self,
        vm: &str,
        request: &Request,
        check: impl FnOnce(&v1::Spec) -> Result<(), Fault>,
    ) -> Result<Reply, Fault> {
        let spec = self.specs.get_mut(vm);
        let spec = spec.ok_or_else(|| Fault::new(FaultCode::UnknownVm, "no such VM here"))?;
        check(spec)?;
        *spec = applied(spec, request).expect("a change of a definition");
        Ok(Reply::Done(v1::Done {}))
    }

    pub(super) fn move_to(&mut self, vm: &str, phase: VmPhase) -> Result<Reply, Fault> {
        if !self.vms.contains_key(vm) {
            return Err(Fault::new(FaultCode::UnknownVm, "no such VM here"));
        }
        self.set(vm, phase);
        Ok(Reply::Done(v1::Done {}))
    }

    /// A guest changes.
    pub(crate) fn sees(&mut self, vm: &str, change: impl FnOnce(&mut ReportedVm)) {
        if let Some(seen) = self.vms.get_mut(vm) {
            change(seen);
        }
    }

    /// As an agent that has restarted.
    pub(crate) fn forget_keys(&mut self) {
        self.keys.clear();
    }

    pub(crate) fn set(&mut self, vm: &str, phase: VmPhase) {
        let spec = self.specs.get(vm);
        let (vcpus, memory) = spec.map_or((1, 1024), |spec| (spec.vcpus, spec.memory_kib));
        let before = self.vms.get(vm);
        let seen = ReportedVm {
            vm: vm.to_owned(),
            generation: self.generation,
            phase,
            reason: String::new(),
            vcpus_online: before.map_or(vcpus, |seen| seen.vcpus_online),
            memory_kib: before.map_or(memory, |seen| seen.memory_kib),
            domid: None,
            cpu_features: before.and_then(|seen| seen.cpu_features.clone()),
            rates: None,
            migration: None,
        };
        self.vms.insert(vm.to_owned(), seen);
    }
}

fn refuse(bad: bool, code: FaultCode) -> Result<(), Fault> {
    if bad { Err(Fault::new(code, "refused by the agent")) } else { Ok(()) }
}

impl AgentCalls for FakeAgents {
    fn call(
        &self,
        agent: AgentAddress,
        call: AgentCall,
    ) -> BoxFuture<'_, Result<Reply, AgentError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if self.lock().get(&agent.host).is_none_or(|host| host.silent) {
                return Err(AgentError::NoReply("it is silent".into()));
            }
            let answer = async {
                match &call.request {
                    Request::AwaitReport(wait) => Ok(self.report(&agent.host, wait).await),
                    _ => self.carry_out(&agent.host, &call).await,
                }
            };
            let late = || AgentError::NoReply("the deadline passed".into());
            let result = timeout(call.deadline, answer).await.map_err(|_| late())?;
            if self.lock().get(&agent.host).is_none_or(|host| host.silent) {
                return Err(AgentError::NoReply("it fell silent".into()));
            }
            result
        })
    }
}
