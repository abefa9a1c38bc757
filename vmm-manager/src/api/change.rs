//! Changes of a VM that has a domain.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::id::{HostId, VmId};
use vmm_core::units::Kib;
use vmm_core::vm::Mac;
use vmm_core::vm::admission::{Admission, VmRequest, admit};
use vmm_proto::v1::{Fault, FaultCode, Reply, Request, SetMemory, SetVcpus, VmPhase};

use super::create::stored_spec;
use crate::app::{App, Begin, Deed, Origin, State, Target, Vm, charge_of};
use crate::store::{Charge, KeyedReply, Put, VmRecord};
use crate::workflow::Plan;

/// How long an agent may take for what needs no guest.
pub(super) const PLAIN_WAIT: Duration = Duration::from_secs(30);

/// A change that is being decided.
pub(super) struct Change<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) state: &'a mut State,
    pub(super) origin: Origin,
}

impl<'a> Change<'a> {
    /// Stores a change that is done at once, with its key and a task that says so.
    pub(super) fn store(
        self,
        about: Target,
        batch: Vec<Put>,
        reply: KeyedReply,
    ) -> Result<(), Fault> {
        self.store_with(None, about, batch, reply)
    }

    /// As [`Change::store`], with a line for the task's log.
    pub(super) fn store_with(
        self,
        note: Option<String>,
        target: Target,
        batch: Vec<Put>,
        reply: KeyedReply,
    ) -> Result<(), Fault> {
        let deed = Deed { target, origin: self.origin, note };
        self.app.done_at_once(self.state, deed, batch, Some(reply)).map(drop)
    }

    /// A VM that no task owns.
    pub(super) fn free_vm(&self, text: &str) -> Result<&Vm, Fault> {
        let vm = self.state.vm_named(text)?;
        match vm.owner {
            None => Ok(vm),
            Some(task) => {
                let message = format!(
                    "task {task} is changing VM {}; wait for it, or cancel it",
                    vm.record.spec.name
                );
                Err(Fault::new(FaultCode::Busy, message))
            }
        }
    }

    /// VM1: a VM that has a host, or may have one, is neither started nor forgotten.
    pub(super) fn check_is_nowhere(&self, vm: &VmRecord) -> Result<(), Fault> {
        let seen_on = self.state.host_that_reports(vm.id);
        let Some(host) = vm.host.or(seen_on) else { return Ok(()) };
        let host = self.state.host_name(host);
        let message = if vm.state().has_domain() || seen_on.is_some() {
            format!("VM {} runs on host {host}; shut it down or destroy it first", vm.spec.name)
        } else {
            format!(
                "whether VM {} runs on host {host} is not known; wait until that host is heard, or destroy the VM",
                vm.spec.name
            )
        };
        Err(Fault::new(FaultCode::BadState, message))
    }

    /// The VM, if the request is admitted; `true` when there is something to do.
    pub(super) fn admitted(
        &self,
        text: &str,
        request: VmRequest,
    ) -> Result<(VmRecord, bool), Fault> {
        let vm = self.free_vm(text)?.record.clone();
        let unresolved = vm.host.is_some() && !vm.state().has_domain();
        let admission = match (unresolved, request) {
            (true, VmRequest::Destroy) => Admission::Accept,
            (true, _) => return self.check_is_nowhere(&vm).map(|()| (vm, false)),
            (false, _) => admit(vm.state(), request),
        };
        match admission {
            Admission::Ignore => Ok((vm, false)),
            Admission::Deny(denied) => Err(denied.into()),
            Admission::Accept => {
                self.check_is_heard(vm.host)?;
                Ok((vm, true))
            }
        }
    }

    fn check_is_heard(&self, host: Option<HostId>) -> Result<(), Fault> {
        let host = host.and_then(|host| self.state.hosts.get(&host));
        let Some(host) = host else {
            return Err(Fault::new(FaultCode::BadState, "the VM is on no host"));
        };
        if host.health(Instant::now()) == Health::Up {
            return Ok(());
        }
        let message = format!(
            "host {} is not heard; the VM may well run on it. Check the host and its agent",
            host.record.name
        );
        Err(Fault::new(FaultCode::HostUnreachable, message))
    }

    /// A VM whose memory is in a file: another start would leave that behind.
    pub(super) fn check_is_not_saved(&self, vm: &VmRecord) -> Result<(), Fault> {
        if vm.phase != VmPhase::Saved {
            return Ok(());
        }
        let place = vm.saved.as_ref().map_or_else(String::new, |saved| {
            format!(" in {} on host {}", saved.path, self.state.host_name(saved.host))
        });
        let name = &vm.spec.name;
        let message = format!(
            "VM {name} is saved{place}; restore it with `vmmctl vm restore {name}`, or give its saved memory up with `vmmctl vm discard {name}`"
        );
        Err(Fault::new(FaultCode::BadState, message))
    }

    pub(super) fn check_name(&self, name: &str, but: Option<VmId>) -> Result<(), Fault> {
        if !self.state.name_is_taken(name, but) {
            return Ok(());
        }
        let message = format!("there is a VM named {name} already; use another name");
        Err(Fault::new(FaultCode::Conflict, message))
    }

