//! Samples of counters, and rates from two of them.
//!
//! Counters only grow, but a guest or a device can start anew: a counter that went down gives no rate, never a huge one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::units::{BytesPerSecond, Kib, MilliCpu};

mod host;

pub use host::{HostDiskCounters, HostNicCounters, HostSample};

/// A virtual disk's counters since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Requests that failed; `None` when the backend does not count them. Linux's does not: it passes each failure on to the
    /// guest, and what it counts besides requests and sectors is how often it ran out of room for more.
    pub errors: Option<u64>,
}

/// A virtual NIC's counters since it was attached, from the guest's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicCounters {
    /// Bytes that the guest received.
    pub received_bytes: u64,
    /// Packets that the guest received.
    pub received_packets: u64,
    /// Packets for the guest that were dropped.
    pub received_drops: u64,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
    /// Packets that the guest sent.
    pub sent_packets: u64,
    /// Packets of the guest that were dropped.
    pub sent_drops: u64,
}

/// One vCPU at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuSample {
    /// Brought up by the guest.
    pub online: bool,
    /// On a physical CPU.
    pub running: bool,
    /// Waiting for an event; neither this nor running: it waits for a CPU.
    pub blocked: bool,
    /// The physical CPU that it ran on last.
    pub pcpu: u32,
    /// CPU time since the VM started.
    pub cpu_time: Duration,
}

/// A VM at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSample {
    /// When, on the host's monotonic clock.
    pub at: Duration,
    /// Each vCPU that it can have.
    pub vcpus: Vec<VcpuSample>,
    /// Memory that it holds.
    pub memory: Kib,
    /// Memory that its balloon is told to aim at.
    pub memory_target: Kib,
    /// Memory that it may hold.
    pub memory_max: Kib,
    /// Memory that the guest says is free in it.
    pub memory_guest_free: Option<Kib>,
    /// Its disks, by name in the guest.
    pub disks: BTreeMap<String, DiskCounters>,
    /// Its NICs, by number.
    pub nics: BTreeMap<u32, NicCounters>,
}

impl VmSample {
    /// CPU time of all its vCPUs, of those that are offline by now too: it never goes down.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.vcpus.iter().map(|vcpu| vcpu.cpu_time).sum()
    }

    /// CPUs used between an earlier sample and this one; `None` when no rate can be told.
    #[must_use]
    pub fn cpu_since(&self, earlier: &Self) -> Option<MilliCpu> {
        let used = self.cpu_time().checked_sub(earlier.cpu_time())?;
        per_second(u64::try_from(used.as_millis()).ok()?, self.at, earlier.at).map(MilliCpu)
    }

    /// Throughput of all disks between an earlier sample and this one.
    #[must_use]
    pub fn disk_since(&self, earlier: &Self) -> Option<BytesPerSecond> {
        let total = |c: &DiskCounters| c.read_bytes.saturating_add(c.written_bytes);
        let bytes = grown(&self.disks, &earlier.disks, total)?;
        per_second(bytes, self.at, earlier.at).map(BytesPerSecond)
    }

    /// Requests to all disks a second between an earlier sample and this one.
    #[must_use]
    pub fn disk_requests_since(&self, earlier: &Self) -> Option<u64> {
        let total = |c: &DiskCounters| c.reads.saturating_add(c.writes);
        per_second(grown(&self.disks, &earlier.disks, total)?, self.at, earlier.at)
    }

    /// Throughput of all NICs, both ways, between an earlier sample and this one.
    #[must_use]
    pub fn network_since(&self, earlier: &Self) -> Option<BytesPerSecond> {
        let total = |c: &NicCounters| c.received_bytes.saturating_add(c.sent_bytes);
        let bytes = grown(&self.nics, &earlier.nics, total)?;
        per_second(bytes, self.at, earlier.at).map(BytesPerSecond)
    }
}

/// By how much the counters of all devices have grown; one that was attached meanwhile began at 0, one that is gone is left out.
fn grown<K: Ord, C>(
    now: &BTreeMap<K, C>,
    then: &BTreeMap<K, C>,
    total: impl Fn(&C) -> u64,
) -> Option<u64> {
    let since = |(key, counters)| total(counters).checked_sub(then.get(key).map_or(0, &total));
    now.iter().map(since).sum()
}

fn per_second(amount: u64, now: Duration, then: Duration) -> Option<u64> {
    let elapsed_ms = now.checked_sub(then)?.as_millis();
    if elapsed_ms == 0 {
        return None;
    }
    u64::try_from(u128::from(amount) * 1000 / elapsed_ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: u64, cpu_ms: u64, written_bytes: u64) -> VmSample {
        VmSample {
            at: Duration::from_secs(at_s),
            vcpus: vec![VcpuSample {
                online: true,
                cpu_time: Duration::from_millis(cpu_ms),
                ..VcpuSample::default()
            }],
            memory: Kib(0),
            memory_target: Kib(0),
            memory_max: Kib(0),
            memory_guest_free: None,
            disks: [("xvda".to_owned(), DiskCounters { written_bytes, ..Default::default() })]
                .into(),
            nics: BTreeMap::new(),
        }
    }

    #[test]
    fn a_rate_needs_two_instants_and_a_counter_that_grew() {
        let (first, second) = (sample(10, 1000, 0), sample(12, 2000, 4096));
        assert_eq!(second.cpu_since(&first), Some(MilliCpu(500)));
        assert_eq!(second.disk_since(&first), Some(BytesPerSecond(2048)));
        assert_eq!(first.cpu_since(&first), None);
        assert_eq!(first.cpu_since(&second), None);
        assert_eq!(sample(13, 10, 0).cpu_since(&second), None, "the guest started anew");
    }

    #[test]
    fn a_hosts_load_is_what_its_cpus_were_not_idle() {
        let host = |at_s: u64, idle_ms: [u64; 2]| HostSample {
            at: Duration::from_secs(at_s),
            pcpu_idle: idle_ms.map(Duration::from_millis).to_vec(),
            ..HostSample::default()
        };
        assert_eq!(host(2, [1500, 1000]).cpu_since(&host(1, [1000, 0])), Some(MilliCpu(500)));
    }
}
