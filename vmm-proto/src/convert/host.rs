//! Hosts.

use vmm_core::host::{Health, HostCapacity, HostLoad};
use vmm_core::units::{BytesPerSecond, Kib, MilliCpu};

use crate::v1;

impl From<&v1::HostFacts> for HostCapacity {
    fn from(facts: &v1::HostFacts) -> Self {
        HostCapacity {
            cpu: MilliCpu::from_cpus(facts.pcpus),
            memory: Kib(facts.memory_kib),
            disk: BytesPerSecond(facts.disk_bytes_per_s),
        }
    }
}

impl From<v1::HostLoad> for HostLoad {
    fn from(load: v1::HostLoad) -> Self {
        HostLoad {
            shell_count: load.shell_count,
            shell_memory: Kib(load.shell_memory_kib),
            cpu: MilliCpu(load.cpu_milli),
            memory_free: Kib(load.memory_free_kib),
            disk: BytesPerSecond(load.disk_bytes_per_s),
        }
    }
}

impl From<HostLoad> for v1::HostLoad {
    fn from(load: HostLoad) -> Self {
        v1::HostLoad {
            cpu_milli: load.cpu.0,
            memory_free_kib: load.memory_free.0,
            disk_bytes_per_s: load.disk.0,
            shell_count: load.shell_count,
            shell_memory_kib: load.shell_memory.0,
        }
    }
}

impl From<Health> for v1::HostHealth {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => v1::HostHealth::Unknown,
            Health::Up => v1::HostHealth::Up,
            Health::Silent => v1::HostHealth::Silent,
        }
    }
}
