//! Requests of tests, in few words.

use vmm_proto::v1::{self, FaultCode, Request};

use super::Pool;
use super::pool::spec;

pub(super) const WAIT: u64 = 10_000;

pub(super) fn create(name: &str, change: impl FnOnce(&mut v1::Spec)) -> Request {
    let mut spec = spec(name);
    change(&mut spec);
    Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() })
}

pub(super) fn save(vm: &str, path: &str) -> Request {
    Request::SaveVm(v1::SaveVm {
        vm: vm.into(),
        path: path.into(),
        format: v1::SavedFormat::default(),
        wait_ms_max: WAIT,
    })
}

pub(super) fn restore(vm: &str, path: Option<&str>) -> Request {
    Request::RestoreVm(v1::RestoreVm { vm: vm.into(), path: path.map(Into::into) })
}

pub(super) fn start(vm: &str) -> Request {
    Request::StartVm(v1::StartVm { vm: vm.into() })
}

pub(super) fn destroy(vm: &str) -> Request {
    Request::DestroyVm(v1::DestroyVm { vm: vm.into() })
}

pub(super) fn delete(vm: &str) -> Request {
    Request::DeleteVm(v1::DeleteVm { vm: vm.into() })
}

pub(super) fn discard(vm: &str) -> Request {
    Request::DiscardSaved(v1::DiscardSaved { vm: vm.into() })
}

pub(super) fn rename(vm: &str, name: &str) -> Request {
    Request::RenameVm(v1::RenameVm { vm: vm.into(), name: name.into() })
}

pub(super) fn attach(vm: &str, disk: v1::Disk) -> Request {
    Request::AttachDisk(v1::AttachDisk { vm: vm.into(), wait_ms_max: WAIT, disk })
}

pub(super) fn detach(vm: &str, device: &str) -> Request {
    let (vm, device) = (vm.into(), device.into());
    Request::DetachDisk(v1::DetachDisk { vm, device, wait_ms_max: WAIT, force: false })
}

pub(super) fn resize(vm: &str, device: &str, size_bytes: u64) -> Request {
    let (vm, device) = (vm.into(), device.into());
    Request::ResizeDisk(v1::ResizeDisk { vm, device, size_bytes, wait_ms_max: WAIT })
}

pub(super) fn plug(vm: &str, nic: v1::Nic) -> Request {
    Request::AttachNic(v1::AttachNic { vm: vm.into(), wait_ms_max: WAIT, nic })
}

pub(super) fn unplug(vm: &str, index: u32) -> Request {
    Request::DetachNic(v1::DetachNic { vm: vm.into(), index, wait_ms_max: WAIT, force: false })
}

pub(super) fn configure(vm: &str, change: impl FnOnce(&mut v1::ConfigureVm)) -> Request {
    let mut configure = v1::ConfigureVm { vm: vm.into(), ..v1::ConfigureVm::default() };
    change(&mut configure);
    Request::ConfigureVm(configure)
}

pub(super) fn maintenance(host: &str, maintenance: bool) -> Request {
    Request::SetMaintenance(v1::SetMaintenance { host: host.into(), maintenance })
}

/// Refused at once, with a message that says what to do.
pub(super) async fn refused(pool: &Pool, request: Request, code: FaultCode, says: &str) {
    let shown = format!("{request:?}");
    let fault = pool.call(None, request).await.expect_err(&shown);
    assert_eq!((fault.code, fault.hop.as_str()), (code, "manager"), "{shown}: {fault}");
    assert!(fault.message.contains(says), "{shown}: {fault}");
}

pub(super) async fn vm(pool: &Pool, name: &str) -> v1::Vm {
    pool.vm(name).await.expect("there")
}
