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

use super::{AttachedLoop, ConsoleSource, Dom0, Dom0Error, Dom0ErrorKind, LoopIndex};

/// Loop devices that it has.
const LOOPS_MAX: u32 = 256;
/// How often a simulated console is looked at.
const CONSOLE_POLL: Duration = Duration::from_millis(1000);
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
        let file = std::fs::canonicalize(image).unwrap_or_else(|_| image.to_owned());
        loops.insert(index, file);
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
            errors: 0,
        }))
    }

    fn open_console(&self, domid: DomId, _tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error> {
        Ok(Box::new(SimConsole { machine: self.machine.clone(), domid, seen: Vec::new() }))
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A simulated guest's console: what it says anew since it was read last.
struct SimConsole {
    machine: SimMachine,
    domid: DomId,
    seen: Vec<String>,
}

impl SimConsole {
    /// `None` once the guest is gone.
    fn fresh(&mut self) -> Option<Vec<u8>> {
        let guest = self.machine.guest(self.domid)?;
        let fresh = fresh_lines(&self.seen, &guest.console);
        let text = fresh.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
        self.seen = guest.console;
        Some(text)
    }
}

impl ConsoleSource for SimConsole {
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>> {
        async {
            loop {
                match self.fresh() {
                    Some(text) if text.is_empty() => tokio::time::sleep(CONSOLE_POLL).await,
                    text => return text.unwrap_or_default(),
                }
            }
        }
        .boxed()
    }

    fn rest(&mut self) -> Vec<u8> {
        self.fresh().unwrap_or_default()
    }
}

/// What follows in `now` after the longest part that ends `seen` and begins `now`. The last line of both is the guest's present
/// status, which changes all the time.
fn fresh_lines<'a>(seen: &[String], now: &'a [String]) -> &'a [String] {
    let said = seen.split_last().map_or(seen, |(_, said)| said);
    let common = |skip: &usize| {
        let rest = &said[*skip..];
        now.starts_with(rest)
    };
    let skip = (0..=said.len()).find(common).unwrap_or(said.len());
    let after = said.len() - skip;
    let status_is_old = now.len() == after + 1 && now.last() == seen.last();
    if status_is_old { &[] } else { &now[after..] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seen: &str, now: &str, expect: &str) {
        let lines = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(fresh_lines(&lines(seen), &lines(now)), lines(expect), "{seen} {now}");
    }

    #[test]
    fn only_what_is_new_is_read() {
        check("", "a b t1", "a b t1");
        check("a b t1", "a b t1", "");
        check("a b t1", "a b t2", "t2");
        check("a b t2", "a b c t2", "c t2");
        check("a b t2", "b c t3", "c t3");
    }
}
