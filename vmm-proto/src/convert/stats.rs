//! Statistics.

use std::time::Duration;

use vmm_core::stats::{DiskCounters, HostSample, NicCounters, VcpuSample, VmSample};

use crate::v1;

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl v1::VmStats {
    /// A sample, with the rates since an earlier one.
    #[must_use]
    pub fn from_samples(vm: String, now: &VmSample, earlier: Option<&VmSample>) -> Self {
        v1::VmStats {
            vm,
            at_ms: ms(now.at),
            cpu_milli: earlier.and_then(|then| now.cpu_since(then)).map(|rate| rate.0),
            cpu_time_ns: ns(now.cpu_time()),
            memory_kib: now.memory.0,
            memory_target_kib: now.memory_target.0,
            memory_max_kib: now.memory_max.0,
            memory_guest_free_kib: now.memory_guest_free.map(|free| free.0),
            disk_bytes_per_s: earlier.and_then(|then| now.disk_since(then)).map(|rate| rate.0),
            network_bytes_per_s: earlier
                .and_then(|then| now.network_since(then))
                .map(|rate| rate.0),
            vcpus: (0..).zip(&now.vcpus).map(|(index, sample)| vcpu(index, sample)).collect(),
            disks: now.disks.iter().map(disk).collect(),
            nics: now.nics.iter().map(nic).collect(),
        }
    }
}

fn vcpu(index: u32, sample: &VcpuSample) -> v1::Vcpu {
    v1::Vcpu {
        index,
        online: sample.online,
        cpu_time_ns: ns(sample.cpu_time),
        running: sample.running,
        blocked: sample.blocked,
        pcpu: sample.pcpu,
    }
}

fn disk((device, counters): (&String, &DiskCounters)) -> v1::DiskCounters {
    v1::DiskCounters {
        device: device.clone(),
        reads: counters.reads,
        writes: counters.writes,
        read_bytes: counters.read_bytes,
        written_bytes: counters.written_bytes,
        errors: counters.errors,
    }
}

fn nic((index, counters): (&u32, &NicCounters)) -> v1::NicCounters {
    v1::NicCounters {
        index: *index,
        received_bytes: counters.received_bytes,
        received_packets: counters.received_packets,
        received_drops: counters.received_drops,
        sent_bytes: counters.sent_bytes,
        sent_packets: counters.sent_packets,
        sent_drops: counters.sent_drops,
    }
}

impl v1::HostStats {
    /// A sample, with the load since an earlier one. What a sample does not have is filled in by the caller: memory in all, the
    /// VMs' disk throughput, and which Xen it is.
    #[must_use]
    pub fn from_samples(now: &HostSample, earlier: Option<&HostSample>) -> Self {
        let busy = earlier.and_then(|then| now.pcpus_since(then)).unwrap_or_default();
        let pcpu = |(index, (place, idle)): (u32, (usize, &Duration))| v1::Pcpu {
            index,
            idle_ns: ns(*idle),
            busy_milli: busy.get(place).map(|busy| busy.0),
        };
        v1::HostStats {
            at_ms: ms(now.at),
            cpu_milli: earlier.and_then(|then| now.cpu_since(then)).map(|rate| rate.0),
            memory_free_kib: now.memory_free.0,
            pcpus: (0..).zip(now.pcpu_idle.iter().enumerate()).map(pcpu).collect(),
            disks: now.disks.keys().filter_map(|name| host_disk(name, now, earlier)).collect(),
            nics: now.nics.keys().filter_map(|name| host_nic(name, now, earlier)).collect(),
            ..v1::HostStats::default()
        }
    }
}

fn host_disk(name: &str, now: &HostSample, earlier: Option<&HostSample>) -> Option<v1::HostDisk> {
    let counters = now.disks.get(name)?;
    let latency = earlier.and_then(|then| now.latency_since(name, then));
    Some(v1::HostDisk {
        device: name.to_owned(),
        reads: counters.reads,
        writes: counters.writes,
        read_bytes: counters.read_bytes,
        written_bytes: counters.written_bytes,
        bytes_per_s: earlier.and_then(|then| now.disk_since(name, then)).map(|rate| rate.0),
        latency_us: latency.and_then(|latency| u64::try_from(latency.as_micros()).ok()),
    })
}

fn host_nic(name: &str, now: &HostSample, earlier: Option<&HostSample>) -> Option<v1::HostNic> {
    let counters = now.nics.get(name)?;
    Some(v1::HostNic {
        device: name.to_owned(),
        received_bytes: counters.received_bytes,
        sent_bytes: counters.sent_bytes,
        drops: counters.drops,
        bytes_per_s: earlier.and_then(|then| now.nic_since(name, then)).map(|rate| rate.0),
    })
}
