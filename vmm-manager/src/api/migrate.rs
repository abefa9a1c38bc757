//! Moves of VMs that run: whether, where to, and what it would take.

use std::ops::RangeInclusive;

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::id::HostId;
use vmm_core::scheduler::record::{Question, Record};
use vmm_core::scheduler::{Destination, Pool, Refusal, Relocation};
use vmm_core::units::Kib;
use vmm_core::vm::admission::{Admission, VmRequest, admit};
use vmm_core::vm::target_elsewhere;
use vmm_proto::convert::plan::{shown_choice, shown_destination};
use vmm_proto::v1::{
    Fault, FaultCode, MigrateVm, MigrationPlan, PlanMigration, RefusedHost, Reply, VmPhase,
};

use super::change::Change;
use super::create::stored_spec;
use crate::app::{App, Begin, Choice, Made, State, Vm, charge_of};
use crate::store::{Charge, Moving, Put, VmRecord};
use crate::workflow::{Move, Plan};

/// How long a guest may stand still, and be copied, when nobody says.
const DOWNTIME_MS: u64 = 300;
const DEADLINE_S: u64 = 3600;
/// Longer than this is no move of a VM that runs.
const DOWNTIME_MS_MAX: u64 = 600_000;
const SLOWDOWN_MS_MAX: u64 = 600_000;
const DEADLINE_S_MAX: u64 = 7 * 24 * 3600;

/// What was asked for, and where the VM could go.
struct Considered {
    record: VmRecord,
    source: HostId,
    downtime_ms_max: u64,
    deadline_s: u64,
    /// The host that was named.
    named: Option<HostId>,
    pool: Pool,
    found: Relocation,
}

/// Moves it.
pub(super) fn migrate(change: Change<'_>, asked: &MigrateVm) -> Result<Reply, Fault> {
    let considered = consider(change.state, asked)?;
    let destination = considered.chosen()?.host;
    let choice = considered.choice(change.state, destination);
    let Considered { record, source, downtime_ms_max, deadline_s, .. } = considered;
    let charge = charge_there(change.state, &record, destination)?;
    let migration = change.app.new_migration_id();
    let moving = Moving { migration, source, destination, committed: false, charge };
    let now = change.state.vms.get(&record.id);
    let (memory_now, vcpus) = now.map_or((0, 0), |vm| (vm.memory_now_kib, vm.vcpus_online));
    let target = Kib(record.memory_target_kib);
    let plan = Plan::Move(Box::new(Move {
        moving: moving.clone(),
        memory_kib: target_elsewhere(Kib(memory_now), target).max(target).0,
        vcpus_online: vcpus.max(1),
        deadline_ms: deadline_s.saturating_mul(1000),
        downtime_ms_max,
        slowdown_ms_max: asked.slowdown_ms_max,
        bandwidth_bytes_per_s: asked.bandwidth_bytes_per_s.filter(|most| *most > 0),
    }));
    let reserved = VmRecord { phase: VmPhase::Migrating, moving: Some(moving), ..record };
    let begin = Begin {
        vm: reserved.id,
        vm_name: reserved.spec.name.clone(),
        host: Some(source),
        origin: change.origin,
        puts: vec![Put::Vm(Box::new(reserved))],
        placement: Some(Box::new(choice)),
        plan,
    };
    change.app.begin(change.state, begin)
}

/// Says what [`migrate`] would do.
pub(super) fn plan(app: &App, asked: &PlanMigration) -> Result<Reply, Fault> {
    let asked = asked.clone();
    let asked = MigrateVm {
        vm: asked.vm,
        host: asked.host,
        downtime_ms_max: asked.downtime_ms_max,
        slowdown_ms_max: asked.slowdown_ms_max,
        deadline_s: asked.deadline_s,
        bandwidth_bytes_per_s: asked.bandwidth_bytes_per_s,
    };
    let state = app.lock();
    let considered = consider(&state, &asked)?;
    Ok(Reply::MigrationPlan(considered.shown(&state)))
}

/// Everything but whether there is room on a host.
fn consider(state: &State, asked: &MigrateVm) -> Result<Considered, Fault> {
    let (downtime_ms_max, deadline_s) = limits(asked)?;
    let vm = state.vm_named(&asked.vm)?;
    let source = check_can_leave(state, vm)?;
    let named = asked.host.as_ref().map(|host| state.host_named(host)).transpose()?;
    let named = named.map(|host| host.record.id);
    if named == Some(source) {
        let (vm, host) = (&vm.record.spec.name, state.host_name(source));
        return Err(Fault::new(FaultCode::Conflict, format!("VM {vm} is on host {host} already")));
    }
    let (pool, found) = state.relocations(vm).ok_or_else(|| {
        Fault::new(FaultCode::BadState, "the VM is charged on no host; wait for its host's report")
    })?;
    let record = vm.record.clone();
    Ok(Considered { record, source, downtime_ms_max, deadline_s, named, pool, found })
}

/// How long it may stand still and be copied; refused when a limit makes no sense.
pub(super) fn limits(asked: &MigrateVm) -> Result<(u64, u64), Fault> {
    let within = |what: &str, value: u64, allowed: RangeInclusive<u64>| {
        if allowed.contains(&value) {
            return Ok(value);
        }
        let (least, most) = allowed.into_inner();
        let message = format!("{what} of {value} is refused: {least} to {most}");
        Err(Fault::new(FaultCode::BadRequest, message))
    };
    let (downtime, deadline) =
        (asked.downtime_ms_max.unwrap_or(DOWNTIME_MS), asked.deadline_s.unwrap_or(DEADLINE_S));
    within("slowdown-ms-max", asked.slowdown_ms_max.unwrap_or(0), 0..=SLOWDOWN_MS_MAX)?;
    let downtime = within("downtime-ms-max", downtime, 1..=DOWNTIME_MS_MAX)?;
    Ok((downtime, within("deadline-s", deadline, 1..=DEADLINE_S_MAX)?))
}

