//! Statistics.

use std::time::Duration;

use vmm_core::stats::{HostSample, VmSample};

use crate::v1;

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl v1::VmStats {
    /// A sample, with the rates since an earlier one. The disk's name is not in a sample.
    #[must_use]
    pub fn from_samples(
        vm: String,
        now: &VmSample,
        earlier: Option<&VmSample>,
        disk: Option<&str>,
    ) -> Self {
        v1::VmStats {
            vm,
            at_ms: ms(now.at),
            cpu_milli: earlier.and_then(|then| now.cpu_since(then)).map(|rate| rate.0),
            cpu_time_ns: ns(now.cpu_time()),
            memory_kib: now.memory.0,
            memory_target_kib: now.memory_target.0,
            memory_max_kib: now.memory_max.0,
            disk_bytes_per_s: earlier.and_then(|then| now.disk_since(then)).map(|rate| rate.0),
            vcpus: (0..).zip(&now.vcpu_time).map(|(index, time)| vcpu(index, *time)).collect(),
            disk: disk.map(|device| v1::DiskCounters {
                device: device.to_owned(),
                reads: now.disk.reads,
                writes: now.disk.writes,
                read_bytes: now.disk.read_bytes,
                written_bytes: now.disk.written_bytes,
            }),
        }
    }
}

fn vcpu(index: u32, time: Option<Duration>) -> v1::Vcpu {
    v1::Vcpu { index, online: time.is_some(), cpu_time_ns: time.map_or(0, ns) }
}

impl v1::HostStats {
    /// A sample, with the load since an earlier one. Memory in all and disk throughput are filled in by the caller.
    #[must_use]
    pub fn from_samples(now: &HostSample, earlier: Option<&HostSample>) -> Self {
        v1::HostStats {
            at_ms: ms(now.at),
            cpu_milli: earlier.and_then(|then| now.cpu_since(then)).map(|rate| rate.0),
            memory_free_kib: now.memory_free.0,
            pcpus: (0..)
                .zip(&now.pcpu_idle)
                .map(|(index, idle)| v1::Pcpu { index, idle_ns: ns(*idle) })
                .collect(),
            ..v1::HostStats::default()
        }
    }
}
