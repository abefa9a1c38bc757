//! VMs come and go: create, start, delete.

use tokio::time::Instant;
use vmm_core::id::HostId;
use vmm_core::scheduler::Decision;
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;
use vmm_proto::v1::{
    CreateVm, DeleteVm, Done, Fault, FaultCode, Placement, Reply, Spec, StartVm, VmPhase,
};

use super::change::Change;
use crate::app::{Begin, charge_of, no_capacity};
use crate::store::{Charge, KeyedReply, Put, VmRecord};
use crate::workflow::build_plan;

/// Defines a VM, chooses its host and starts it; a dry run only says which host.
pub(super) fn create(change: Change<'_>, create: CreateVm) -> Result<Reply, Fault> {
    let spec = VmSpec::try_from(create.spec.clone())?;
    if change.state.vms.values().any(|vm| vm.record.spec.name == create.spec.name) {
        let message = format!("there is a VM named {} already; use another name", spec.name);
        return Err(Fault::new(FaultCode::Conflict, message));
    }
    let (decision, charge) = decide(&change, &spec);
    if create.dry_run {
        return Ok(Reply::Placement(Placement::from(&decision)));
    }
    let host = decision.chosen.ok_or_else(|| no_capacity(&decision))?;
    let record = VmRecord {
        id: change.app.new_vm_id(),
        phase: VmPhase::New,
        reason: String::new(),
        host: None,
        last_host: None,
        charge: None,
        memory_target_kib: create.spec.memory_kib,
        spec: create.spec,
    };
    build(change, ("CreateVm", true), record, (host, charge, &decision))
}

/// Chooses a host for a stopped VM and starts it.
pub(super) fn start(change: Change<'_>, start: &StartVm) -> Result<Reply, Fault> {
    let vm = change.free_vm(&start.vm)?;
    let record = vm.record.clone();
    change.check_is_nowhere(&record)?;
    let spec = stored_spec(&record.spec)?;
    let (decision, charge) = decide(&change, &spec);
    let host = decision.chosen.ok_or_else(|| no_capacity(&decision))?;
    build(change, ("StartVm", false), record, (host, charge, &decision))
}

/// Forgets a stopped VM.
pub(super) fn delete(change: Change<'_>, delete: &DeleteVm) -> Result<Reply, Fault> {
    let record = change.free_vm(&delete.vm)?.record.clone();
    change.check_is_nowhere(&record)?;
    change.store(vec![Put::DropVm(record.id)], KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

fn decide(change: &Change<'_>, spec: &VmSpec) -> (Decision, Charge) {
    let charge = charge_of(spec, spec.memory, spec.vcpus, false);
    (change.state.decide(spec, charge, Instant::now()), charge)
}

pub(super) fn stored_spec(spec: &Spec) -> Result<VmSpec, Fault> {
    VmSpec::try_from(spec.clone()).map_err(|error| {
        Fault::new(FaultCode::Internal, format!("the stored specification is refused: {error}"))
    })
}

fn build(
    change: Change<'_>,
    (verb, is_new): (&'static str, bool),
    record: VmRecord,
    (host, charge, decision): (HostId, Charge, &Decision),
) -> Result<Reply, Fault> {
    check_ledger(&change, &record, host, charge)?;
    let reserved = VmRecord {
        phase: VmPhase::Starting,
        reason: String::new(),
        host: Some(host),
        last_host: Some(host),
        charge: Some(charge),
        memory_target_kib: record.spec.memory_kib,
        ..record
    };
    let begin = Begin {
        verb,
        vm: reserved.id,
        vm_name: reserved.spec.name.clone(),
        host,
        key: change.key,
        puts: vec![Put::Vm(Box::new(reserved))],
        placement: Some(Placement::from(decision)),
        flow: build_plan(is_new),
    };
    change.app.begin(change.state, begin)
}

/// CAP1: the scheduler has looked already, the ledger has the last word.
fn check_ledger(
    change: &Change<'_>,
    record: &VmRecord,
    host: HostId,
    charge: Charge,
) -> Result<(), Fault> {
    let host = change.state.hosts.get(&host);
    let mut ledger = host.map(|host| host.ledger.clone()).unwrap_or_default();
    let no_room =
        |error: vmm_core::host::NoRoom| Fault::new(FaultCode::NoCapacity, error.to_string());
    ledger.reserve(record.id, charge.into()).map_err(no_room)?;
    debug_assert!(Kib(charge.memory_kib) <= ledger.capacity().memory);
    Ok(())
}
