//! A simulated dom0: tables of loop devices, block devices, bridges and ports, over a simulated machine. Touches no device.
//!
//! Image files must exist, as kernels must for the simulated machine: so a wrong path fails here as it does on a real host, and a
//! file that grows is really longer afterwards. The tables outlive an agent (keep the [`crate::Backend`] and start another agent
//! on it), not a power loss: after one, take a new [`SimDom0`], which has its bridges as a host has them after boot, and no ports.

mod block;
mod console;
mod counters;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::stats::HostDiskCounters;
use xen_bindings::sim::SimMachine;

use super::{DeviceNumber, Dom0, LoopIndex};

/// The bridge that every simulated host has from the start.
pub const BRIDGE: &str = "br0";

/// dom0 of one simulated machine.
pub struct SimDom0 {
    machine: SimMachine,
    tables: Mutex<Tables>,
    origin: Instant,
}

#[derive(Default)]
struct Tables {
    loops: BTreeMap<LoopIndex, SimLoop>,
    /// By the path of their node.
    devices: BTreeMap<PathBuf, (DeviceNumber, u64)>,
    /// What dom0 itself does with block devices.
    uses: BTreeMap<DeviceNumber, String>,
    bridges: BTreeSet<String>,
    /// Interface to bridge.
    ports: BTreeMap<String, String>,
    disks: BTreeMap<String, HostDiskCounters>,
}

struct SimLoop {
    file: PathBuf,
    read_only: bool,
    bytes: u64,
    flushes: usize,
}

impl SimDom0 {
    /// No loop device is attached, and there is one bridge: [`BRIDGE`].
    #[must_use]
    pub fn new(machine: &SimMachine) -> Self {
        let tables = Tables { bridges: [BRIDGE.to_owned()].into(), ..Tables::default() };
        Self { machine: machine.clone(), tables: Mutex::new(tables), origin: Instant::now() }
    }

    /// Another bridge.
    pub fn add_bridge(&self, name: &str) {
        self.tables().bridges.insert(name.to_owned());
    }

    /// A bridge goes, and its ports are in none.
    pub fn remove_bridge(&self, name: &str) {
        let mut tables = self.tables();
        tables.bridges.remove(name);
        tables.ports.retain(|_, bridge| bridge != name);
    }

    /// A block device, or another size for one.
    pub fn set_block_device(&self, node: &Path, number: DeviceNumber, bytes: u64) {
        self.tables().devices.insert(node.to_owned(), (number, bytes));
        self.machine.set_block_device(&number.physical_device(), bytes);
    }

    /// How often what was written through a loop device was written out.
    #[must_use]
    pub fn flushes(&self, index: LoopIndex) -> usize {
        self.tables().loops.get(&index).map_or(0, |attached| attached.flushes)
    }

    /// dom0 itself begins to use a block device, or ends it.
    pub fn set_use(&self, device: DeviceNumber, what: Option<&str>) {
        let mut tables = self.tables();
        match what {
            Some(what) => tables.uses.insert(device, what.to_owned()),
            None => tables.uses.remove(&device),
        };
    }

    /// What a disk of the host's has counted. It has no disks from the start.
    pub fn set_host_disk(&self, name: &str, counters: HostDiskCounters) {
        self.tables().disks.insert(name.to_owned(), counters);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dom0 for SimDom0 {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests;
