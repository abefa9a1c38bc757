//! BuildVm.

use std::sync::Arc;

use vmm_core::id::VmId;
use vmm_core::vm::{GuestKind, OnEvent, Scheduling, VmSpec, VmState};
use vmm_proto::convert::parse_id;
use vmm_proto::server::Caller;
use vmm_proto::v1::{BuildVm, Fault, FaultCode, Reply};

use super::done;
use crate::core::Core;
use crate::domain::registry::{self, VmHandle};

/// Builds the VM and answers when it runs. The same call again, even of an agent that has restarted meanwhile, is answered alike.
pub(super) async fn build(
    core: &Arc<Core>,
    caller: &Caller,
    request: BuildVm,
) -> Result<Reply, Fault> {
    let vm: VmId = parse_id("vm", &request.vm)?;
    let spec = VmSpec::try_from(request.spec)?;
    refuse_unsupported(&spec, request.restore_from.is_some())?;
    let key = caller.idempotency_key.as_ref().map(|key| format!("{} {key}", caller.principal));
    if let Some(handle) = core.registry.get(vm)
        && is_same(&handle, &spec, key.as_ref())
    {
        return Ok(done());
    }
    registry::build(core, vm, spec, key).await?;
    for surplus in core.registry.too_many_stopped() {
        if let Some(handle) = core.registry.get(surplus)
            && let Err(error) = registry::forget(core, &handle).await
        {
            tracing::warn!(vm_id = %surplus, %error, "stopped VM not forgotten; tried again later");
        }
    }
    Ok(done())
}

/// What this agent cannot do yet is refused, never left out.
fn refuse_unsupported(spec: &VmSpec, restore: bool) -> Result<(), Fault> {
    let asked = [
        (restore, "restoring a saved VM"),
        (spec.kind != GuestKind::Pvh, "a PV guest"),
        (spec.disks.len() > 1, "more than one disk"),
        (!spec.nics.is_empty(), "a NIC"),
        (spec.scheduling != Scheduling::default(), "scheduling parameters"),
        (spec.on_event != OnEvent::default(), "actions on events"),
        (spec.autostart.is_some(), "autostart"),
        (spec.memory_min != spec.memory, "a balloon policy"),
    ];
    match asked.into_iter().find(|(asked, _)| *asked) {
        None => Ok(()),
        Some((_, what)) => Err(Fault::new(
            FaultCode::Unsupported,
            format!("this agent does not support {what} yet"),
        )),
    }
}

/// It runs, and this very call has built it.
fn is_same(handle: &VmHandle, spec: &VmSpec, key: Option<&String>) -> bool {
    let runs = !matches!(handle.now().state, VmState::Stopped(_) | VmState::Starting);
    runs && key.is_some() && handle.build_key.as_ref() == key && *handle.spec == *spec
}
