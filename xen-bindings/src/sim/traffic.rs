//! What has moved through a device, and how dom0's kernel counts it.

use std::time::Duration;

use super::backend::SECTOR_BYTES;
use super::probe::{VbdCounters, VifCounters};

/// One request of a guest's, for a disk's counters.
const REQUEST_BYTES: u64 = 64 << 10;
/// One packet, for an interface's counters.
const PACKET_BYTES: u64 = 1500;

/// Bytes a second, until something changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// To the guest: read from a disk, received by a NIC.
    pub(crate) to_guest: u64,
    /// From the guest: written to a disk, sent by a NIC.
    pub(crate) from_guest: u64,
    /// Neither: requests that fail, packets that nobody takes.
    pub(crate) lost: u64,
}

/// What has moved until a time.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) to_guest_bytes: u64,
    pub(crate) from_guest_bytes: u64,
    pub(crate) lost_bytes: u64,
    until: Duration,
}

impl Traffic {
    pub(crate) fn new(now: Duration) -> Self {
        Self { to_guest_bytes: 0, from_guest_bytes: 0, lost_bytes: 0, until: now }
    }

    /// Counts what has moved since the last call.
    pub(crate) fn settle(&mut self, now: Duration, flow: Flow) {
        let elapsed = now.saturating_sub(self.until).as_nanos();
        self.until = now;
        for (counter, rate) in [
            (&mut self.to_guest_bytes, flow.to_guest),
            (&mut self.from_guest_bytes, flow.from_guest),
            (&mut self.lost_bytes, flow.lost),
        ] {
            let moved = u128::from(rate) * elapsed / 1_000_000_000;
            *counter = counter.saturating_add(u64::try_from(moved).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn as_disk(&self) -> VbdCounters {
        VbdCounters {
            read_requests: self.to_guest_bytes.div_ceil(REQUEST_BYTES),
            write_requests: self.from_guest_bytes.div_ceil(REQUEST_BYTES),
            read_sectors: self.to_guest_bytes / SECTOR_BYTES,
            write_sectors: self.from_guest_bytes / SECTOR_BYTES,
            errors: self.lost_bytes.div_ceil(REQUEST_BYTES),
        }
    }

    pub(crate) fn as_interface(&self) -> VifCounters {
        VifCounters {
            rx_bytes: self.from_guest_bytes,
            rx_packets: self.from_guest_bytes.div_ceil(PACKET_BYTES),
            tx_bytes: self.to_guest_bytes,
            tx_packets: self.to_guest_bytes.div_ceil(PACKET_BYTES),
            tx_dropped: self.lost_bytes.div_ceil(PACKET_BYTES),
        }
    }
}
