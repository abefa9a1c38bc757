//! Disks and NICs come and go.

use std::time::Duration;

use vmm_core::vm::{DiskSpec, NicSpec, device_number};
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    AttachDisk, AttachNic, DetachDisk, DetachNic, Fault, FaultCode, Reply, ResizeDisk,
};

use super::change::change;
use super::wait;
use crate::core::Core;
use crate::device::{Device, DeviceKey, vbd, vif};
use crate::domain::Change;
use crate::domain::plan::Patience;

pub(super) async fn attach_disk(
    core: &Core,
    caller: &Caller,
    request: AttachDisk,
) -> Result<Reply, Fault> {
    let disk = DiskSpec::from(request.disk);
    disk.check()?;
    let wait = wait(caller, request.wait_ms_max);
    change(core, &request.vm, Change::Attach { device: Device::Disk(disk), wait }).await
}

pub(super) async fn attach_nic(
    core: &Core,
    caller: &Caller,
    request: AttachNic,
) -> Result<Reply, Fault> {
    let nic = NicSpec::try_from(request.nic)?;
    nic.check()?;
    let wait = wait(caller, request.wait_ms_max);
    change(core, &request.vm, Change::Attach { device: Device::Nic(nic), wait }).await
}

pub(super) async fn detach_disk(
    core: &Core,
    caller: &Caller,
    request: &DetachDisk,
) -> Result<Reply, Fault> {
    let devid = disk_number(&request.device)?;
    let patience = patience(caller, request.wait_ms_max, request.force);
    let device = DeviceKey { kind: vbd::KIND, devid };
    change(core, &request.vm, Change::Detach { device, patience }).await
}

pub(super) async fn detach_nic(
    core: &Core,
    caller: &Caller,
    request: &DetachNic,
) -> Result<Reply, Fault> {
    let patience = patience(caller, request.wait_ms_max, request.force);
    let device = DeviceKey { kind: vif::KIND, devid: request.index };
    change(core, &request.vm, Change::Detach { device, patience }).await
}

pub(super) async fn resize_disk(
    core: &Core,
    caller: &Caller,
    request: ResizeDisk,
) -> Result<Reply, Fault> {
    disk_number(&request.device)?;
    let wait = wait(caller, request.wait_ms_max);
    let ResizeDisk { vm, device, size_bytes: bytes, .. } = request;
    change(core, &vm, Change::ResizeDisk { device, bytes, wait }).await
}

fn patience(caller: &Caller, wait_ms_max: u64, force: bool) -> Patience {
    let limit: Duration = wait(caller, wait_ms_max);
    Patience { limit, force }
}

fn disk_number(device: &str) -> Result<u32, Fault> {
    device_number(device).ok_or_else(|| {
        let text = format!("disk {device:?} is refused: its name in the guest is xvda to xvdp");
        Fault::new(FaultCode::BadRequest, text)
    })
}
