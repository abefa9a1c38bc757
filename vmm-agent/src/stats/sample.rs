//! One sample, through the host's own counters.

use std::time::Duration;

use vmm_core::stats::{HostSample, VmSample};
use vmm_core::units::Kib;
use vmm_core::vm::DiskSpec;
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
    let devid = vm.spec.disk.as_ref().and_then(DiskSpec::device_number);
    let vcpus_max = vm.spec.vcpus_max;
    core.run(move |host| sample(host, &info, vcpus_max, devid)).await
}

fn sample(
    host: &Backend,
    info: &DomainInfo,
    vcpus_max: u32,
    devid: Option<u32>,
) -> Result<VmSample, XenError> {
    let vcpu_time = (0..vcpus_max).map(|index| {
        let vcpu = host.xen.vcpu.info(info.domid, index)?;
        Ok(vcpu.online.then(|| Duration::from_nanos(vcpu.cpu_time_ns)))
    });
    let vcpu_time = vcpu_time.collect::<Result<_, XenError>>()?;
    let disk = devid.map(|devid| host.dom0.vbd_counters(info.domid, devid));
    Ok(VmSample {
        at: host.dom0.now(),
        vcpu_time,
        memory: Kib(info.pages.kib()),
        memory_target: target(host, info).unwrap_or(Kib(info.pages.kib())),
        memory_max: Kib(info.memory_max_kib),
        // A backend that cannot be read counts nothing.
        disk: disk.and_then(|counters| counters.ok().flatten()).unwrap_or_default(),
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
