//! VMs come and go: create, start, delete.

use vmm_core::host::{Ledger, NoRoom};
use vmm_core::id::HostId;
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;
use vmm_proto::v1::{
    CreateVm, DeleteVm, Done, Fault, FaultCode, Placement, Reply, Spec, StartVm, VmPhase,
};

use super::change::Change;
use super::{group, pin};
use crate::app::{Begin, Decided, Newcomer, Target, charge_of, no_capacity};
use crate::store::{Charge, KeyedReply, Labels, Put, VmRecord};
use crate::workflow::{Construction, Plan};

/// A VM as it was asked for, checked, that is nowhere yet.
pub(super) struct Draft {
    pub(super) record: VmRecord,
    pub(super) spec: VmSpec,
    pub(super) charge: Charge,
    zone: Option<String>,
}

impl Draft {
    pub(super) fn newcomer(&self) -> Newcomer<'_> {
        let Self { record, spec, charge, zone } = self;
        Newcomer { record, spec, charge: *charge, zone: zone.clone() }
    }

    /// Nobody has what is to be its own.
    pub(super) fn check(&self, change: &Change<'_>) -> Result<(), Fault> {
        change.check_name(self.spec.name.as_str(), None)?;
        check_devices(change, &self.spec)
    }
}

/// Checks all but whether there is a place.
pub(super) fn draft(change: &Change<'_>, create: &CreateVm) -> Result<Draft, Fault> {
    let spec = VmSpec::try_from(create.spec.clone())?;
    let pool = create.pool.as_ref().map(|pool| change.state.pool_named(pool)).transpose()?;
    let record = VmRecord {
        id: change.app.new_vm_id(),
        phase: VmPhase::New,
        reason: String::new(),
        host: None,
        last_host: None,
        charge: None,
        memory_target_kib: create.spec.memory_kib,
        vcpus_target: None,
        saved: None,
        moving: None,
        moved_ms: None,
        labels: Labels::default(),
        pin: pin::hosts(change.state, &create.pins, pool.map(|pool| pool.id))?,
        groups: group::groups(change.state, &create.groups, &create.spec.name)?,
        spec: create.spec.clone(),
    };
    let zone = pool.map(|pool| pool.name.clone());
    let charge = charge_of(&spec, spec.memory, spec.vcpus, false);
    let draft = Draft { record, spec, charge, zone };
    draft.check(change)?;
    Ok(draft)
}

/// Defines a VM, chooses its host and starts it; a dry run only says which host.
pub(super) fn create(change: Change<'_>, create: &CreateVm) -> Result<Reply, Fault> {
    let draft = draft(&change, create)?;
    if create.dry_run {
        let decided = change.state.decide(&draft.newcomer(), None);
        return Ok(Reply::Placement(Placement::from(&decided.decision)));
    }
    let (host, decided) = choose(&change, &draft.newcomer(), None)?;
    let plan = Plan::Build(Construction::New);
    build(change, plan, draft.record, (host, draft.charge, decided))
}

/// Chooses a host for a stopped VM and starts it.
pub(super) fn start(change: Change<'_>, start: &StartVm) -> Result<Reply, Fault> {
    let vm = change.free_vm(&start.vm)?;
    let record = VmRecord { saved: None, ..vm.record.clone() };
    change.check_is_not_saved(&vm.record)?;
    change.check_is_nowhere(&record)?;
    let spec = stored_spec(&record.spec)?;
    let charge = charge_of(&spec, spec.memory, spec.vcpus, false);
    let zone = change.state.zone_of(&record);
    let newcomer = Newcomer { record: &record, spec: &spec, charge, zone };
    let (host, decided) = choose(&change, &newcomer, None)?;
    let record = VmRecord { memory_target_kib: record.spec.memory_kib, ..record };
    let plan = Plan::Build(Construction::Start);
    build(change, plan, record, (host, charge, decided))
}

