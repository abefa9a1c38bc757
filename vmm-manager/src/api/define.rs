//! Changes of a definition: name, settings, disks, NICs. A VM that runs is changed by its agent first; of a stopped one only the
//! definition changes, at once.

use std::time::Duration;

use vmm_core::vm::admission::VmRequest;
use vmm_core::vm::{DiskSpec, NicSpec, VmSpec};
use vmm_proto::v1::{
    AttachDisk, AttachNic, ConfigureVm, Disk, Fault, FaultCode, Nic, RenameVm, Reply, Request,
    ResizeDisk, Spec,
};

use super::change::{Change, PLAIN_WAIT, millis, tell};
use crate::app::{Deed, Target};
use crate::store::{Put, Told, VmRecord};
use crate::workflow::{Plan, applied, taken_back};

/// Disks are counted in these.
const SECTOR_BYTES: u64 = 512;

/// Renames, configures, attaches or detaches.
pub(super) fn define(change: Change<'_>, mut request: Request) -> Result<Reply, Fault> {
    let (text, asked) = addressee(&mut request)?;
    let before = change.free_vm(text)?.record.clone();
    let runs = before.host.is_some() || change.state.host_that_reports(before.id).is_some();
    if runs {
        change.admitted(text, asked)?;
    } else if asked == VmRequest::ChangeDevice {
        change.check_is_not_saved(&before)?;
    }
    *text = before.id.to_string();
    let wait = grant_wait(&change, &mut request);
    check(&change, &before, &request)?;
    let Some(spec) = applied(&before.spec, &request) else {
        return Err(Fault::new(FaultCode::Internal, "this changes no definition"));
    };
    // What takes a device away that the definition does not have is not taken back: it is said again.
    let back = taken_back(&before.spec, &request).unwrap_or_else(|| request.clone());
    VmSpec::try_from(spec.clone())?;
    if runs {
        let told = Told { request, back, wait_ms: millis(wait) };
        return change.begin(&before, Plan::Define(Box::new(told)));
    }
    let target = Target::Vm(before.id, before.spec.name.clone());
    let deed = Deed { target, origin: change.origin, note: None };
    let puts = vec![Put::Vm(Box::new(VmRecord { spec, ..before }))];
    change.app.done_at_once(change.state, deed, puts, None)
}

/// Makes an attached disk larger. The definition does not say how large its disks are.
pub(super) fn resize(change: Change<'_>, resize: ResizeDisk) -> Result<Reply, Fault> {
    let (vm, _) = change.admitted(&resize.vm, VmRequest::ChangeDevice)?;
    has_disk(&vm.spec, &resize.device)?;
    if resize.size_bytes == 0 || !resize.size_bytes.is_multiple_of(SECTOR_BYTES) {
        let message = format!(
            "a size of {} bytes is refused: use a multiple of {SECTOR_BYTES}, larger than the disk is",
            resize.size_bytes
        );
        return Err(Fault::new(FaultCode::BadRequest, message));
    }
    let (wait_ms_max, wait) = change.guest_wait(resize.wait_ms_max);
    let request = Request::ResizeDisk(ResizeDisk { vm: vm.id.to_string(), wait_ms_max, ..resize });
    change.begin(&vm, tell(request, wait + PLAIN_WAIT))
}

/// The VM's name or id in the request, and what is asked of it.
fn addressee(request: &mut Request) -> Result<(&mut String, VmRequest), Fault> {
    Ok(match request {
        Request::RenameVm(r) => (&mut r.vm, VmRequest::Configure),
        Request::ConfigureVm(r) => (&mut r.vm, VmRequest::Configure),
        Request::AttachDisk(r) => (&mut r.vm, VmRequest::ChangeDevice),
        Request::DetachDisk(r) => (&mut r.vm, VmRequest::ChangeDevice),
        Request::AttachNic(r) => (&mut r.vm, VmRequest::ChangeDevice),
        Request::DetachNic(r) => (&mut r.vm, VmRequest::ChangeDevice),
        _ => return Err(Fault::new(FaultCode::Unsupported, "no such change of a VM")),
    })
}

