//! A domain's memory while it lives: who gives, who takes, who writes, and who wants to know.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::contents::Contents;
use super::image::{Frames, MemoryImage};
use super::writer::{MemoryWriter, Working};
use crate::log_dirty::{DirtyCounts, ReadLog};
use crate::stream::image::PageBytes;

/// Memory has a hole below 4 GiB, from libxl's place for firmware on.
const HOLE: Range<u64> = 0xfc000..0x10_0000;
const GFNS_MAX: u64 = 1 << 40;
/// Rings and other frames that Xen shares with a guest: high, as on Xen.
pub(crate) const SPECIAL_GFNS: Range<u64> = 0xfeff0..0xff000;
pub(super) const STORE_GFN: u64 = SPECIAL_GFNS.start;
pub(super) const CONSOLE_GFN: u64 = SPECIAL_GFNS.start + 1;
/// Xen itself writes here while the guest runs.
const XEN_WRITES_GFN: u64 = SPECIAL_GFNS.start + 2;
/// Where a kernel is loaded, and what it has at most.
const KERNEL: Range<u64> = 0x100..0x120;
/// Where writers begin.
const WORK_GFN: u64 = 0x1000;

pub(crate) struct LogRead {
    pub(crate) gfns: Vec<u64>,
    pub(crate) counts: DirtyCounts,
}

#[derive(Debug, Default)]
pub(crate) struct Ram {
    frames: Frames,
    /// What was written to since the log was cleaned; `None` while it is off.
    log: Option<BTreeSet<u64>>,
    writers: Vec<Working>,
    /// How long its guest has computed.
    ran: Duration,
    settled: Duration,
}

impl Ram {
    pub(crate) fn frames(&mut self) -> &Frames {
        self.catch_up();
        &self.frames
    }

    pub(crate) fn image(&mut self) -> MemoryImage {
        MemoryImage(self.frames().clone())
    }

    pub(crate) fn has(&self, gfn: u64) -> bool {
        self.frames.extents.contains(gfn)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.frames.extents.count()
    }

    /// Above all frames, and never below Xen's own.
    pub(crate) fn gfn_end(&self) -> u64 {
        self.frames.extents.end().max(SPECIAL_GFNS.end)
    }

    // ---- who gives and takes: none of it is logged

    /// So many pages of zeros, at the lowest places that are free.
    pub(crate) fn grow(&mut self, mut pages: u64) {
        self.catch_up();
        for places in [0..HOLE.start, HOLE.end..GFNS_MAX] {
            while let (true, Some(gap)) = (pages > 0, self.frames.extents.gap(places.clone())) {
                let gap = gap.start..gap.end.min(gap.start + pages);
                pages -= gap.end - gap.start;
                self.frames.extents.insert(gap);
            }
        }
    }

    /// So many pages go, from the highest down.
    pub(crate) fn shrink(&mut self, mut pages: u64) {
        self.catch_up();
        for places in [HOLE.end..GFNS_MAX, 0..HOLE.start] {
            while let (true, Some(last)) = (pages > 0, self.frames.extents.last(places.clone())) {
                let last = last.start.max(last.end.saturating_sub(pages))..last.end;
                pages -= last.end - last.start;
                self.take(last);
            }
        }
    }

    pub(crate) fn add_special(&mut self) {
        self.frames.extents.insert(SPECIAL_GFNS);
    }

    /// Frames that were not there. What they hold is what somebody else left in them.
    pub(crate) fn populate(&mut self, gfns: Range<u64>) {
        self.frames.allocate(gfns);
    }

    /// A frame that was there.
    pub(crate) fn release(&mut self, gfn: u64) {
        self.catch_up();
        self.take(gfn..gfn + 1);
    }

    fn take(&mut self, gfns: Range<u64>) {
        self.frames.extents.remove(gfns.clone());
        self.frames.forget(gfns);
    }

    // ---- who writes

    pub(crate) fn load_kernel(&mut self) {
        self.frames.set_kernel(KERNEL);
    }

    /// Before the guest runs: nobody looks yet.
    pub(crate) fn load(&mut self, gfn: u64, page: &PageBytes) {
        self.frames.put(gfn, Contents::of(page));
    }

