//! What a guest does all day, from its kernel's command line: the words of the lab's guest image, `net:MIB_PER_S`, and
//! `behaviour=`.

use std::time::Duration;

use crate::sim::memory::MemoryWriter;
use crate::sim::probe::Behaviour;

const MIB: u64 = 1 << 20;
const PAGES_PER_MIB: u64 = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Threads that compute without end.
    pub(super) busy_vcpus: u32,
    /// Read and written each second on the first disk.
    pub(super) disk_bytes_per_s: u64,
    /// Sent and received each second by the first NIC.
    pub(super) net_bytes_per_s: u64,
    /// Memory rewritten in turn.
    dirty: Vec<MemoryWriter>,
    pub(super) crash_after: Option<Duration>,
    pub(super) behaviour: Behaviour,
}

impl Workload {
    /// Words that it does not know are idle.
    pub(super) fn parse(cmdline: &str) -> Self {
        let mut workload = Self::default();
        for word in cmdline.split_whitespace() {
            match word.split_once('=') {
                Some(("workload", works)) => works.split(',').for_each(|work| workload.add(work)),
                Some(("crash", seconds)) => {
                    workload.crash_after = seconds.parse().ok().map(Duration::from_secs);
                }
                Some(("behaviour", name)) => {
                    workload.behaviour = Behaviour::named(name).unwrap_or_default()
                }
                _ => {}
            }
        }
        workload
    }

    fn add(&mut self, work: &str) {
        let mut parts = work.split(':');
        if let Some(behaviour) = misbehaviour(work) {
            self.behaviour = behaviour;
        }
        let name = parts.next();
        let mut number = || parts.next().and_then(|n| n.parse::<u32>().ok());
        if name == Some("dirty") {
            if let (Some(rate_mib), Some(set_mib)) = (number(), number()) {
                let pages = |mib| u64::from(mib) * PAGES_PER_MIB;
                self.dirty.push(MemoryWriter::muncher(pages(set_mib), pages(rate_mib)));
            }
            return;
        }
        match (name, number()) {
            (Some("burn"), Some(threads)) => {
                self.busy_vcpus = self.busy_vcpus.saturating_add(threads);
            }
            (Some("disk"), Some(mib)) => self.disk_bytes_per_s += u64::from(mib) * MIB,
            (Some("net"), Some(mib)) => self.net_bytes_per_s += u64::from(mib) * MIB,
            _ => {}
        }
    }
}

impl Workload {
    /// What its kernel does by itself, and what it was told to do.
    pub(super) fn memory_writers(&self) -> Vec<MemoryWriter> {
        std::iter::once(MemoryWriter::idle()).chain(self.dirty.iter().copied()).collect()
    }
}

/// The lab's words for guests that misbehave.
fn misbehaviour(work: &str) -> Option<Behaviour> {
    Some(match work {
        "crash-on-plug" => Behaviour::CrashOnPlug,
        "hostile:nonsense" => Behaviour::Hostile,
        "hostile:flood" => Behaviour::Floods,
        "hostile:states" => Behaviour::NonsenseStates,
        "hostile:clinging" => Behaviour::Clings,
        "hostile:remove" => Behaviour::RemovesDevices,
        "hostile:quota" => Behaviour::FillsQuota,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_do() {
        let load = Workload::parse("console=hvc0 quiet workload=burn:2,disk:3,echo crash=5");
        assert_eq!((load.busy_vcpus, load.disk_bytes_per_s), (2, 3 * MIB));
        let writes = Workload::parse("workload=dirty:8:32,dirty:8").memory_writers();
        assert_eq!(writes, [MemoryWriter::idle(), MemoryWriter::muncher(8192, 2048)]);
        assert_eq!(Workload::parse("workload=net:2").net_bytes_per_s, 2 * MIB);
        assert_eq!(load.crash_after, Some(Duration::from_secs(5)));
        assert_eq!(Workload::parse("workload=burn:x root=/dev/xvda"), Workload::default());
        let hostile = Workload::parse("workload=idle workload=burn:1,hostile:quota");
        assert_eq!((hostile.busy_vcpus, hostile.behaviour), (1, Behaviour::FillsQuota));
        assert_eq!(Workload::parse("behaviour=deaf").behaviour, Behaviour::Deaf);
    }
}
