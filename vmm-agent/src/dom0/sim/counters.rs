//! Counters of a simulated machine.

use std::collections::BTreeMap;

use vmm_core::stats::{DiskCounters, HostDiskCounters, HostNicCounters, NicCounters};
use xen_bindings::DomId;

use super::SimDom0;
use crate::dom0::{Counters, Dom0Error};

/// Bytes of a sector, as the block backend counts.
const SECTOR_BYTES: u64 = 512;

impl Counters for SimDom0 {
    fn vbd_counters(&self, domid: DomId, devid: u32) -> Result<Option<DiskCounters>, Dom0Error> {
        Ok(self.machine.vbd_counters(domid, devid).map(|counters| DiskCounters {
            reads: counters.read_requests,
            writes: counters.write_requests,
            read_bytes: counters.read_sectors * SECTOR_BYTES,
            written_bytes: counters.write_sectors * SECTOR_BYTES,
            // The simulated backend knows; Linux's does not, and no agent shall count on it.
            errors: None,
        }))
    }

    fn vif_counters(&self, domid: DomId, index: u32) -> Result<Option<NicCounters>, Dom0Error> {
        // The backend receives what the guest sends.
        Ok(self.machine.vif_counters(domid, index).map(|counters| NicCounters {
            received_bytes: counters.tx_bytes,
            received_packets: counters.tx_packets,
            received_drops: counters.tx_dropped,
            sent_bytes: counters.rx_bytes,
            sent_packets: counters.rx_packets,
            sent_drops: 0,
        }))
    }

    fn host_disks(&self) -> Result<BTreeMap<String, HostDiskCounters>, Dom0Error> {
        Ok(self.tables().disks.clone())
    }

    fn host_nics(&self) -> Result<BTreeMap<String, HostNicCounters>, Dom0Error> {
        let bridge = |name: &String| (name.clone(), HostNicCounters::default());
        Ok(self.tables().bridges.iter().map(bridge).collect())
    }
}
