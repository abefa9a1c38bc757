//! A host's samples: physical CPUs, memory, its own disks and interfaces.

use std::collections::BTreeMap;
use std::time::Duration;

use super::per_second;
use crate::units::{BytesPerSecond, Kib, MilliCpu};

/// A disk of the host's: counters since it booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostDiskCounters {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Time of all reads, each from its arrival to its end.
    pub read_time: Duration,
    /// Time of all writes.
    pub write_time: Duration,
}

/// A network interface of the host's: counters since it booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostNicCounters {
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets dropped, both ways.
    pub drops: u64,
}

/// A host at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSample {
    /// When, on its monotonic clock.
    pub at: Duration,
    /// Idle time of each physical CPU.
    pub pcpu_idle: Vec<Duration>,
    /// Memory that Xen has free.
    pub memory_free: Kib,
    /// Its disks, by name.
    pub disks: BTreeMap<String, HostDiskCounters>,
    /// Its interfaces, by name.
    pub nics: BTreeMap<String, HostNicCounters>,
}

impl HostSample {
    /// Busy CPUs between an earlier sample and this one.
    #[must_use]
    pub fn cpu_since(&self, earlier: &Self) -> Option<MilliCpu> {
        let busy: Duration = self.busy_since(earlier)?.iter().sum();
        per_second(u64::try_from(busy.as_millis()).ok()?, self.at, earlier.at).map(MilliCpu)
    }

    /// How busy each physical CPU was between an earlier sample and this one.
    #[must_use]
    pub fn pcpus_since(&self, earlier: &Self) -> Option<Vec<MilliCpu>> {
        let milli = |busy: Duration| {
            per_second(u64::try_from(busy.as_millis()).ok()?, self.at, earlier.at).map(MilliCpu)
        };
        self.busy_since(earlier)?.into_iter().map(milli).collect()
    }

    fn busy_since(&self, earlier: &Self) -> Option<Vec<Duration>> {
        let elapsed = self.at.checked_sub(earlier.at).filter(|d| !d.is_zero())?;
        if self.pcpu_idle.len() != earlier.pcpu_idle.len() {
            return None;
        }
        let both = self.pcpu_idle.iter().zip(&earlier.pcpu_idle);
        // A CPU's idle time may run ahead of our clock by a few microseconds.
        both.map(|(now, then)| now.checked_sub(*then).map(|idle| elapsed.saturating_sub(idle)))
            .collect()
    }

    /// Throughput of a disk, both ways, between an earlier sample and this one.
    #[must_use]
    pub fn disk_since(&self, disk: &str, earlier: &Self) -> Option<BytesPerSecond> {
        let [now, then] = [self, earlier].map(|sample| {
            let disk = sample.disks.get(disk)?;
            Some(disk.read_bytes.saturating_add(disk.written_bytes))
        });
        per_second(now?.checked_sub(then?)?, self.at, earlier.at).map(BytesPerSecond)
    }

    /// Mean time of a disk's requests that ended between an earlier sample and this one; `None` when there was none.
    #[must_use]
    pub fn latency_since(&self, disk: &str, earlier: &Self) -> Option<Duration> {
        let (now, then) = (self.disks.get(disk)?, earlier.disks.get(disk)?);
        let requests = now.requests().checked_sub(then.requests())?;
        let time = now.time().checked_sub(then.time())?;
        time.checked_div(u32::try_from(requests).ok()?)
    }

    /// Throughput of an interface, both ways, between an earlier sample and this one.
    #[must_use]
    pub fn nic_since(&self, nic: &str, earlier: &Self) -> Option<BytesPerSecond> {
        let [now, then] = [self, earlier].map(|sample| {
            let nic = sample.nics.get(nic)?;
            Some(nic.received_bytes.saturating_add(nic.sent_bytes))
        });
        per_second(now?.checked_sub(then?)?, self.at, earlier.at).map(BytesPerSecond)
    }
}

impl HostDiskCounters {
    fn requests(&self) -> u64 {
        self.reads.saturating_add(self.writes)
    }

    fn time(&self) -> Duration {
        self.read_time.saturating_add(self.write_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: u64, idle_ms: &[u64], requests: u64, bytes: u64, busy_ms: u64) -> HostSample {
        let disk = HostDiskCounters {
            reads: requests,
            written_bytes: bytes,
            write_time: Duration::from_millis(busy_ms),
            ..HostDiskCounters::default()
        };
        let nic = HostNicCounters { sent_bytes: bytes, ..HostNicCounters::default() };
        HostSample {
            at: Duration::from_secs(at_s),
            pcpu_idle: idle_ms.iter().copied().map(Duration::from_millis).collect(),
            disks: [("sda".to_owned(), disk)].into(),
            nics: [("eth0".to_owned(), nic)].into(),
            ..HostSample::default()
        }
    }

    #[test]
    fn each_cpu_is_as_busy_as_it_was_not_idle() {
        let (then, now) = (sample(1, &[0, 0], 0, 0, 0), sample(3, &[2_001, 500], 0, 0, 0));
        assert_eq!(now.pcpus_since(&then), Some(vec![MilliCpu(0), MilliCpu(750)]));
        assert_eq!(now.cpu_since(&then), Some(MilliCpu(750)));
        assert_eq!(then.pcpus_since(&now), None);
        assert_eq!(now.pcpus_since(&sample(1, &[0], 0, 0, 0)), None);
    }

    #[test]
    fn throughput_and_latency_are_those_between_two_samples() {
        let (then, now) = (sample(1, &[], 10, 4_096, 70), sample(3, &[], 14, 12_288, 76));
        assert_eq!(now.disk_since("sda", &then), Some(BytesPerSecond(4_096)));
        assert_eq!(now.nic_since("eth0", &then), Some(BytesPerSecond(4_096)));
        assert_eq!(now.latency_since("sda", &then), Some(Duration::from_micros(1_500)));
        // Without a request there is no latency; a disk that came, or began anew, has no rate.
        let idle = sample(5, &[], 14, 12_288, 76);
        assert_eq!(idle.latency_since("sda", &now), None);
        assert_eq!(idle.disk_since("sda", &now), Some(BytesPerSecond(0)));
        assert_eq!(then.latency_since("sda", &now), None);
        assert_eq!(now.disk_since("sdb", &then), None);
        assert_eq!(sample(5, &[], 0, 0, 0).disk_since("sda", &now), None);
    }
}
