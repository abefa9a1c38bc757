//! Moves between scripted agents: each end is in a stage, does what it is told, and otherwise what agents do by themselves. After every change it is looked
//! at how many hosts let a guest run: more than one breaks VM1, and is remembered.
//!
//! ```text
//!   destination   Receiving ─ all is there ─► Ready ─ commit ─► Started
//!                     └─ abort, stream broken ─┴─ abort ──────► Discarded
//!   source        Sending ─ all is there ───► Offered ─ commit ─► Gone
//!                     └─ abort, no destination ─┴─ abort ─────► Resumed      Offered for 10 s: it asks the destination
//! ```

use std::time::Duration;

use vmm_proto::v1::{
    self, Fault, FaultCode, Migration, MigrationRole, MigrationStage, MigrationVerdict, Reply,
    VmPhase,
};

use super::agent::{FakeAgents, FakeHost};

/// After so long without a verdict a source asks the destination.
const ASKS_AFTER: Duration = Duration::from_secs(10);

/// One end of a move.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    pub(crate) migration: String,
    pub(crate) role: MigrationRole,
    /// The name of the host at the other end.
    pub(crate) peer: String,
    pub(crate) stage: MigrationStage,
}

impl Half {
    pub(super) fn waits(&self) -> bool {
        use MigrationStage::{Offered, Ready, Receiving, Sending};
        matches!(self.stage, Receiving | Ready | Sending | Offered)
    }

    fn shown(&self) -> Migration {
        Migration {
            migration: self.migration.clone(),
            role: self.role,
            peer: self.peer.clone(),
            stage: self.stage,
            activity: (self.stage == MigrationStage::Sending)
                .then_some(v1::MigrationActivity::FirstPass),
            rounds: 1,
            sent_bytes: 64 << 20,
            left_bytes: 32 << 20,
            dirty_bytes_per_s: Some(1 << 20),
            downtime_ms: Some(20),
            left_ms: Some(500),
            brake_percent: None,
        }
    }
}

fn refused(code: FaultCode, why: &str) -> Result<Reply, Fault> {
    Err(Fault::new(code, why))
}

impl FakeHost {
    /// Does a guest run here, whatever the manager was told?
    pub(crate) fn executes(&self, vm: &str) -> bool {
        let stage = self.halves.get(vm).map(|half| half.stage);
        match self.vms.get(vm).map(|seen| seen.phase) {
            None | Some(VmPhase::Arriving) => false,
            Some(VmPhase::Migrating) => stage != Some(MigrationStage::Offered),
            Some(phase) => vmm_core::vm::VmState::from(phase).has_domain(),
        }
    }

    fn stage(&mut self, vm: &str, stage: MigrationStage) {
        use MigrationStage::{
            Discarded, Gone, Offered, Ready, Receiving, Resumed, Sending, Started,
        };
        let Some(half) = self.halves.get_mut(vm) else { return };
        half.stage = stage;
        // What was destroyed meanwhile stays so.
        let is_here = self.vms.get(vm).is_none_or(|seen| {
            matches!(seen.phase, VmPhase::Arriving | VmPhase::Migrating | VmPhase::Running)
        });
        if !is_here {
            return;
        }
        match stage {
            Receiving | Ready => self.set(vm, VmPhase::Arriving),
            Sending | Offered => self.set(vm, VmPhase::Migrating),
            Started | Resumed => self.set(vm, VmPhase::Running),
            Gone => self.set(vm, VmPhase::Migrated),
            Discarded => drop(self.vms.remove(vm)),
        }
        let shown = self.halves.get(vm).filter(|half| half.waits()).map(Half::shown);
        self.sees(vm, |seen| seen.migration = shown);
    }

    pub(super) fn receive(&mut self, asked: &v1::ReceiveVm) -> Result<Reply, Fault> {
        let known =
            self.halves.get(&asked.vm).is_some_and(|half| half.migration == asked.migration);
        if self.vms.get(&asked.vm).is_some_and(|seen| seen.phase != VmPhase::Migrated) && !known {
            return refused(FaultCode::Conflict, "the VM is here already");
        }
        if !known {
            let half = Half {
                migration: asked.migration.clone(),
                role: MigrationRole::Destination,
                peer: asked.source.clone(),
                stage: MigrationStage::Receiving,
            };
            self.specs.insert(asked.vm.clone(), asked.spec.clone());
            self.vms.remove(&asked.vm);
            self.halves.insert(asked.vm.clone(), half);
            self.stage(&asked.vm, MigrationStage::Receiving);
        }
        Ok(Reply::Receiving(v1::Receiving { migration: asked.migration.clone() }))
    }

