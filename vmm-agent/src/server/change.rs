//! Changes of a VM that is there.

use std::sync::Arc;

use vmm_core::units::Kib;
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    Fault, FaultCode, Memory, RebootVm, Reply, SaveVm, SetMemory, SetVcpus, ShutdownVm, SuspendVm,
    Vcpus,
};

use super::{done, file_path, find, wait};
use crate::core::Core;
use crate::domain::{Answer, Change, registry};

pub(super) async fn change(core: &Core, vm: &str, change: Change) -> Result<Reply, Fault> {
    Ok(match find(core, vm)?.change(change).await? {
        Answer::Done | Answer::Offered(_) => done(),
        Answer::Vcpus { asked, online, note } => Reply::Vcpus(Vcpus { asked, online, note }),
        Answer::Memory { asked, reached, note } => {
            Reply::Memory(Memory { asked_kib: asked.0, reached_kib: reached.0, note })
        }
    })
}

pub(super) async fn pause(core: &Core, vm: &str) -> Result<Reply, Fault> {
    change(core, vm, Change::Pause).await
}

pub(super) async fn unpause(core: &Core, vm: &str) -> Result<Reply, Fault> {
    change(core, vm, Change::Unpause).await
}

pub(super) async fn shutdown(
    core: &Core,
    caller: &Caller,
    request: &ShutdownVm,
) -> Result<Reply, Fault> {
    let wait = wait(caller, request.wait_ms_max);
    change(core, &request.vm, Change::Shutdown { wait }).await
}

pub(super) async fn reboot(
    core: &Core,
    caller: &Caller,
    request: &RebootVm,
) -> Result<Reply, Fault> {
    let wait = wait(caller, request.wait_ms_max);
    change(core, &request.vm, Change::Reboot { wait }).await
}

pub(super) async fn set_vcpus(
    core: &Core,
    caller: &Caller,
    request: &SetVcpus,
) -> Result<Reply, Fault> {
    let wait = wait(caller, request.wait_ms_max);
    change(core, &request.vm, Change::SetVcpus { vcpus: request.vcpus, wait }).await
}

pub(super) async fn set_memory(
    core: &Core,
    caller: &Caller,
    request: &SetMemory,
) -> Result<Reply, Fault> {
    let wait = wait(caller, request.wait_ms_max);
    let memory = Kib(request.memory_kib);
    change(core, &request.vm, Change::SetMemory { memory, wait }).await
}

pub(super) async fn suspend(
    core: &Core,
    caller: &Caller,
    request: &SuspendVm,
) -> Result<Reply, Fault> {
    let wait = wait(caller, request.wait_ms_max);
    change(core, &request.vm, Change::Suspend { wait }).await
}

pub(super) async fn resume(core: &Core, vm: &str) -> Result<Reply, Fault> {
    change(core, vm, Change::Resume).await
}

pub(super) async fn save(core: &Core, caller: &Caller, request: &SaveVm) -> Result<Reply, Fault> {
    let wait = wait(caller, request.wait_ms_max);
    let file = file_path(&request.path)?;
    change(core, &request.vm, Change::Save { file, format: request.format, wait }).await
}

/// Ends a VM; one that is stopped already is forgotten.
pub(super) async fn destroy(core: &Arc<Core>, vm: &str) -> Result<Reply, Fault> {
    let handle = match find(core, vm) {
        // "Unknown" would prove to the manager that nothing is built here.
        Err(_) if core.once.is_building(vm) => {
            let text = format!("VM {vm} is just being admitted; destroy it in a moment");
            return Err(Fault::new(FaultCode::Busy, text));
        }
        found => found?,
    };
    if handle.now().state.has_domain() {
        handle.destroy().await?;
    } else {
        registry::forget(core, &handle).await?;
    }
    Ok(done())
}