    /// Whoever sent frames that were only allocated meant zeros, and has said so.
    pub(crate) fn zero_allocated(&mut self) {
        self.frames.zero_allocated();
    }

    /// Who restores a guest clears its rings.
    pub(crate) fn clear_rings(&mut self) {
        for gfn in [STORE_GFN, CONSOLE_GFN] {
            self.frames.put(gfn, None);
        }
    }

    /// The guest has booted and talks.
    pub(crate) fn use_rings(&mut self) {
        self.write(STORE_GFN, Some(Contents::pattern(STORE_GFN, 1)));
        self.write(CONSOLE_GFN, Some(Contents::pattern(CONSOLE_GFN, 1)));
    }

    /// The guest writes. To a frame that it has not got: nothing happens.
    pub(crate) fn write_page(&mut self, gfn: u64, page: &PageBytes) -> bool {
        self.catch_up();
        self.write(gfn, Contents::of(page))
    }

    fn write(&mut self, gfn: u64, contents: Option<Contents>) -> bool {
        let there = self.has(gfn);
        if there {
            self.frames.put(gfn, contents);
            if let Some(log) = &mut self.log {
                log.insert(gfn);
            }
        }
        there
    }

    /// From now on these write, each to its own stretch, and no others.
    pub(crate) fn set_writers(&mut self, writers: &[MemoryWriter]) {
        self.catch_up();
        let mut first = WORK_GFN;
        let ran = self.ran;
        self.writers = writers
            .iter()
            .map(|writer| {
                let working = Working::new(*writer, first, ran);
                first += writer.pages();
                working
            })
            .collect();
    }

    /// The guest has computed for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        self.ran += time;
    }

    /// What the guest has written by now.
    fn catch_up(&mut self) {
        if self.settled == self.ran {
            return;
        }
        self.settled = self.ran;
        let mut writers = std::mem::take(&mut self.writers);
        for writer in &mut writers {
            for (gfn, contents) in writer.due(self.ran) {
                self.write(gfn, Some(contents));
            }
        }
        self.writers = writers;
        if self.has(XEN_WRITES_GFN) {
            let time = u64::try_from(self.ran.as_nanos()).unwrap_or(u64::MAX);
            self.frames.put(XEN_WRITES_GFN, Some(Contents::pattern(XEN_WRITES_GFN, time)));
        }
    }

    // ---- who wants to know

    /// False when it is on already.
    pub(crate) fn log_on(&mut self) -> bool {
        self.catch_up();
        let was_off = self.log.is_none();
        if was_off {
            self.log = Some(BTreeSet::new());
        }
        was_off
    }

    pub(crate) fn log_off(&mut self) {
        self.catch_up();
        self.log = None;
    }

    pub(crate) fn log_is_on(&self) -> bool {
        self.log.is_some()
    }

    /// A log that is off reads as clean.
    pub(crate) fn read_log(&mut self, how: ReadLog) -> LogRead {
        self.catch_up();
        let special = self.has(XEN_WRITES_GFN).then_some(XEN_WRITES_GFN);
        let Some(log) = &mut self.log else {
            return LogRead { gfns: Vec::new(), counts: DirtyCounts::default() };
        };
        log.extend(special.filter(|_| how == ReadLog::CleanFinal));
        let gfns: Vec<u64> = log.iter().copied().collect();
        if how != ReadLog::Peek {
            log.clear();
        }
        let dirty = u32::try_from(gfns.len()).unwrap_or(u32::MAX);
        LogRead { gfns, counts: DirtyCounts { faults: 0, dirty } }
    }

    // ---- a saved guest's text

    pub(crate) fn encode(&mut self) -> (u64, Vec<String>) {
        self.catch_up();
        let ran = u64::try_from(self.ran.as_nanos()).unwrap_or(u64::MAX);
        (ran, self.writers.iter().map(Working::encode).collect())
    }

    /// `None` for a text that is none of ours.
    pub(crate) fn resume(&mut self, ran_ns: u64, writers: &[&str]) -> Option<()> {
        self.writers = writers.iter().map(|text| Working::decode(text)).collect::<Option<_>>()?;
        self.ran = Duration::from_nanos(ran_ns);
        self.settled = self.ran;
        Some(())
    }
}
