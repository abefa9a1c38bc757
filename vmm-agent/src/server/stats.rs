//! GetVmStats and GetHostStats: a fresh sample, and the rates since a kept one.

use vmm_core::vm::admission::Denied;
use vmm_proto::v1::{Fault, FaultCode, GetVmStats, HostStats, Reply, VmStats};
use xen_bindings::{XenError, XenVersion};

use super::find;
use crate::core::Core;
use crate::stats::{sample_host, sample_vm};

fn failed(error: XenError) -> Fault {
    Fault::new(FaultCode::HostFailed, format!("{error}; look at the agent's log on the host"))
}

pub(super) async fn vm(core: &Core, request: &GetVmStats) -> Result<Reply, Fault> {
    let handle = find(core, &request.vm)?;
    let now = sample_vm(core, &handle).await.map_err(failed)?.ok_or(Denied::NotRunning)?;
    let earlier = handle.history.before(now.at);
    Ok(Reply::VmStats(VmStats::from_samples(handle.vm.to_string(), &now, earlier.as_ref())))
}

pub(super) async fn host(core: &Core) -> Result<Reply, Fault> {
    let now = sample_host(core).await.map_err(failed)?;
    let earlier = core.history.before(now.sample.at);
    let stats = HostStats::from_samples(&now.sample, earlier.as_ref().map(|moment| &moment.sample));
    let XenVersion { major, minor, extra, capabilities } = now.version;
    Ok(Reply::HostStats(HostStats {
        memory_total_kib: now.memory_total.0,
        disk_bytes_per_s: core.history.latest().map(|moment| moment.disk.0),
        xen_version: format!("{major}.{minor}{extra}"),
        xen_capabilities: capabilities.trim().to_owned(),
        ..stats
    }))
}
