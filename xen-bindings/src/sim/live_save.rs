//! A simulated guest that is saved while it runs: `xc_domain_save` with its callbacks, round by round.
//!
//! ```text
//!   log on ─► all frames ─► pilot: round ─► log taken ─► what is in it ─► … ─► pilot: stop ─► suspended ─► the rest ─► state ─► log off
//! ```
//!
//! Memory is read as the guest writes it: whoever drops a round loses what is in it. As libxenguest does with a page table that changes under
//! its hands, some frames of a PV guest are told as absent while it runs, and sent for the first time when it stands still.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::BorrowedFd;

use super::handle::{Handle, POWER_LOST};
use super::machine::State;
use super::ops::Op;
use super::saved::Zeros;
use super::saved_stream::{begin, end, file, kind_of};
use crate::control::{GuestKind, ShutdownReason};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Pfn;
use crate::guest_image::{GIVEN_UP, Next, Precopy, SavePilot};
use crate::log_dirty::ReadLog;
use crate::page_type::{PageTable, PageType};
use crate::stream::StreamError;
use crate::stream::image::{ImageWriter, PAGES_MAX, Page, PageBytes, Pages, Record, ZERO_PAGE};

const OP: Op = Op::GuestSaveLive;
/// One frame of so many is a page table that is deferred, and another one a table that is not.
const TABLES: u64 = 509;
const DEFERRED: u64 = 7;
const TABLE: u64 = 11;

/// What a save stopped for.
enum Stopped {
    Xen(XenErrorKind),
    Stream(StreamError),
}

impl From<XenErrorKind> for Stopped {
    fn from(kind: XenErrorKind) -> Self {
        Self::Xen(kind)
    }
}

impl From<StreamError> for Stopped {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl Handle {
    /// Saves a guest that runs.
    pub(super) fn save_live_stream(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        let named = |kind| XenError::new(OP.name(), kind).domain(domid);
        let to = file(stream).map_err(named)?;
        let saving = Saving { handle: self, domid, deferred: BTreeSet::new() };
        let saved = saving.run(to, pilot);
        // As libxenguest's own way out, and nobody is told when that fails.
        let _ = self.within(|state| {
            state.hypervisor.get_mut(domid)?.ram.log_off();
            Ok(())
        });
        saved.map_err(|stopped| match stopped {
            Stopped::Xen(kind) => named(kind),
            Stopped::Stream(error) => named(kind_of(&error)).detail(error.to_string()),
        })
    }

    fn within<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, XenErrorKind>,
    ) -> Result<T, XenErrorKind> {
        self.inner
            .with(|state| if state.epoch == self.epoch { work(state) } else { Err(POWER_LOST) })
    }
}

struct Saving<'a> {
    handle: &'a Handle,
    domid: DomId,
    /// Told as absent, to be told again at the end.
    deferred: BTreeSet<u64>,
}

