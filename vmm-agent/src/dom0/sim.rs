//! A simulated dom0: loop devices in a table, counters from the simulated machine. Touches no device.
//!
//! Image files must exist, as kernels must for the simulated machine: so a wrong path fails here as it does on a real host.
//! The table outlives an agent (keep the [`crate::Backend`] and start another agent on it), not a power loss.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use vmm_core::stats::DiskCounters;
use xen_bindings::DomId;
use xen_bindings::sim::SimMachine;

use super::{
    AttachedLoop, ConsoleSource, Dom0, Dom0Error, Dom0ErrorKind, LoopIndex,
};

/// Loop devices that it has.
const LOOPS_MAX: u32 = 256;
/// How often a simulated console is looked at.
const CONSOLE_POLL: Duration = Duration::from_millis(500);
/// Bytes of a sector, as the block backend counts.
const SECTOR_BYTES: u64 = 512;

/// dom0 of one simulated machine.
pub struct SimDom0 {
    machine: SimMachine,
    loops: Mutex<BTreeMap<LoopIndex, PathBuf>>,
    origin: Instant,
}

impl SimDom0 {
    /// No loop device is attached.
    #[must_use]
    pub fn new(machine: &SimMachine) -> Self {
        Self { machine: machine.clone(), loops: Mutex::default(), origin: Instant::now() }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<LoopIndex, PathBuf>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dom0 for SimDom0 {
    fn attach_loop(&self, image: &Path, _read_only: bool) -> Result<LoopIndex, Dom0Error> {
        const OPERATION: &str = "attach a loop device to";
        let bytes = std::fs::metadata(image)
            .map_err(|error| Dom0Error::io(OPERATION, image, &error))?
            .len();
        let mut loops = self.table();
        let index = (0..LOOPS_MAX).map(LoopIndex).find(|index| !loops.contains_key(index));
        let index = index.ok_or_else(|| Dom0Error {
            operation: OPERATION,
            subject: image.display().to_string(),
            kind: Dom0ErrorKind::Busy,
            detail: "no loop device is free".into(),
        })?;
        loops.insert(index, image.to_owned());
        self.machine.set_block_device(&index.physical_device(), bytes);
        Ok(index)
    }

    fn detach_loop(&self, index: LoopIndex) -> Result<(), Dom0Error> {
        self.table().remove(&index);
        Ok(())
    }

    fn loops(&self) -> Result<Vec<AttachedLoop>, Dom0Error> {
        let attached = |(index, file): (&LoopIndex, &PathBuf)| AttachedLoop {
            index: *index,
            backing_file: file.clone(),
        };
        Ok(self.table().iter().map(attached).collect())
    }

    fn vbd_counters(&self, domid: DomId, devid: u32) -> Result<Option<DiskCounters>, Dom0Error> {
        Ok(self.machine.vbd_counters(domid, devid).map(|counters| DiskCounters {
            reads: counters.read_requests,
            writes: counters.write_requests,
            read_bytes: counters.read_sectors * SECTOR_BYTES,
            written_bytes: counters.write_sectors * SECTOR_BYTES,
        }))
    }

    fn open_console(&self, domid: DomId, _tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error> {
        Ok(Box::new(SimConsole { machine: self.machine.clone(), domid, seen: 0 }))
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A simulated guest's console: its lines, from the first one that was not read yet.
struct SimConsole {
    machine: SimMachine,
    domid: DomId,
    seen: usize,
}

impl ConsoleSource for SimConsole {
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>> {
        async {
            loop {
                let Some(guest) = self.machine.guest(self.domid) else { return Vec::new() };
                let fresh = guest.console.get(self.seen..).unwrap_or_default();
                if !fresh.is_empty() {
                    self.seen = guest.console.len();
                    return fresh.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
                }
                tokio::time::sleep(CONSOLE_POLL).await;
            }
        }
        .boxed()
    }
}
