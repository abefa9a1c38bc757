//! What a host reports, and what follows from it.
//!
//! ```text
//!   stored on this host   reported            then
//!   ───────────────────   ─────────────────   ─────────────────────────────────────────────
//!   owned by a task       anything            nothing: the task looks for itself
//!   yes                   with a domain       running, paused … as reported
//!   yes                   stopped             stopped for that reason; reservation released
//!   yes                   not at all          lost; reservation released
//!   being restored        stopped, or no      saved as before, unless its guest has ended by itself since
//!   on no host            with a domain       adopted: it runs there, so it is charged there
//!   on another host       coming or leaving   nothing: that move's task, or the reconciler of moves, sees to it
//!   on another host       with a domain       VM1 is broken: logged, nothing is touched
//!   unknown               with a domain       an orphan: logged once, nothing is touched
//! ```
//!
//! A poll that was sent before a task let go of a VM may bring news from before; such a VM is passed over, and the next poll
//! asks for everything.

use std::collections::BTreeSet;

use tokio::time::Instant;
use vmm_core::id::{HostId, VmId};
use vmm_core::units::Kib;
use vmm_core::vm::{VmSpec, VmState};
use vmm_proto::v1::{AgentReport, ReportedVm, VmPhase};

use super::placement::charge_of;
use super::state::{Host, State, Vm, features};
use super::{App, Object};
use crate::store::{Put, VmRecord};
use crate::view::Measured;

/// Of a saved VM whose restore nobody heard the end of.
const MAY_HAVE_RUN: &str = "whether its restore was done is not known; if its file is gone, its guest had gone on: discard it then";

/// A report that cannot be this host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is on machine {found}, this host was machine {expected} before")]
pub(crate) struct AnotherMachine {
    expected: String,
    found: String,
}

/// The number of a poll, and whether it must ask for everything.
pub(crate) struct PollBegun {
    pub(crate) number: u64,
    pub(crate) everything: bool,
}

impl App {
    /// Notes that a poll is being sent; `None` when the host is gone.
    pub(crate) fn begin_poll(&self, host: HostId) -> Option<PollBegun> {
        let mut state = self.lock();
        let number = state.next_sequence();
        let host = state.hosts.get_mut(&host)?;
        Some(PollBegun { number, everything: std::mem::take(&mut host.refresh) })
    }

    /// Takes a report over.
    pub(crate) fn take_report(
        &self,
        host: HostId,
        poll: u64,
        report: &AgentReport,
    ) -> Result<(), AnotherMachine> {
        let mut state = self.lock();
        let mut batch = state.take_facts(host, poll, report)?;
        batch.extend(state.note_migrations(host, self.now_ms()));
        batch.extend(state.reconcile(host, poll));
        if !batch.is_empty() {
            state.commit_facts(batch);
        }
        drop(state);
        self.tell_changed();
        Ok(())
    }

    /// What the host reported of the VM in answer to a poll sent after `since`; `None` when it was not heard since.
    pub(crate) fn observation(&self, host: HostId, vm: VmId, since: u64) -> Option<Observed> {
        let state = self.lock();
        let host = state.hosts.get(&host).filter(|host| host.observed_poll > since)?;
        Some(host.observed.get(&vm).map_or(Observed::Absent, |seen| Observed::Phase(seen.phase)))
    }
}

/// What a host says of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It does not know it.
    Absent,
    /// It has it, doing this.
    Phase(VmPhase),
}

impl State {
    /// A host that has reported a domain of the VM since a task last let go of it, whatever is stored.
    pub(crate) fn host_that_reports(&self, vm: VmId) -> Option<HostId> {
        let settled = self.vms.get(&vm).map_or(0, |vm| vm.settled);
        let fresh = self.hosts.values().filter(|host| host.observed_poll > settled);
        let mut with_domain = fresh.filter(|host| {
            host.observed.get(&vm).is_some_and(|seen| VmState::from(seen.phase).has_domain())
        });
        with_domain.next().map(|host| host.record.id)
    }

    /// Facts, load and VMs of the host itself.
    fn take_facts(
        &mut self,
        id: HostId,
        poll: u64,
        report: &AgentReport,
    ) -> Result<Vec<Put>, AnotherMachine> {
        let Some(host) = self.hosts.get_mut(&id) else { return Ok(Vec::new()) };
        let known = host.record.machine.clone();
        if let Some(expected) = known.filter(|machine| *machine != report.host) {
            return Err(AnotherMachine { expected, found: report.host.clone() });
        }
        host.heard = Some(Instant::now());
        host.load = Some(report.load.into());
        host.stores.clone_from(&report.stores);
        host.observed_poll = poll;
        let vms = report.vms.iter().filter_map(|vm| Some((vm.vm.parse().ok()?, vm.clone())));
        host.observed = vms.collect();
        let mut record = host.record.clone();
        record.machine = Some(report.host.clone());
        record.facts = Some(report.facts.clone());
        let changed = record != host.record;
        Ok(changed.then(|| Put::Host(Box::new(record))).into_iter().collect())
    }

