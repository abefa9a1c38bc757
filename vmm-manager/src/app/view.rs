//! The state as callers see it.

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_proto::v1;

use super::state::{Host, State, Vm};

impl State {
    pub(crate) fn show_host(&self, host: &Host, now: Instant) -> v1::Host {
        let id = host.record.id;
        let reserved = host.ledger.reserved();
        let ago = host.heard.map(|heard| now.saturating_duration_since(heard).as_millis());
        let vm_count = self.vms.values().filter(|vm| vm.record.host == Some(id)).count();
        v1::Host {
            host: id.to_string(),
            name: host.record.name.clone(),
            address: host.record.address.clone(),
            health: host.health(now).into(),
            heard_ms_ago: ago.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            maintenance: host.record.maintenance,
            vm_count: u64::try_from(vm_count).unwrap_or(u64::MAX),
            memory_reserved_kib: reserved.memory.0,
            cpu_reserved_milli: reserved.cpu.0,
            disk_reserved_bytes_per_s: reserved.disk.0,
            facts: host.record.facts.clone(),
            load: host.load.map(v1::HostLoad::from),
        }
    }

    pub(crate) fn show_vm(&self, vm: &Vm, now: Instant) -> v1::Vm {
        let host = vm.record.host.and_then(|host| self.hosts.get(&host));
        let has_domain = vm.record.state().has_domain();
        let saved = vm.record.saved.as_ref().filter(|_| vm.record.phase == v1::VmPhase::Saved);
        v1::Vm {
            vm: vm.record.id.to_string(),
            phase: vm.record.phase,
            reason: vm.record.reason.clone(),
            host: host.map(|host| host.record.name.clone()),
            stale: host.is_some_and(|host| host.health(now) != Health::Up),
            vcpus_online: if has_domain { vm.vcpus_online } else { 0 },
            memory_now_kib: if has_domain { vm.memory_now_kib } else { 0 },
            saved_path: saved.map(|saved| saved.path.clone()),
            saved_host: saved.map(|saved| self.host_name(saved.host)),
            spec: vm.record.spec.clone(),
        }
    }
}
