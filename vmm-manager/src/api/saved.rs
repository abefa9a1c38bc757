//! A VM's memory in a file: save, restore, discard.

use vmm_core::units::Kib;
use vmm_core::vm::admission::VmRequest;
use vmm_core::vm::is_absolute_path;
use vmm_proto::v1::{
    DiscardSaved, Done, Fault, FaultCode, Reply, Request, RestoreVm, SaveVm, VmPhase,
};

use super::change::{Change, millis};
use super::create::{build, choose, stored_spec};
use crate::app::{Newcomer, Target, charge_of, off_host};
use crate::store::{Charge, KeyedReply, Put, SavedState, VmRecord};
use crate::workflow::{Construction, Plan};

/// Suspends a VM and writes its memory to a file on its host.
pub(super) fn save(change: Change<'_>, save: SaveVm) -> Result<Reply, Fault> {
    check_path(&save.path)?;
    let (vm, _) = change.admitted(&save.vm, VmRequest::Save)?;
    let Some(host) = vm.host else {
        return Err(Fault::new(FaultCode::BadState, "the VM is on no host; start it first"));
    };
    let saved = SavedState {
        host,
        path: save.path.clone(),
        charge: vm.charge,
        memory_target_kib: vm.memory_target_kib,
    };
    let (wait_ms_max, wait) = change.guest_wait(save.wait_ms_max);
    let wait = wait + change.app.config.transfer_wait;
    let request = Request::SaveVm(SaveVm { vm: vm.id.to_string(), wait_ms_max, ..save });
    let (request, saved, wait_ms) = (Box::new(request), Box::new(saved), millis(wait));
    change.begin(&vm, Plan::Save { request, wait_ms, saved, before: vm.phase })
}

/// Continues a VM from its file, on the host that has the file.
pub(super) fn restore(change: Change<'_>, restore: &RestoreVm) -> Result<Reply, Fault> {
    let record = change.free_vm(&restore.vm)?.record.clone();
    change.check_is_nowhere(&record)?;
    let (saved, path) = source(&record, restore.path.as_ref())?;
    let host = saved.as_ref().map_or(record.last_host, |saved| Some(saved.host));
    let host = host.filter(|host| change.state.hosts.contains_key(host)).ok_or_else(|| {
        let message = "the VM was on no host of this pool: nothing says where the file is";
        Fault::new(FaultCode::BadState, message)
    })?;
    let spec = stored_spec(&record.spec)?;
    // Of a file that nobody remembers, only the definition says how large its guest may be.
    let largest = || charge_of(&spec, spec.memory_max, spec.vcpus_max, false);
    let charge = saved.as_ref().and_then(|saved| saved.charge).unwrap_or_else(largest);
    let charge = Charge { running: false, ..charge };
    let target =
        saved.as_ref().map_or(Kib(record.spec.memory_max_kib), |s| Kib(s.memory_target_kib));
    let zone = change.state.zone_of(&record);
    let newcomer = Newcomer { record: &record, spec: &spec, charge, zone };
    let (host, decided) = choose(&change, &newcomer, Some(host))?;
    let record = VmRecord { saved, memory_target_kib: target.0, ..record };
    let plan = Plan::Build(Construction::Restore(path));
    build(change, plan, record, (host, charge, decided))
}

/// What is remembered of a saved VM, and the file to restore it from.
fn source(record: &VmRecord, path: Option<&String>) -> Result<(Option<SavedState>, String), Fault> {
    let saved = record.saved.clone().filter(|_| record.phase == VmPhase::Saved);
    let known = saved.as_ref().map(|saved| saved.path.clone());
    let path = path.cloned().or(known).ok_or_else(|| {
        let message = format!(
            "VM {} is not saved; start it, or name the file on its last host with --path",
            record.spec.name
        );
        Fault::new(FaultCode::BadState, message)
    })?;
    check_path(&path)?;
    Ok((saved, path))
}

/// A saved VM becomes an ordinary stopped one. Its file stays.
pub(super) fn discard(change: Change<'_>, discard: &DiscardSaved) -> Result<Reply, Fault> {
    let record = change.free_vm(&discard.vm)?.record.clone();
    if record.phase != VmPhase::Saved {
        let message = format!("VM {} is not saved; there is nothing to give up", record.spec.name);
        return Err(Fault::new(FaultCode::BadState, message));
    }
    let left = record.saved.as_ref().map_or_else(String::new, |saved| {
        let host = change.state.host_name(saved.host);
        format!("; {} is left on host {host}", saved.path)
    });
    let reason = format!("its saved memory was given up{left}");
    let stopped = off_host(&record, VmPhase::Destroyed, &reason);
    let about = Target::Vm(stopped.id, stopped.spec.name.clone());
    change.store_with(Some(reason), about, vec![Put::Vm(Box::new(stopped))], KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

fn check_path(path: &str) -> Result<(), Fault> {
    if is_absolute_path(path) {
        return Ok(());
    }
    let message = format!("file {path:?} is refused: name it by its absolute path on the host");
    Err(Fault::new(FaultCode::BadRequest, message))
}
