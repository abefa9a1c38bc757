//! One sample, through the host's own counters.

use std::collections::BTreeMap;
use std::time::Duration;

use vmm_core::stats::{HostSample, VcpuSample, VmSample};
use vmm_core::units::Kib;
use vmm_core::vm::{DiskSpec, VmSpec};
use xen_bindings::store::read_text;
use xen_bindings::{DomainInfo, StorePath, XenError};

use crate::core::Core;
use crate::domain::registry::VmHandle;
use crate::env::Backend;

/// A VM now. `info` is its domain's line of Xen's list.
pub(crate) async fn sample_vm(
    core: &Core,
    vm: &VmHandle,
    info: DomainInfo,
) -> Result<VmSample, XenError> {
    let spec = vm.spec();
    core.run(move |host| sample(host, &info, &spec)).await
}

fn sample(host: &Backend, info: &DomainInfo, spec: &VmSpec) -> Result<VmSample, XenError> {
    let vcpu = |index| {
        let vcpu = host.xen.vcpu.info(info.domid, index)?;
        Ok(VcpuSample {
            online: vcpu.online,
            running: vcpu.running,
            blocked: vcpu.blocked,
            pcpu: vcpu.pcpu_index,
            cpu_time: Duration::from_nanos(vcpu.cpu_time_ns),
        })
    };
    let vcpus = (0..spec.vcpus_max).map(vcpu).collect::<Result<_, XenError>>()?;
    // A backend that cannot be read counts nothing.
    let counters = |disk: &DiskSpec| {
        let counters = host.dom0.vbd_counters(info.domid, disk.device_number()?);
        Some((disk.device.clone(), counters.ok().flatten().unwrap_or_default()))
    };
    Ok(VmSample {
        at: host.dom0.now(),
        vcpus,
        memory: Kib(info.pages.kib()),
        memory_target: target(host, info).unwrap_or(Kib(info.pages.kib())),
        memory_max: Kib(info.memory_max_kib),
        memory_guest_free: None,
        disks: spec.disks.iter().filter_map(counters).collect(),
        nics: BTreeMap::new(),
    })
}

/// dom0 writes this node, but a bad value must not cost the sample.
fn target(host: &Backend, info: &DomainInfo) -> Option<Kib> {
    let node = StorePath::domain(info.domid).join("memory/target").ok()?;
    let text = read_text(host.xen.store.as_ref(), &node).ok()??;
    text.trim().parse().ok().map(Kib)
}

/// The host now, and all memory that Xen manages.
pub(crate) async fn sample_host(core: &Core) -> Result<(HostSample, Kib), XenError> {
    core.run(|host| {
        let info = host.xen.host.physinfo()?;
        let idle = host.xen.host.pcpu_times()?;
        let sample = HostSample {
            at: host.dom0.now(),
            pcpu_idle: idle.iter().map(|cpu| Duration::from_nanos(cpu.idle_ns)).collect(),
            memory_free: Kib(info.memory_free_kib),
        };
        Ok((sample, Kib(info.memory_total_kib)))
    })
    .await
}