    pub(crate) fn settle(&mut self, told: &v1::SettleMigration) -> Result<Reply, Fault> {
        use MigrationStage::{
            Discarded, Gone, Offered, Ready, Receiving, Resumed, Sending, Started,
        };
        use MigrationVerdict::{Abort, Commit};
        let half = self.halves.get(&told.vm).filter(|half| half.migration == told.migration);
        let Some(stage) = half.map(|half| half.stage) else {
            return refused(FaultCode::UnknownVm, "no such migration here");
        };
        let next = match (told.verdict, stage) {
            (Commit, Ready | Started) => Started,
            (Commit, Offered | Gone) => Gone,
            (Commit, Receiving | Sending) => {
                return refused(FaultCode::BadState, "it is not all there yet");
            }
            (Abort, Receiving | Ready | Discarded) => Discarded,
            (Abort, Sending | Offered | Resumed) => Resumed,
            (Commit, Discarded | Resumed) | (Abort, Started | Gone) => {
                return refused(FaultCode::Conflict, "it ended otherwise");
            }
        };
        if next != stage {
            self.stage(&told.vm, next);
        }
        Ok(Reply::Done(v1::Done {}))
    }

    pub(super) fn state_of(&self, asked: &v1::AwaitMigration) -> Result<Reply, Fault> {
        match self.halves.get(&asked.vm).filter(|half| half.migration == asked.migration) {
            None => refused(FaultCode::UnknownVm, "no such migration here"),
            Some(half) => Ok(Reply::MigrationState(v1::MigrationState {
                migration: half.migration.clone(),
                stage: half.stage,
                reason: String::new(),
                started_ms: (half.stage == MigrationStage::Started).then_some(210),
                devices: asked.devices.then(returned).into_iter().collect(),
            })),
        }
    }

    /// Whoever destroys a VM ends its move, too.
    pub(super) fn destroy(&mut self, vm: &str) -> Result<Reply, Fault> {
        self.halves.remove(vm);
        self.sees(vm, |seen| seen.migration = None);
        self.move_to(vm, VmPhase::Destroyed)
    }

    /// VMs that have come here by a move.
    pub(crate) fn arrived(&self) -> usize {
        self.halves.values().filter(|half| half.stage == MigrationStage::Started).count()
    }

    /// As an agent that was killed: half a VM is destroyed, an offer stands, keys are lost.
    pub(crate) fn restart_agent(&mut self) {
        use MigrationStage::{Ready, Receiving, Sending};
        self.forget_keys();
        for (vm, half) in self.halves.clone() {
            match half.stage {
                Receiving | Ready => {
                    self.halves.remove(&vm);
                    self.vms.remove(&vm);
                }
                Sending => self.stage(&vm, MigrationStage::Resumed),
                _ => {}
            }
        }
    }
}

impl FakeAgents {
    /// Sends, or waits for what sends already.
    pub(super) async fn send(&self, name: &str, send: &v1::SendVm) -> Result<Reply, Fault> {
        if self.with(name, |host| host.refuses.contains("SendVm")) {
            return refused(FaultCode::HostFailed, "refused by the script");
        }
        if !self.knows(name, send) {
            self.begin_to_send(name, send)?;
        }
        let mut news = self.news();
        loop {
            let half = self.with_quietly(name, |host| host.halves.get(&send.vm).cloned());
            let half = half.filter(|half| half.migration == send.migration);
            match half.map(|half| half.stage) {
                Some(MigrationStage::Sending) => {}
                Some(MigrationStage::Offered | MigrationStage::Gone) => {
                    return Ok(Reply::Offered(v1::Offered {
                        migration: send.migration.clone(),
                        ..v1::Offered::default()
                    }));
                }
                _ => return refused(FaultCode::HostFailed, "the guest goes on here"),
            }
            if news.changed().await.is_err() {
                return refused(FaultCode::Busy, "the test is over");
            }
        }
    }

    fn knows(&self, name: &str, send: &v1::SendVm) -> bool {
        self.with_quietly(name, |host| {
            host.halves.get(&send.vm).is_some_and(|half| half.migration == send.migration)
        })
    }