    pub(super) fn check_mac(&self, mac: Mac, but: Option<VmId>) -> Result<(), Fault> {
        let Some(user) = self.state.mac_user(mac, but) else { return Ok(()) };
        let message = format!("VM {user} has a NIC with the MAC {mac} already; use another one");
        Err(Fault::new(FaultCode::Conflict, message))
    }

    pub(super) fn begin(self, vm: &VmRecord, plan: Plan) -> Result<Reply, Fault> {
        let begin = Begin {
            vm: vm.id,
            vm_name: vm.spec.name.clone(),
            host: vm.host,
            origin: self.origin,
            puts: Vec::new(),
            placement: None,
            plan,
        };
        self.app.begin(self.state, begin)
    }

    pub(super) fn guest_wait(&self, wait_ms_max: u64) -> (u64, Duration) {
        let wait = Duration::from_millis(wait_ms_max).min(self.app.config.guest_wait_max);
        (millis(wait), wait)
    }
}

/// Pause, unpause, shutdown, reboot, suspend, resume, destroy.
pub(super) fn power(change: Change<'_>, mut request: Request) -> Result<Reply, Fault> {
    let (text, asked, wait) = match &mut request {
        Request::PauseVm(r) => (&mut r.vm, VmRequest::Pause, PLAIN_WAIT),
        Request::UnpauseVm(r) => (&mut r.vm, VmRequest::Unpause, PLAIN_WAIT),
        Request::ResumeVm(r) => (&mut r.vm, VmRequest::Resume, PLAIN_WAIT),
        Request::DestroyVm(r) => (&mut r.vm, VmRequest::Destroy, PLAIN_WAIT),
        Request::SuspendVm(r) => {
            let wait;
            (r.wait_ms_max, wait) = change.guest_wait(r.wait_ms_max);
            (&mut r.vm, VmRequest::Suspend, wait)
        }
        Request::ShutdownVm(r) => {
            let wait;
            (r.wait_ms_max, wait) = change.guest_wait(r.wait_ms_max);
            (&mut r.vm, VmRequest::Shutdown, wait)
        }
        Request::RebootVm(r) => {
            let wait;
            (r.wait_ms_max, wait) = change.guest_wait(r.wait_ms_max);
            // It must come up again, too.
            (&mut r.vm, VmRequest::Reboot, wait + change.app.config.build_wait)
        }
        _ => return Err(Fault::new(FaultCode::Unsupported, "no such change of a VM")),
    };
    let (vm, something_to_do) = change.admitted(text, asked)?;
    *text = vm.id.to_string();
    let during = match asked {
        VmRequest::Shutdown => Some(VmPhase::ShuttingDown),
        VmRequest::Reboot => Some(VmPhase::Rebooting),
        VmRequest::Suspend => Some(VmPhase::Suspending),
        _ => None,
    };
    let phases = during.filter(|_| something_to_do).map(|during| (during, vm.phase));
    let request = something_to_do.then(|| Box::new(request));
    change.begin(&vm, Plan::Tell { request, wait_ms: millis(wait), phases })
}

/// One thing that the agent is told.
pub(super) fn tell(request: Request, wait: Duration) -> Plan {
    Plan::Tell { request: Some(Box::new(request)), wait_ms: millis(wait), phases: None }
}

pub(super) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// vCPUs online.
pub(super) fn set_vcpus(change: Change<'_>, set: SetVcpus) -> Result<Reply, Fault> {
    let (vm, _) = change.admitted(&set.vm, VmRequest::SetVcpus)?;
    let most = vm.spec.vcpus_max;
    if !(1..=most).contains(&set.vcpus) {
        let message = format!("{} vCPUs are refused: this VM can have 1 to {most}", set.vcpus);
        return Err(Fault::new(FaultCode::BadRequest, message));
    }
    let (wait_ms_max, wait) = change.guest_wait(set.wait_ms_max);
    let request = Request::SetVcpus(SetVcpus { vm: vm.id.to_string(), wait_ms_max, ..set });
    change.begin(&vm, tell(request, wait))
}

/// The balloon. The reservation grows before the guest, and shrinks after it.
pub(super) fn set_memory(change: Change<'_>, set: SetMemory) -> Result<Reply, Fault> {
    let (vm, _) = change.admitted(&set.vm, VmRequest::SetMemory)?;
    if set.memory_kib == 0 {
        let message = "0 of memory is refused: leave the guest enough to run";
        return Err(Fault::new(FaultCode::BadRequest, message));
    }
    let spec = stored_spec(&vm.spec)?;
    let (wait_ms_max, wait) = change.guest_wait(set.wait_ms_max);
    let to = |memory_kib, wait_ms_max| {
        Request::SetMemory(SetMemory { vm: vm.id.to_string(), memory_kib, wait_ms_max })
    };
    let ask = to(set.memory_kib, wait_ms_max);
    let memory_kib = charge_of(&spec, Kib(set.memory_kib), spec.vcpus, true).memory_kib;
    let plan = match vm.charge {
        Some(old) if memory_kib > old.memory_kib => {
            let charges = (old, Charge { memory_kib, ..old });
            let tells = Box::new((ask, to(vm.memory_target_kib, 0)));
            Plan::Grow { charges: Box::new(charges), tells, wait_ms: millis(wait) }
        }
        _ => tell(ask, wait),
    };
    change.begin(&vm, plan)
}