/// Forgets a stopped VM.
pub(super) fn delete(change: Change<'_>, delete: &DeleteVm) -> Result<Reply, Fault> {
    let record = change.free_vm(&delete.vm)?.record.clone();
    change.check_is_not_saved(&record)?;
    change.check_is_nowhere(&record)?;
    check_is_moved(&change, &record)?;
    // Of a VM whose saved memory was given up, that says which file is left where.
    let was = Some(record.reason).filter(|reason| !reason.is_empty());
    let note = was.map(|reason| format!("it was stopped: {reason}"));
    let about = Target::Vm(record.id, record.spec.name);
    change.store_with(note, about, vec![Put::DropVm(record.id)], KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

/// What is left of a move at its other end would be nobody's.
fn check_is_moved(change: &Change<'_>, vm: &VmRecord) -> Result<(), Fault> {
    let Some(other) = vm.other_end() else { return Ok(()) };
    let host = change.state.host_name(other);
    let message = format!(
        "VM {} was moved, and host {host} may still have something of it; that ends when the host is heard",
        vm.spec.name
    );
    Err(Fault::new(FaultCode::BadState, message))
}

/// No NIC's address is used twice in the pool, and no disk twice in the VM.
fn check_devices(change: &Change<'_>, spec: &VmSpec) -> Result<(), Fault> {
    for (place, nic) in spec.nics.iter().enumerate() {
        change.check_mac(nic.mac, None)?;
        if spec.nics.iter().take(place).any(|other| other.mac == nic.mac) {
            let message = format!("two NICs have the MAC {}; give each its own", nic.mac);
            return Err(Fault::new(FaultCode::Conflict, message));
        }
    }
    for (place, disk) in spec.disks.iter().enumerate() {
        let mut before = spec.disks.iter().take(place).filter(|other| other.path == disk.path);
        if before.any(|other| !(other.read_only && disk.read_only)) {
            let message = format!(
                "{} is named by two disks; only what both only read may be attached twice",
                disk.path
            );
            return Err(Fault::new(FaultCode::Conflict, message));
        }
    }
    Ok(())
}

pub(super) fn stored_spec(spec: &Spec) -> Result<VmSpec, Fault> {
    VmSpec::try_from(spec.clone()).map_err(|error| {
        Fault::new(FaultCode::Internal, format!("the stored specification is refused: {error}"))
    })
}

/// The host for a VM, and how it was found. That there is none is a decision as well, and is kept.
pub(super) fn choose(
    change: &Change<'_>,
    newcomer: &Newcomer<'_>,
    only: Option<HostId>,
) -> Result<(HostId, Decided), Fault> {
    let decided = change.state.decide(newcomer, only);
    if let Some(host) = decided.decision.chosen {
        return Ok((host, decided));
    }
    let fault = no_capacity(&decided.decision);
    change.app.keep_decision(decided.made(None));
    Err(fault)
}

/// On its way to a host, and charged there.
pub(super) fn reserved(record: VmRecord, host: HostId, charge: Charge) -> VmRecord {
    VmRecord {
        phase: VmPhase::Starting,
        reason: String::new(),
        host: Some(host),
        last_host: Some(host),
        charge: Some(charge),
        ..record
    }
}

/// Reserves and builds; where its memory is saved and what its balloon is told are as `record` says.
pub(super) fn build(
    change: Change<'_>,
    plan: Plan,
    record: VmRecord,
    (host, charge, decided): (HostId, Charge, Decided),
) -> Result<Reply, Fault> {
    check_ledger(&change, &record, host, charge)?;
    let reserved = reserved(record, host, charge);
    let begin = Begin {
        vm: reserved.id,
        vm_name: reserved.spec.name.clone(),
        host: Some(host),
        origin: change.origin,
        puts: vec![Put::Vm(Box::new(reserved))],
        placement: Some(Box::new(decided.into())),
        plan,
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
    let nothing = Ledger::default();
    let ledger = host.map_or(&nothing, |host| &host.ledger);
    let no_room = |error: NoRoom| Fault::new(FaultCode::NoCapacity, error.to_string());
    ledger.check(record.id, charge.into()).map_err(no_room)?;
    debug_assert!(Kib(charge.memory_kib) <= ledger.capacity().memory);
    Ok(())
}