impl Saving<'_> {
    fn run(mut self, to: File, pilot: &mut dyn SavePilot) -> Result<(), Stopped> {
        let domid = self.domid;
        let (kind, policy, all) = self.handle.within(|state| {
            let policy = state.cpu_policy(domid)?;
            let shadows = state.hypervisor.shadow();
            let domain = state.hypervisor.get_mut(domid)?;
            if domain.kind == GuestKind::Pv && !shadows {
                return Err(XenErrorKind::Unsupported);
            }
            if domain.dying || !domain.built {
                return Err(XenErrorKind::Invalid);
            }
            // Whoever had one on loses it.
            domain.ram.log_off();
            domain.ram.log_on();
            Ok((domain.kind, policy, domain.ram.frames().gfns().collect::<Vec<u64>>()))
        })?;
        let last = all.last().copied().unwrap_or(0);
        let known: BTreeSet<u64> = all.iter().copied().collect();
        let mut writer = begin(to, kind, &policy, last)?;
        self.rounds(&mut writer, kind, all, pilot)?;
        if !pilot.suspend() {
            return Err(GIVEN_UP.into());
        }
        self.require_suspended()?;
        let mut rest: BTreeSet<u64> = self.log(ReadLog::CleanFinal)?.into_iter().collect();
        rest.append(&mut self.deferred);
        if kind == GuestKind::Pv {
            // What its balloon brought was absent in the first round, and so deferred.
            rest.extend(self.frames()?.into_iter().filter(|gfn| !known.contains(gfn)));
        }
        self.send(&mut writer, kind, rest, true)?;
        let (tsc, context) = self.handle.within(|state| {
            state.settle_guest(domid.get());
            Ok((state.tsc(domid)?, state.context(domid, Zeros::Sent)?))
        })?;
        Ok(end(writer, kind, tsc, &context)?)
    }

    /// While it runs.
    fn rounds(
        &mut self,
        writer: &mut ImageWriter<File>,
        kind: GuestKind,
        all: Vec<u64>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), Stopped> {
        let (mut dirty, mut at) = (all, Precopy { rounds: 0, sent_pages: 0, dirty_pages: None });
        loop {
            at.dirty_pages = Some(dirty.len() as u64);
            let next = pilot.next(at);
            if next == Next::GiveUp {
                return Err(GIVEN_UP.into());
            }
            at.sent_pages += dirty.len() as u64;
            self.send(writer, kind, dirty, false)?;
            if next == Next::Stop {
                return Ok(());
            }
            (at.rounds, at.dirty_pages) = (at.rounds + 1, None);
            match pilot.next(at) {
                Next::Round => dirty = self.log(ReadLog::Clean)?,
                Next::Stop => return Ok(()),
                Next::GiveUp => return Err(GIVEN_UP.into()),
            }
        }
    }

    fn frames(&self) -> Result<Vec<u64>, XenErrorKind> {
        self.handle
            .within(|state| Ok(state.hypervisor.get_mut(self.domid)?.ram.frames().gfns().collect()))
    }

    fn log(&self, how: ReadLog) -> Result<Vec<u64>, XenErrorKind> {
        self.handle.within(|state| {
            state.settle_guest(self.domid.get());
            Ok(state.hypervisor.get_mut(self.domid)?.ram.read_log(how).gfns)
        })
    }

    fn require_suspended(&self) -> Result<(), XenErrorKind> {
        let domid = self.domid;
        self.handle.within(|state| {
            state.settle_guest(domid.get());
            let domain = state.hypervisor.get(domid)?;
            let is_suspended = domain.shutdown == Some(ShutdownReason::Suspend) && !domain.dying;
            if is_suspended { Ok(()) } else { Err(XenErrorKind::Invalid) }
        })
    }

    fn send(
        &mut self,
        writer: &mut ImageWriter<File>,
        kind: GuestKind,
        gfns: impl IntoIterator<Item = u64>,
        is_last: bool,
    ) -> Result<(), Stopped> {
        let gfns: Vec<u64> = gfns.into_iter().collect();
        for batch in gfns.chunks(PAGES_MAX) {
            let copies = self.copies(batch)?;
            let mut pages = Pages::new();
            for (gfn, copy) in batch.iter().zip(&copies) {
                let is_deferred = kind == GuestKind::Pv && gfn % TABLES == DEFERRED && !is_last;
                let page = match copy {
                    Some(bytes) if !is_deferred => {
                        Page::new(Pfn(*gfn), type_of(kind, *gfn), Some(bytes))
                    }
                    _ => {
                        self.deferred.insert(*gfn);
                        Page::bare(Pfn(*gfn), PageType::Absent)
                    }
                };
                let added = page.is_some_and(|page| pages.push(page));
                debug_assert!(added, "a batch fits a record, and a simulated frame fits a stream");
            }
            writer.write(&Record::Pages(pages))?;
        }
        Ok(())
    }

    /// What they hold now; `None` for one that is not there.
    fn copies(&self, gfns: &[u64]) -> Result<Vec<Option<Box<PageBytes>>>, XenErrorKind> {
        self.handle.within(|state| {
            state.settle_guest(self.domid.get());
            let frames = state.hypervisor.get_mut(self.domid)?.ram.frames();
            let copy = |gfn: &u64| {
                let mut page = Box::new(ZERO_PAGE);
                frames.copy(*gfn, &mut page).then_some(page)
            };
            Ok(gfns.iter().map(copy).collect())
        })
    }
}

/// Some frames of a PV guest are tables.
fn type_of(kind: GuestKind, gfn: u64) -> PageType {
    let is_table = kind == GuestKind::Pv && [DEFERRED, TABLE].contains(&(gfn % TABLES));
    let table = PageTable::new(1, false).filter(|_| is_table);
    table.map_or(PageType::Normal, PageType::Table)
}
