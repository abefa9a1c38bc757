//! Writes down what a step did.

use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;
use vmm_proto::v1::{Fault, FaultCode, Memory, Reply, Request, SetMemory, VmPhase};

use super::{Action, Job, applied};
use crate::app::{App, State, charge_of, off_host, store_fault};
use crate::store::{Charge, Put, VmRecord};

impl Job {
    /// Steps that change nothing but what is stored.
    pub(super) fn record(&self, app: &App, action: Action) -> Result<(), Fault> {
        let mut state = app.lock();
        if matches!(action, Action::Forget) && !state.vms.contains_key(&self.vm) {
            return Ok(());
        }
        let before = vm_record(&state, self.vm)?;
        let put = match action {
            Action::Forget if !self.unresolved => Put::DropVm(self.vm),
            Action::Release if !self.unresolved && before.saved.is_some() => put(off_host(
                &before,
                VmPhase::Saved,
                "it could not be restored; its task says why",
            )),
            Action::Release if !self.unresolved => put(off_host(
                &before,
                VmPhase::Failed,
                "it could not be started; its task says why",
            )),
            Action::Forget | Action::Release => put(left_on_host(&before)),
            Action::MarkRunning => put(running(&before)),
            // What was told to grow may have grown: the higher charge stays until it is known.
            Action::Charge(_) if self.unresolved => return Ok(()),
            Action::Charge(charge) => put(self.charged(&state, &before, charge)?),
            // It has ended meanwhile: that is no phase to go back from.
            Action::Phase(_) if before.host.is_none() => return Ok(()),
            Action::Phase(phase) => put(VmRecord { phase, ..before }),
            Action::Saving(saved) => {
                put(VmRecord { phase: VmPhase::Saving, saved: Some(*saved), ..before })
            }
            _ => return Ok(()),
        };
        state.commit(vec![put]).map_err(|error| store_fault(&error))
    }

    fn charged(&self, state: &State, before: &VmRecord, charge: Charge) -> Result<VmRecord, Fault> {
        let host = state.hosts.get(&self.host);
        let host = host.ok_or_else(|| Fault::new(FaultCode::UnknownHost, "the host is gone"))?;
        host.ledger.check(self.vm, charge.into()).map_err(|no_room| {
            let message = format!(
                "host {}: {no_room}; `vmmctl plan growth {} --memory SIZE` says which host has room",
                host.record.name, before.spec.name
            );
            Fault::new(FaultCode::NoCapacity, message)
        })?;
        Ok(VmRecord { charge: Some(charge), ..before.clone() })
    }

    /// What an agent was told to do, it did.
    pub(super) fn record_told(
        &self,
        app: &App,
        request: &Request,
        reply: Reply,
    ) -> Result<(), Fault> {
        {
            let mut state = app.lock();
            // An orphan that was destroyed is in no book.
            if matches!(request, Request::DestroyVm(_)) && !state.vms.contains_key(&self.vm) {
                return Ok(());
            }
            let before = vm_record(&state, self.vm)?;
            if let Some(after) = after_told(&before, request, &reply) {
                // It happened: a store that fails now does not make it undone.
                state.commit_facts(vec![put(after)]);
            }
        }
        app.update_task(self.task, |record| match reply {
            Reply::Vcpus(vcpus) => record.shown.vcpus = Some(vcpus),
            Reply::Memory(memory) => record.shown.memory = Some(memory),
            _ => {}
        });
        Ok(())
    }
}

fn put(record: VmRecord) -> Put {
    Put::Vm(Box::new(record))
}

pub(super) fn vm_record(state: &State, vm: VmId) -> Result<VmRecord, Fault> {
    let vm = state.vms.get(&vm);
    vm.map(|vm| vm.record.clone())
        .ok_or_else(|| Fault::new(FaultCode::UnknownVm, "the VM was deleted"))
}

fn running(before: &VmRecord) -> VmRecord {
    let charge = before.charge.map(|charge| Charge { running: true, ..charge });
    VmRecord {
        phase: VmPhase::Running,
        reason: String::new(),
        charge,
        saved: None,
        ..before.clone()
    }
}

/// Nobody knows whether it runs: it keeps host and reservation, so that it is started nowhere else.
fn left_on_host(before: &VmRecord) -> VmRecord {
    VmRecord {
        phase: VmPhase::Lost,
        reason: "its host did not answer; whether it runs is known when that host is heard".into(),
        ..before.clone()
    }
}

fn after_told(before: &VmRecord, request: &Request, reply: &Reply) -> Option<VmRecord> {
    let phase = |phase| Some(VmRecord { phase, ..before.clone() });
    match (request, reply) {
        (Request::PauseVm(_), _) => phase(VmPhase::Paused),
        (Request::UnpauseVm(_) | Request::ResumeVm(_), _) => phase(VmPhase::Running),
        (Request::SuspendVm(_), _) => phase(VmPhase::Suspended),
        (Request::SaveVm(_), _) => Some(off_host(before, VmPhase::Saved, "")),
        (Request::RebootVm(_), _) => Some(rebooted(before)),
        (Request::ShutdownVm(_), _) => Some(off_host(before, VmPhase::PoweredOff, "")),
        (Request::DestroyVm(_), _) => Some(off_host(before, VmPhase::Destroyed, "")),
        (Request::SetMemory(asked), Reply::Memory(reached)) => resized(before, asked, reached),
        (Request::SetVcpus(_), Reply::Vcpus(vcpus)) => {
            let spec = VmSpec::try_from(before.spec.clone()).ok()?;
            let charge = before.charge?;
            let target = Kib(before.memory_target_kib);
            let cpu_milli = charge_of(&spec, target, vcpus.online, true).cpu_milli;
            Some(VmRecord {
                charge: Some(Charge { cpu_milli, ..charge }),
                vcpus_target: Some(vcpus.asked),
                ..before.clone()
            })
        }
        (change, _) => {
            applied(&before.spec, change).map(|spec| VmRecord { spec, ..before.clone() })
        }
    }
}

/// Built anew: vCPUs and memory are as at boot.
fn rebooted(before: &VmRecord) -> VmRecord {
    let spec = VmSpec::try_from(before.spec.clone()).ok();
    let charge = spec.map(|spec| charge_of(&spec, spec.memory, spec.vcpus, true));
    VmRecord {
        phase: VmPhase::Running,
        charge: before.charge.and(charge).or(before.charge),
        memory_target_kib: before.spec.memory_kib,
        vcpus_target: None,
        ..before.clone()
    }
}

/// Charged is what the guest holds or may come to hold, whichever is more.
fn resized(before: &VmRecord, asked: &SetMemory, reached: &Memory) -> Option<VmRecord> {
    let spec = VmSpec::try_from(before.spec.clone()).ok()?;
    let held = Kib(asked.memory_kib.max(reached.reached_kib));
    let memory_kib = charge_of(&spec, held, spec.vcpus, true).memory_kib;
    let charge = before.charge.map(|charge| Charge { memory_kib, ..charge });
    Some(VmRecord { charge, memory_target_kib: asked.memory_kib, ..before.clone() })
}