    /// Brings what is stored in line with what the host reported.
    fn reconcile(&mut self, id: HostId, poll: u64) -> Vec<Put> {
        let Some(host) = self.hosts.get_mut(&id) else { return Vec::new() };
        let observed = std::mem::take(&mut host.observed);
        let now = Instant::now();
        let at_s = self.clock_s(now);
        let mut batch = Vec::new();
        let mut passed_over = false;
        let here = self.vms_on(id).chain(observed.keys().copied());
        for vm in here.collect::<BTreeSet<VmId>>() {
            let Some(vm) = self.vms.get_mut(&vm) else { continue };
            let seen = observed.get(&vm.record.id);
            if let Some(seen) = seen.filter(|_| vm.record.host == Some(id)) {
                vm.features = features(seen.cpu_features.as_deref());
            }
            if vm.owner.is_some() || vm.settled > poll {
                passed_over |= vm.owner.is_none();
                continue;
            }
            if vm.record.host.is_some_and(|at| at != id) {
                warn_of_second_domain(vm, id, seen);
                continue;
            }
            let before = (vm.vcpus_online, vm.memory_now_kib);
            vm.measured = seen.and_then(|seen| Measured::reported(seen.rates, now)).or(vm.measured);
            if let Some(measured) = seen.and(vm.measured) {
                vm.histories.sampled(at_s, &measured);
            }
            let next = match (vm.record.host, seen) {
                (Some(_), seen) => settle(vm, seen),
                (None, Some(seen)) => adopt(vm, id, seen),
                (None, None) => continue,
            };
            if before != (vm.vcpus_online, vm.memory_now_kib) {
                self.journal.touched(Object::Vm(vm.record.id));
            }
            if next != vm.record {
                batch.push(Put::Vm(Box::new(next)));
            }
        }
        if let Some(host) = self.hosts.get_mut(&id) {
            host.observed = observed;
            host.refresh |= passed_over;
        }
        batch
    }

    /// VMs with a domain on a host that nobody here knows.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = (&Host, VmId, &ReportedVm)> {
        let reported = self
            .hosts
            .values()
            .flat_map(|host| host.observed.iter().map(move |(vm, seen)| (host, *vm, seen)));
        reported.filter(|(_, vm, seen)| {
            !self.vms.contains_key(vm) && VmState::from(seen.phase).has_domain()
        })
    }
}

fn warn_of_second_domain(vm: &Vm, host: HostId, seen: Option<&ReportedVm>) {
    let runs =
        |seen: &ReportedVm| VmState::from(seen.phase).has_domain() && seen.migration.is_none();
    if seen.is_some_and(runs) {
        tracing::error!(vm_id = %vm.record.id, host_id = %host, "VM1: a second host reports a domain of this VM; nothing is touched");
    }
}

/// The record of a VM that is stored on the host.
fn settle(vm: &mut Vm, seen: Option<&ReportedVm>) -> VmRecord {
    let Some(seen) = seen else {
        return ended(&vm.record, VmPhase::Lost, "its host does not know it any more");
    };
    if !VmState::from(seen.phase).has_domain() {
        return ended(&vm.record, seen.phase, &seen.reason);
    }
    vm.vcpus_online = seen.vcpus_online;
    vm.memory_now_kib = seen.memory_kib;
    let mut next = vm.record.clone();
    next.phase = seen.phase;
    next.reason.clone_from(&seen.reason);
    if let Some(charge) = &mut next.charge {
        charge.running = true;
    }
    // A guest that goes on has left its saved memory behind.
    if !matches!(
        seen.phase,
        VmPhase::Starting | VmPhase::Suspending | VmPhase::Suspended | VmPhase::Saving
    ) {
        next.saved = None;
    }
    next
}

/// The record of a VM that has no domain on its host any more. A restore that came to nothing leaves it saved.
fn ended(record: &VmRecord, phase: VmPhase, reason: &str) -> VmRecord {
    let was_restored = matches!(record.phase, VmPhase::Starting | VmPhase::Lost);
    let never_ran = matches!(phase, VmPhase::Lost | VmPhase::Failed | VmPhase::Destroyed);
    if record.saved.is_some() && was_restored && never_ran {
        return off_host(record, VmPhase::Saved, MAY_HAVE_RUN);
    }
    off_host(record, phase, reason)
}

/// The record of a VM that was on no host, and is.
fn adopt(vm: &mut Vm, host: HostId, seen: &ReportedVm) -> VmRecord {
    let mut next = vm.record.clone();
    // What comes from another host does not run here.
    if !VmState::from(seen.phase).has_domain() || seen.phase == VmPhase::Arriving {
        return next;
    }
    let Ok(spec) = VmSpec::try_from(next.spec.clone()) else { return next };
    tracing::warn!(vm_id = %next.id, host_id = %host, "a VM that was thought to be stopped runs; it is adopted");
    let target = Kib(next.memory_target_kib.max(seen.memory_kib).min(next.spec.memory_max_kib));
    next.charge = Some(charge_of(&spec, target, seen.vcpus_online.max(spec.vcpus), true));
    next.host = Some(host);
    next.last_host = Some(host);
    next.saved = None;
    next.phase = seen.phase;
    next.reason.clone_from(&seen.reason);
    vm.vcpus_online = seen.vcpus_online;
    vm.memory_now_kib = seen.memory_kib;
    next
}

/// Stopped, on no host, charged nothing; only a saved VM remembers where its memory is.
pub(crate) fn off_host(record: &VmRecord, phase: VmPhase, reason: &str) -> VmRecord {
    VmRecord {
        phase,
        reason: reason.to_owned(),
        host: None,
        charge: None,
        memory_target_kib: record.spec.memory_kib,
        vcpus_target: record.vcpus_target.filter(|_| phase == VmPhase::Saved),
        saved: record.saved.clone().filter(|_| phase == VmPhase::Saved),
        ..record.clone()
    }
}
