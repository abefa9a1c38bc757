//! What a line of top is of.

use std::rc::Rc;

use vmm_proto::v1::{Host, Vm};

/// A host, and what its VMs send and receive.
#[derive(Clone, Debug)]
pub(super) struct HostRow {
    pub(super) host: Rc<Host>,
    /// Missing while it was not on the screen.
    pub(super) network_bytes_per_s: Option<u64>,
}

impl HostRow {
    /// How much of its CPUs is used, in thousandths.
    pub(super) fn cpu_share(&self) -> Option<u64> {
        let cpus = u64::from(self.host.facts.as_ref()?.pcpus);
        self.host.load.as_ref()?.cpu_milli.checked_div(cpus)
    }

    /// How much of its memory is reserved, in thousandths.
    pub(super) fn memory_share(&self) -> Option<u64> {
        let all = self.host.facts.as_ref()?.memory_kib;
        self.host.memory_reserved_kib.saturating_mul(1000).checked_div(all)
    }
}

/// How much of its online vCPUs a VM uses, in thousandths.
pub(super) fn cpu_share(vm: &Vm) -> Option<u64> {
    vm.rates?.cpu_milli?.checked_div(vm.vcpus_online.into())
}
