//! BuildVm.

use std::sync::Arc;

use vmm_core::id::VmId;
use vmm_core::vm::{VmSpec, VmState};
use vmm_proto::convert::parse_id;
use vmm_proto::server::Caller;
use vmm_proto::v1::{BuildVm, Fault, Reply};

use super::{done, file_path};
use crate::core::Core;
use crate::domain::registry::{self, Build, VmHandle};

/// Builds the VM and answers when it runs. The same call again, even of an agent that has restarted meanwhile, is answered alike.
pub(super) async fn build(
    core: &Arc<Core>,
    caller: &Caller,
    request: BuildVm,
) -> Result<Reply, Fault> {
    let vm: VmId = parse_id("vm", &request.vm)?;
    let spec = VmSpec::try_from(request.spec)?;
    let saved = request.restore_from.map(|path| file_path(&path)).transpose()?;
    let key = caller.idempotency_key.as_ref().map(|key| format!("{} {key}", caller.principal));
    if let Some(handle) = core.registry.get(vm)
        && is_same(&handle, &spec, key.as_ref())
    {
        return Ok(done());
    }
    registry::build(core, Build { vm, spec, saved, arriving: None, key }).await?;
    for surplus in core.registry.too_many_stopped() {
        if let Some(handle) = core.registry.get(surplus)
            && let Err(error) = registry::forget(core, &handle).await
        {
            tracing::warn!(vm_id = %surplus, %error, "stopped VM not forgotten; tried again later");
        }
    }
    Ok(done())
}

/// It runs, and this very call has built it.
fn is_same(handle: &VmHandle, spec: &VmSpec, key: Option<&String>) -> bool {
    let runs = !matches!(handle.now().state, VmState::Stopped(_) | VmState::Starting);
    runs && key.is_some() && handle.build_key.as_ref() == key && *handle.spec() == *spec
}
