//! The table of verbs: the one place that says what a request is called, who answers it, and whether it changes anything.

use super::request::Request;

/// What is known of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// The name of its element.
    pub name: &'static str,
    /// It changes something, so it needs an idempotency key and is never repeated without one.
    pub mutating: bool,
    /// The manager answers it, to users.
    pub manager: bool,
    /// An agent answers it, to the manager.
    pub agent: bool,
}

const fn read(name: &'static str, manager: bool, agent: bool) -> Verb {
    Verb { name, mutating: false, manager, agent }
}

const fn change(name: &'static str, manager: bool, agent: bool) -> Verb {
    Verb { name, mutating: true, manager, agent }
}

/// Looks a request up.
#[must_use]
pub fn verb(request: &Request) -> Verb {
    match request {
        //                                                manager  agent
        Request::Ping(_) => read("Ping", true, true),
        Request::ListHosts(_) => read("ListHosts", true, false),
        Request::AwaitReport(_) => read("AwaitReport", false, true),
        Request::ShowVm(_) => read("ShowVm", true, false),
        Request::ListVms(_) => read("ListVms", true, false),
        Request::ReadConsole(_) => read("ReadConsole", true, true),
        Request::GetVmStats(_) => read("GetVmStats", true, true),
        Request::GetHostStats(_) => read("GetHostStats", true, true),
        Request::ListTasks(_) => read("ListTasks", true, false),
        Request::WaitTask(_) => read("WaitTask", true, false),
        Request::AddHost(_) => change("AddHost", true, false),
        Request::RemoveHost(_) => change("RemoveHost", true, false),
        Request::SetMaintenance(_) => change("SetMaintenance", true, false),
        Request::CreateVm(_) => change("CreateVm", true, false),
        Request::StartVm(_) => change("StartVm", true, false),
        Request::DeleteVm(_) => change("DeleteVm", true, false),
        Request::CancelTask(_) => change("CancelTask", true, false),
        Request::BuildVm(_) => change("BuildVm", false, true),
        Request::PauseVm(_) => change("PauseVm", true, true),
        Request::UnpauseVm(_) => change("UnpauseVm", true, true),
        Request::ShutdownVm(_) => change("ShutdownVm", true, true),
        Request::RebootVm(_) => change("RebootVm", true, true),
        Request::SuspendVm(_) => change("SuspendVm", true, true),
        Request::ResumeVm(_) => change("ResumeVm", true, true),
        Request::SaveVm(_) => change("SaveVm", true, true),
        Request::RestoreVm(_) => change("RestoreVm", true, false),
        Request::DiscardSaved(_) => change("DiscardSaved", true, false),
        Request::AttachDisk(_) => change("AttachDisk", true, true),
        Request::DetachDisk(_) => change("DetachDisk", true, true),
        Request::ResizeDisk(_) => change("ResizeDisk", true, true),
        Request::AttachNic(_) => change("AttachNic", true, true),
        Request::DetachNic(_) => change("DetachNic", true, true),
        Request::RenameVm(_) => change("RenameVm", true, true),
        Request::ConfigureVm(_) => change("ConfigureVm", true, true),
        Request::DestroyVm(_) => change("DestroyVm", true, true),
        Request::SetVcpus(_) => change("SetVcpus", true, true),
        Request::SetMemory(_) => change("SetMemory", true, true),
    }
}
