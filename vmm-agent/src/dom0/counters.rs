//! What dom0's Linux counts.

use std::collections::BTreeMap;

use vmm_core::stats::{DiskCounters, HostDiskCounters, HostNicCounters, NicCounters};
use xen_bindings::DomId;

use super::Dom0Error;

/// Counters of backends and of the host's own devices. A device that is not there counts nothing, which is no failure.
pub trait Counters {
    /// What the block backend counted for a disk; `None` when it has no such disk.
    ///
    /// # Errors
    /// `Other`.
    fn vbd_counters(&self, domid: DomId, devid: u32) -> Result<Option<DiskCounters>, Dom0Error>;

    /// What the network backend counted for a NIC, from the guest's side: it has received what the backend sent. `None` when
    /// there is no such NIC.
    ///
    /// # Errors
    /// `Other`.
    fn vif_counters(&self, domid: DomId, index: u32) -> Result<Option<NicCounters>, Dom0Error>;

    /// The host's whole disks by name: no partitions, loop devices or memory.
    ///
    /// # Errors
    /// `Other`.
    fn host_disks(&self) -> Result<BTreeMap<String, HostDiskCounters>, Dom0Error>;

    /// The host's physical interfaces and bridges by name: no guest's backends and not the loopback.
    ///
    /// # Errors
    /// `Other`.
    fn host_nics(&self) -> Result<BTreeMap<String, HostNicCounters>, Dom0Error>;
}
