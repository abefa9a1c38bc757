//! The VM that a request names.

use vmm_proto::v1::Request;

/// By id or name; `None` for a request that names none, or makes one.
pub(super) fn vm_of(request: &mut Request) -> Option<&mut String> {
    Some(match request {
        Request::StartVm(r) => &mut r.vm,
        Request::PauseVm(r) => &mut r.vm,
        Request::UnpauseVm(r) => &mut r.vm,
        Request::ShutdownVm(r) => &mut r.vm,
        Request::RebootVm(r) => &mut r.vm,
        Request::SuspendVm(r) => &mut r.vm,
        Request::ResumeVm(r) => &mut r.vm,
        Request::SaveVm(r) => &mut r.vm,
        Request::RestoreVm(r) => &mut r.vm,
        Request::DiscardSaved(r) => &mut r.vm,
        Request::DestroyVm(r) => &mut r.vm,
        Request::DeleteVm(r) => &mut r.vm,
        Request::SetVcpus(r) => &mut r.vm,
        Request::SetMemory(r) => &mut r.vm,
        Request::AttachDisk(r) => &mut r.vm,
        Request::DetachDisk(r) => &mut r.vm,
        Request::ResizeDisk(r) => &mut r.vm,
        Request::AttachNic(r) => &mut r.vm,
        Request::DetachNic(r) => &mut r.vm,
        Request::RenameVm(r) => &mut r.vm,
        Request::ConfigureVm(r) => &mut r.vm,
        Request::LabelVm(r) => &mut r.vm,
        Request::PinVm(r) => &mut r.vm,
        Request::MigrateVm(r) => &mut r.vm,
        _ => return None,
    })
}