/// The host that it is on, if it runs there, nobody changes it, and that host is heard.
fn check_can_leave(state: &State, vm: &Vm) -> Result<HostId, Fault> {
    let record = &vm.record;
    let name = &record.spec.name;
    let bad = |message: String| Err(Fault::new(FaultCode::BadState, message));
    if let Some(task) = vm.owner {
        let message = format!("task {task} is changing VM {name}; wait for it, or cancel it");
        return Err(Fault::new(FaultCode::Busy, message));
    }
    match admit(record.state(), VmRequest::Migrate) {
        Admission::Deny(denied) => return Err(denied.into()),
        Admission::Accept | Admission::Ignore => {}
    }
    if let Some(other) = record.other_end() {
        let host = state.host_name(other);
        return bad(format!(
            "VM {name} was moved, and host {host} may still have something of it; that ends when the host is heard"
        ));
    }
    let host = record.host.and_then(|host| state.hosts.get(&host));
    let Some(host) = host else { return bad(format!("VM {name} is on no host; start it")) };
    if host.health(Instant::now()) != Health::Up {
        let message = format!(
            "host {} is not heard, so nothing can be moved from it. Check the host and its agent",
            host.record.name
        );
        return Err(Fault::new(FaultCode::HostUnreachable, message));
    }
    Ok(host.record.id)
}

/// CAP1: the scheduler has looked already, the ledger has the last word.
fn charge_there(state: &State, record: &VmRecord, host: HostId) -> Result<Charge, Fault> {
    let spec = stored_spec(&record.spec)?;
    let usual = || charge_of(&spec, Kib(record.memory_target_kib), spec.vcpus, true);
    let charge = record.charge.unwrap_or_else(usual);
    let known = state.hosts.get(&host);
    let known = known.ok_or_else(|| Fault::new(FaultCode::UnknownHost, "the host is gone"))?;
    known.ledger.check(record.id, charge.into()).map_err(|no_room| {
        let message = format!("host {}: {no_room}", known.record.name);
        Fault::new(FaultCode::NoCapacity, message)
    })?;
    Ok(charge)
}

impl Considered {
    /// The named host, or the best one.
    fn destination(&self) -> Option<&Destination> {
        let is_meant = |way: &&Destination| self.named.is_none_or(|named| named == way.host);
        self.found.destinations.iter().find(is_meant)
    }

    fn chosen(&self) -> Result<&Destination, Fault> {
        self.destination().ok_or_else(|| {
            let about = self.found.refusals.iter();
            let about = about.filter(|(host, _)| self.named.is_none_or(|named| named == *host));
            let reasons: Vec<String> = about
                .map(|(host, why)| format!("{} ({})", self.name_of(*host), in_words(why)))
                .collect();
            let message = match (self.named, reasons.is_empty()) {
                (None, true) => "there is no other host in the pool".to_owned(),
                (None, false) => format!("no other host can take the VM: {}", reasons.join("; ")),
                (Some(_), _) => format!("it cannot take the VM: {}", reasons.join("; ")),
            };
            Fault::new(FaultCode::NoCapacity, message)
        })
    }

    /// What the task tells of it, and what is kept.
    fn choice(&self, state: &State, chosen: HostId) -> Choice {
        let (from, to) = (self.name_of(self.source), self.name_of(chosen));
        let named = if self.named.is_some() { ", as was asked for" } else { "" };
        let question = Question::Relocate(self.record.id);
        let preference = state.cost_model.preference();
        let record = Record { question, preference, pool: self.pool.clone() };
        let answer = format!("from {from} to {to}{named}");
        Choice {
            shown: shown_choice(&self.pool, &self.found, chosen),
            made: Made { record, task: None, answer, carried: None },
        }
    }

    fn name_of(&self, host: HostId) -> String {
        let known = self.pool.hosts.iter().find(|known| known.id == host);
        known.map_or_else(|| host.to_string(), |known| known.name.clone())
    }

    fn shown(&self, state: &State) -> MigrationPlan {
        let refused = self.found.refusals.iter().map(|(host, why)| RefusedHost {
            host: self.name_of(*host),
            by: why.rule().to_owned(),
            reason: in_words(why),
        });
        let ways = self.found.destinations.iter();
        MigrationPlan {
            vm: self.record.id.to_string(),
            vm_name: self.record.spec.name.clone(),
            source: state.host_name(self.source),
            destination: self.destination().map(|way| self.name_of(way.host)),
            downtime_ms_max: self.downtime_ms_max,
            deadline_s: self.deadline_s,
            ways: ways.map(|way| shown_destination(&self.pool, way)).collect(),
            refused: refused.collect(),
        }
    }
}

/// Of a file that no directory in common holds, what would help.
fn in_words(why: &Refusal) -> String {
    match why {
        Refusal::Storage { name } if name.starts_with('/') => format!(
            "does not reach the disk {name}: it lies below no directory that both hosts report as shared"
        ),
        Refusal::Storage { name } => {
            let (name, path) = name.split_once(':').unwrap_or((name, ""));
            format!("does not report the shared directory {name} at {path}")
        }
        why => why.to_string(),
    }
}