/// How long the agent may take: as long as the guest may, and for what it does itself.
fn grant_wait(change: &Change<'_>, request: &mut Request) -> Duration {
    let wait_ms_max = match request {
        Request::AttachDisk(r) => &mut r.wait_ms_max,
        Request::DetachDisk(r) => &mut r.wait_ms_max,
        Request::AttachNic(r) => &mut r.wait_ms_max,
        Request::DetachNic(r) => &mut r.wait_ms_max,
        _ => return PLAIN_WAIT,
    };
    let wait;
    (*wait_ms_max, wait) = change.guest_wait(*wait_ms_max);
    wait + PLAIN_WAIT
}

fn check(change: &Change<'_>, vm: &VmRecord, request: &Request) -> Result<(), Fault> {
    match request {
        Request::RenameVm(RenameVm { name, .. }) => change.check_name(name, Some(vm.id)),
        Request::ConfigureVm(configure) => says_something(configure),
        Request::AttachDisk(AttachDisk { disk, .. }) => may_attach_disk(change, vm, disk),
        // A host may have a device whose attachment was never heard of.
        Request::DetachDisk(detach) if detach.force && vm.host.is_some() => Ok(()),
        Request::DetachNic(detach) if detach.force && vm.host.is_some() => Ok(()),
        Request::DetachDisk(detach) => has_disk(&vm.spec, &detach.device),
        Request::AttachNic(AttachNic { nic, .. }) => may_attach_nic(change, vm, nic),
        Request::DetachNic(detach) => has_nic(&vm.spec, detach.index),
        _ => Ok(()),
    }
}

fn says_something(configure: &ConfigureVm) -> Result<(), Fault> {
    let ConfigureVm { memory_min_kib, scheduling, on_event, autostart, .. } = configure;
    let nothing = memory_min_kib.is_none()
        && scheduling.is_none()
        && on_event.is_none()
        && autostart.is_none();
    if !nothing {
        return Ok(());
    }
    Err(Fault::new(FaultCode::BadRequest, "nothing is to be changed: say what shall be"))
}

fn may_attach_disk(change: &Change<'_>, vm: &VmRecord, wire: &Disk) -> Result<(), Fault> {
    let disk = DiskSpec::from(wire.clone());
    disk.check()?;
    let name = &vm.spec.name;
    if vm.spec.disks.iter().any(|other| other.device == wire.device) {
        let message = format!(
            "VM {name} has a disk {} already; use another device, or detach that one",
            wire.device
        );
        return Err(Fault::new(FaultCode::Conflict, message));
    }
    let own = vm.spec.disks.iter().find(|other| other.path == wire.path);
    if let Some(own) = own.filter(|own| !(own.read_only && wire.read_only)) {
        let message = format!("VM {name} has {} as {} already", own.path, own.device);
        return Err(Fault::new(FaultCode::Conflict, message));
    }
    let user = vm.host.and_then(|host| change.state.disk_user(host, &disk, Some(vm.id)));
    user.map_or(Ok(()), |user| {
        let message = format!(
            "VM {user} uses {} on this host; detach it there first, or attach it read-only to both",
            wire.path
        );
        Err(Fault::new(FaultCode::Conflict, message))
    })
}

fn may_attach_nic(change: &Change<'_>, vm: &VmRecord, wire: &Nic) -> Result<(), Fault> {
    let nic = NicSpec::try_from(wire.clone())?;
    nic.check()?;
    if vm.spec.nics.iter().any(|other| other.index == nic.index) {
        let message = format!(
            "VM {} has a NIC {} already; use another index, or detach that one",
            vm.spec.name, nic.index
        );
        return Err(Fault::new(FaultCode::Conflict, message));
    }
    // Its own NICs count, too.
    change.check_mac(nic.mac, None)
}

fn has_disk(spec: &Spec, device: &str) -> Result<(), Fault> {
    let has: Vec<&str> = spec.disks.iter().map(|disk| disk.device.as_str()).collect();
    if has.contains(&device) { Ok(()) } else { Err(lacks(spec, &format!("disk {device}"), &has)) }
}

fn has_nic(spec: &Spec, index: u32) -> Result<(), Fault> {
    if spec.nics.iter().any(|nic| nic.index == index) {
        return Ok(());
    }
    let has: Vec<String> = spec.nics.iter().map(|nic| nic.index.to_string()).collect();
    let has: Vec<&str> = has.iter().map(String::as_str).collect();
    Err(lacks(spec, &format!("NIC {index}"), &has))
}

fn lacks(spec: &Spec, what: &str, has: &[&str]) -> Fault {
    let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
    let message = format!("VM {} has no {what}; it has: {has}", spec.name);
    Fault::new(FaultCode::BadState, message)
}
