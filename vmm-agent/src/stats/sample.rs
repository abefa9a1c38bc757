//! One sample, through the host's own counters.
//!
//! What it costs: a hypercall a vCPU, two reads of xenstore a VM, five small files a disk, one netlink answer a NIC.

use std::time::Duration;

use vmm_core::stats::{HostSample, VcpuSample, VmSample};
use vmm_core::units::Kib;
use vmm_core::vm::{DiskSpec, NicSpec, VmSpec};
use xen_bindings::store::read_text;
use xen_bindings::{DomainInfo, StorePath, XenError};

use crate::env::Backend;

/// Where guests' tools write how much memory is free in them, in KiB (xe-guest-utilities and its like).
const GUEST_FREE: &str = "data/meminfo_free";
/// Digits of the longest number that is read from a guest.
const GUEST_DIGITS_MAX: usize = 19;

/// A VM now. `info` is its domain's line of Xen's list, `spec` says which devices it has.
pub(super) fn sample_vm(
    host: &Backend,
    info: &DomainInfo,
    spec: &VmSpec,
) -> Result<VmSample, XenError> {
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
    let disk = |disk: &DiskSpec| {
        let counters = host.dom0.vbd_counters(info.domid, disk.device_number()?);
        Some((disk.device.clone(), counters.ok().flatten().unwrap_or_default()))
    };
    let nic = |nic: &NicSpec| {
        let counters = host.dom0.vif_counters(info.domid, nic.index);
        (nic.index, counters.ok().flatten().unwrap_or_default())
    };
    let memory = Kib(info.pages.kib());
    Ok(VmSample {
        at: host.dom0.now(),
        vcpus,
        memory,
        memory_target: target(host, info).unwrap_or(memory),
        memory_max: Kib(info.memory_max_kib),
        memory_guest_free: guest_free(host, info),
        disks: spec.disks.iter().filter_map(disk).collect(),
        nics: spec.nics.iter().map(nic).collect(),
    })
}

fn read(host: &Backend, info: &DomainInfo, name: &str) -> Option<String> {
    let node = StorePath::domain(info.domid).join(name).ok()?;
    read_text(host.xen.store.as_ref(), &node).ok()?
}

/// dom0 writes this node, but a bad value must not cost the sample.
fn target(host: &Backend, info: &DomainInfo) -> Option<Kib> {
    read(host, info, "memory/target")?.trim().parse().ok().map(Kib)
}

/// What the guest says is free in it, if it says so and it can be true. The guest writes this node, or nobody does.
pub(crate) fn guest_free(host: &Backend, info: &DomainInfo) -> Option<Kib> {
    plausible_free(&read(host, info, GUEST_FREE)?, Kib(info.pages.kib()))
}

/// A number of KiB that can be free in this much memory. A guest may write anything.
fn plausible_free(text: &str, memory: Kib) -> Option<Kib> {
    let digits = text.trim();
    let is_number = (1..=GUEST_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return None;
    }
    digits.parse().ok().map(Kib).filter(|free| *free <= memory)
}

/// The host now. Its own devices are left out when they cannot be read.
pub(super) fn sample_host(host: &Backend) -> Result<HostSample, XenError> {
    let info = host.xen.host.physinfo()?;
    let idle = host.xen.host.pcpu_times()?;
    let devices = host.dom0.host_disks().and_then(|disks| Ok((disks, host.dom0.host_nics()?)));
    let (disks, nics) = devices.unwrap_or_else(|error| {
        tracing::debug!(%error, "the host's devices were not sampled");
        Default::default()
    });
    Ok(HostSample {
        at: host.dom0.now(),
        pcpu_idle: idle.iter().map(|cpu| Duration::from_nanos(cpu.idle_ns)).collect(),
        memory_free: Kib(info.memory_free_kib),
        disks,
        nics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_believed_only_when_it_can_be() {
        let check = |text: &str, expect: Option<u64>| {
            let told = plausible_free(text, Kib(1_000));
            assert_eq!(told, expect.map(Kib), "{text:?}");
        };
        check("0", Some(0));
        check(" 1000\n", Some(1_000));
        check("1001", None);
        check("", None);
        check("-1", None);
        check("+1", None);
        check("12 kB", None);
        check("\u{fffd}\0", None);
        check("18446744073709551617", None);
        check(&"0".repeat(4_096), None);
    }
}
