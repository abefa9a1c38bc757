//! What a line of top is of.

use std::rc::Rc;

use vmm_proto::v1::{Host, Vm, VmStats};

/// A host, and what its VMs send and receive.
#[derive(Clone, Debug)]
pub(super) struct HostRow {
    pub(super) host: Rc<Host>,
    /// Missing while none of its VMs was asked.
    pub(super) network_bytes_per_s: Option<u64>,
}

/// A VM, and what it was seen to use last.
#[derive(Clone, Debug)]
pub(super) struct VmRow {
    pub(super) vm: Rc<Vm>,
    pub(super) used: Used,
}

/// What a VM uses; missing is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) cpu_milli: Option<u64>,
    pub(super) disk_bytes_per_s: Option<u64>,
    pub(super) network_bytes_per_s: Option<u64>,
}

impl From<&VmStats> for Used {
    fn from(stats: &VmStats) -> Self {
        Self {
            cpu_milli: stats.cpu_milli,
            disk_bytes_per_s: stats.disk_bytes_per_s,
            network_bytes_per_s: stats.network_bytes_per_s,
        }
    }
}

impl HostRow {
    /// How much of its CPUs is used, in thousandths.
    pub(super) fn cpu_share(&self) -> Option<u64> {
        let cpus = u64::from(self.host.facts.as_ref()?.pcpus);
        self.host.load.as_ref()?.cpu_milli.checked_div(cpus)
    }

    pub(super) fn memory_used_kib(&self) -> Option<u64> {
        let all = self.host.facts.as_ref()?.memory_kib;
        Some(all.saturating_sub(self.host.load.as_ref()?.memory_free_kib))
    }

    /// How much of its memory is used, in thousandths.
    pub(super) fn memory_share(&self) -> Option<u64> {
        let all = self.host.facts.as_ref()?.memory_kib;
        self.memory_used_kib()?.saturating_mul(1000).checked_div(all)
    }
}

impl VmRow {
    /// How much of its online vCPUs is used, in thousandths.
    pub(super) fn cpu_share(&self) -> Option<u64> {
        self.used.cpu_milli?.checked_div(self.vm.vcpus_online.into())
    }
}
