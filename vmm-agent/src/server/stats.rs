//! GetVmStats and GetHostStats: a fresh sample, and the rates since a kept one.

use vmm_core::vm::admission::Denied;
use vmm_proto::v1::{Fault, FaultCode, GetVmStats, HostStats, Reply, VmStats};
use xen_bindings::XenError;

use super::find;
use crate::core::Core;
use crate::stats::{sample_host, sample_vm};

fn failed(error: XenError) -> Fault {
    Fault::new(FaultCode::HostFailed, format!("{error}; look at the agent's log on the host"))
}

pub(super) async fn vm(core: &Core, request: &GetVmStats) -> Result<Reply, Fault> {
    let handle = find(core, &request.vm)?;
    let domid = handle.now().domid.ok_or(Denied::NotRunning)?;
    let info = core.run(move |host| host.xen.control.info(domid)).await.map_err(failed)?;
    let info = info.ok_or(Denied::NotRunning)?;
    let now = sample_vm(core, &handle, info).await.map_err(failed)?;
    let earlier = handle.history.before(now.at);
    Ok(Reply::VmStats(VmStats::from_samples(handle.vm.to_string(), &now, earlier.as_ref())))
}

pub(super) async fn host(core: &Core) -> Result<Reply, Fault> {
    let (now, total) = sample_host(core).await.map_err(failed)?;
    let earlier = core.history.before(now.at);
    let disk = core.history.latest().map(|moment| moment.disk.0);
    let stats = HostStats::from_samples(&now, earlier.as_ref().map(|moment| &moment.sample));
    Ok(Reply::HostStats(HostStats { memory_total_kib: total.0, disk_bytes_per_s: disk, ..stats }))
}