    fn begin_to_send(&self, name: &str, send: &v1::SendVm) -> Result<(), Fault> {
        let is_ready = self.with_quietly(&send.destination, |host| {
            let half = host.halves.get(&send.vm);
            half.is_some_and(|half| {
                half.migration == send.migration && half.stage == MigrationStage::Receiving
            })
        });
        if !is_ready {
            return Err(Fault::new(FaultCode::HostFailed, "the destination expects nothing"));
        }
        let copy_time = self.with(name, |host| {
            if host.vms.get(&send.vm).is_none_or(|seen| seen.phase != VmPhase::Running) {
                return Err(Fault::new(FaultCode::BadState, "the VM does not run here"));
            }
            let half = Half {
                migration: send.migration.clone(),
                role: MigrationRole::Source,
                peer: send.destination.clone(),
                stage: MigrationStage::Sending,
            };
            host.halves.insert(send.vm.clone(), half);
            host.stage(&send.vm, MigrationStage::Sending);
            Ok(host.copy_time)
        })?;
        let (agents, name, send) = (self.clone(), name.to_owned(), send.clone());
        tokio::spawn(async move {
            tokio::time::sleep(copy_time).await;
            agents.arrive(&name, &send);
            agents.ask_until_known(&name, &send).await;
        });
        Ok(())
    }

    fn stage_of(&self, name: &str, send: &v1::SendVm) -> Option<MigrationStage> {
        self.with_quietly(name, |host| {
            let half = host.halves.get(&send.vm);
            half.filter(|half| half.migration == send.migration).map(|half| half.stage)
        })
    }

    fn move_half(&self, name: &str, send: &v1::SendVm, stage: MigrationStage) {
        self.with(name, |host| host.stage(&send.vm, stage));
    }

    /// The last page is sent, if there still is somebody to send it to.
    fn arrive(&self, name: &str, send: &v1::SendVm) {
        if self.stage_of(name, send) != Some(MigrationStage::Sending) {
            return;
        }
        let there = &send.destination;
        let is_there = self.stage_of(there, send) == Some(MigrationStage::Receiving)
            && !self.with_quietly(there, |host| host.silent);
        if is_there {
            self.move_half(name, send, MigrationStage::Offered);
            self.move_half(there, send, MigrationStage::Ready);
        } else {
            self.move_half(name, send, MigrationStage::Resumed);
        }
    }

    async fn ask_until_known(&self, name: &str, send: &v1::SendVm) {
        let there = &send.destination;
        while self.stage_of(name, send) == Some(MigrationStage::Offered) {
            tokio::time::sleep(ASKS_AFTER).await;
            let cut = [name, there.as_str()]
                .into_iter()
                .any(|host| self.with_quietly(host, |host| host.silent));
            if cut || self.stage_of(name, send) != Some(MigrationStage::Offered) {
                continue;
            }
            match self.stage_of(there, send) {
                Some(MigrationStage::Started) => {
                    self.move_half(name, send, MigrationStage::Gone);
                }
                Some(MigrationStage::Ready) => {
                    self.move_half(there, send, MigrationStage::Discarded);
                    self.move_half(name, send, MigrationStage::Resumed);
                }
                Some(MigrationStage::Discarded) => {
                    self.move_half(name, send, MigrationStage::Resumed);
                }
                // Who knows nothing of it may have forgotten that it ran there: only the manager can tell.
                _ => {}
            }
        }
    }

    /// A destination whose stream is broken discards what it has.
    pub(super) fn break_streams(&self) {
        let broken: Vec<(String, String)> = self.look(|hosts| {
            let halves = hosts.iter().flat_map(|(name, host)| {
                host.halves.iter().map(move |(vm, half)| (name, vm, half))
            });
            let receiving = halves.filter(|(.., half)| half.stage == MigrationStage::Receiving);
            let orphaned = receiving.filter(|(_, vm, half)| {
                let source = hosts.get(&half.peer).and_then(|host| host.halves.get(*vm));
                source.is_some_and(|source| {
                    source.migration == half.migration && source.stage == MigrationStage::Resumed
                })
            });
            orphaned.map(|(name, vm, _)| (name.clone(), vm.clone())).collect()
        });
        for (name, vm) in broken {
            self.with(&name, |host| host.stage(&vm, MigrationStage::Discarded));
        }
    }

    /// No end of a move waits for anything any more.
    pub(crate) fn is_settled(&self, vm: &str) -> bool {
        self.look(|hosts| !hosts.values().filter_map(|host| host.halves.get(vm)).any(Half::waits))
    }
}

fn returned() -> v1::ReturnedDevice {
    v1::ReturnedDevice { name: "NIC 0".into(), used_ms: Some(900), heard_ms: Some(930) }
}
