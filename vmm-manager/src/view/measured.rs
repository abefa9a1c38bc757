//! What a VM was measured to use, with its time: lists show it, and policies will weigh it.

use std::time::Duration;

use tokio::time::Instant;
use vmm_core::units::{BytesPerSecond, MilliCpu};
use vmm_proto::v1;

/// The rates of one VM, at one time. What could not be told is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// When, by this process's clock: what the message says less the age that it says.
    pub(crate) at: Instant,
    pub(crate) cpu: Option<MilliCpu>,
    pub(crate) disk: Option<BytesPerSecond>,
    /// Requests to its disks a second.
    pub(crate) disk_requests: Option<u64>,
    /// Both ways.
    pub(crate) network: Option<BytesPerSecond>,
}

impl Measured {
    /// From a report that came now. One that says an age before this process's time is as old as can be told.
    pub(crate) fn reported(rates: Option<v1::VmRates>, now: Instant) -> Option<Self> {
        let rates = rates?;
        Some(Self {
            at: now.checked_sub(Duration::from_millis(rates.age_ms)).unwrap_or(now),
            cpu: rates.cpu_milli.map(MilliCpu),
            disk: rates.disk_bytes_per_s.map(BytesPerSecond),
            disk_requests: rates.disk_requests_per_s,
            network: rates.network_bytes_per_s.map(BytesPerSecond),
        })
    }

    pub(crate) fn age_ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.at))
    }

    pub(crate) fn shown(&self, now: Instant) -> v1::VmRates {
        v1::VmRates {
            age_ms: self.age_ms(now),
            cpu_milli: self.cpu.map(|rate| rate.0),
            disk_bytes_per_s: self.disk.map(|rate| rate.0),
            disk_requests_per_s: self.disk_requests,
            network_bytes_per_s: self.network.map(|rate| rate.0),
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
