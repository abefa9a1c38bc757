//! Samples of counters, and rates from two of them.
//!
//! Counters only grow, but a guest or a device can start anew: a counter that went down gives no rate, never a huge one.

use std::time::Duration;

use crate::units::{BytesPerSecond, Kib, MilliCpu};

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
}

/// A VM at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSample {
    /// When, on the host's monotonic clock.
    pub at: Duration,
    /// CPU time of each vCPU since the VM started; `None` for one that is offline.
    pub vcpu_time: Vec<Option<Duration>>,
    /// Memory that it holds.
    pub memory: Kib,
    /// Memory that its balloon is told to aim at.
    pub memory_target: Kib,
    /// Memory that it may hold.
    pub memory_max: Kib,
    /// Its disk.
    pub disk: DiskCounters,
}

impl VmSample {
    /// CPU time of all its vCPUs.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.vcpu_time.iter().flatten().sum()
    }

    /// CPUs used between an earlier sample and this one; `None` when no rate can be told.
    #[must_use]
    pub fn cpu_since(&self, earlier: &Self) -> Option<MilliCpu> {
        let used = self.cpu_time().checked_sub(earlier.cpu_time())?;
        per_second(u64::try_from(used.as_millis()).ok()?, self.at, earlier.at).map(MilliCpu)
    }

    /// Disk throughput between an earlier sample and this one.
    #[must_use]
    pub fn disk_since(&self, earlier: &Self) -> Option<BytesPerSecond> {
        let total = |c: &DiskCounters| c.read_bytes.saturating_add(c.written_bytes);
        let bytes = total(&self.disk).checked_sub(total(&earlier.disk))?;
        per_second(bytes, self.at, earlier.at).map(BytesPerSecond)
    }
}

/// A host at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSample {
    /// When, on its monotonic clock.
    pub at: Duration,
    /// Idle time of each physical CPU.
    pub pcpu_idle: Vec<Duration>,
    /// Memory that Xen has free.
    pub memory_free: Kib,
}

impl HostSample {
    /// Busy CPUs between an earlier sample and this one.
    #[must_use]
    pub fn cpu_since(&self, earlier: &Self) -> Option<MilliCpu> {
        let elapsed = self.at.checked_sub(earlier.at).filter(|d| !d.is_zero())?;
        if self.pcpu_idle.len() != earlier.pcpu_idle.len() {
            return None;
        }
        let busy: Option<Duration> = self
            .pcpu_idle
            .iter()
            .zip(&earlier.pcpu_idle)
            // A CPU's idle time may run ahead of our clock by a few microseconds.
            .map(|(now, then)| now.checked_sub(*then).map(|idle| elapsed.saturating_sub(idle)))
            .sum();
        per_second(u64::try_from(busy?.as_millis()).ok()?, self.at, earlier.at).map(MilliCpu)
    }
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
            vcpu_time: vec![Some(Duration::from_millis(cpu_ms)), None],
            memory: Kib(0),
            memory_target: Kib(0),
            memory_max: Kib(0),
            disk: DiskCounters { written_bytes, ..DiskCounters::default() },
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
            memory_free: Kib(0),
        };
        assert_eq!(host(2, [1500, 1000]).cpu_since(&host(1, [1000, 0])), Some(MilliCpu(500)));
    }
}
