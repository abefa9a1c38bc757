//! A PVH guest's memory from outside, while it runs: which frames there are, what they hold, which have changed.
//!
//! Everything here is for PVH. A PV guest's frames are the host's own and its page tables name them, so that a copy takes libxenguest
//! ([`crate::GuestImage::save_live`]).

use crate::domid::DomId;
use crate::error::XenError;
use crate::frame::{Gfn, PageCount};
use crate::gfn_set::{GfnBatch, GfnSet};
use crate::log_dirty::{DirtyLog, Leftover};
use crate::page_type::PageType;
use crate::stream::image::PageBytes;

/// Frames of PVH guests. All of it answers `Unsupported` for a PV guest ([`GuestMemory::end_log`] does not) and `NoSuchDomain` for one that is
/// gone.
pub trait GuestMemory: Send + Sync {
    /// All of a guest's frames are below this. Far more than it has memory: Xen's own frames lie high. It grows when memory is
    /// plugged in at the top.
    ///
    /// # Errors
    /// As all.
    fn gfn_end(&self, domid: DomId) -> Result<Gfn, XenError>;

    /// What each frame is, in the order of the batch. [`PageType::AllocOnly`] is never told.
    ///
    /// # Errors
    /// As all.
    fn page_types(&self, domid: DomId, gfns: &GfnBatch) -> Result<Vec<PageType>, XenError>;

    /// Maps frames to read them. The guest goes on writing to them; it is unmapped when what is answered is dropped. A domain that
    /// is mapped cannot end.
    ///
    /// # Errors
    /// As all, and `Invalid` for no frame. A frame that is not there is no error: see [`MappedPages::copy`].
    fn map(&self, domid: DomId, gfns: &GfnBatch) -> Result<Box<dyn MappedPages>, XenError>;

    /// Takes frames away from a guest that has never run since it was built or restored, as its balloon driver would: for those that
    /// the source's had given back while they were copied.
    ///
    /// # Errors
    /// As all, and `Invalid` at the first frame that is not there; those before it are gone.
    fn release(&self, domid: DomId, gfns: &GfnBatch) -> Result<(), XenError>;

    /// Begins to note which frames the guest writes to. One at a time may do that for a domain, and Xen does not know who began.
    ///
    /// # Errors
    /// As all; `Invalid` when it has begun already ([`Leftover::Refuse`]), for a domain without vCPUs, or for one with devices of the
    /// host's own.
    fn log_dirty(&self, domid: DomId, leftover: Leftover) -> Result<DirtyLog, XenError>;

    /// Switches off a log that somebody has left on who died, of a guest of either kind. Nothing happens where none is on.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn end_log(&self, domid: DomId) -> Result<(), XenError>;
}

/// Frames that are mapped, in the order in which they were asked for.
pub trait MappedPages: Send {
    /// How many.
    fn count(&self) -> usize;

    /// Copies one, as it is now. False when that frame could not be mapped (a hole, a frame of Xen's own) or `index` is none of them.
    /// A copy, because the guest may write meanwhile: whoever looks twice at its memory may see two things.
    #[must_use]
    fn copy(&self, index: usize, into: &mut PageBytes) -> bool;
}

/// How many pages may hide at the top while the scan still goes upwards: rings, firmware, and what else lies high.
const PAGES_AT_THE_TOP: u64 = 256;

/// Which frames have contents. Looks at those that are `known` from before, then upwards from 0 until nearly `pages` are found (what Xen
/// says that the domain holds), then downwards from the top, and so through everything only if they are not there. Of a guest that runs and
/// changes its memory, it is what was there when it was looked at.
///
/// # Errors
/// As [`GuestMemory::page_types`].
pub fn populated(
    memory: &dyn GuestMemory,
    domid: DomId,
    pages: PageCount,
    known: &GfnSet,
) -> Result<GfnSet, XenError> {
    const STEP: u64 = GfnBatch::LEN_MAX as u64;
    let end = memory.gfn_end(domid)?;
    let mut found = Found { set: GfnSet::new(end), count: 0 };
    for batch in GfnBatch::all(known.iter().filter(|gfn| *gfn < end)) {
        found.look(memory, domid, &batch)?;
    }
    let (mut low, mut high) = (0, end.0.div_ceil(STEP));
    let of =
        |step: u64| GfnBatch::take_from(&mut (step * STEP..end.0.min((step + 1) * STEP)).map(Gfn));
    while low < high && found.count + PAGES_AT_THE_TOP < pages.0 {
        found.look(memory, domid, &of(low))?;
        low += 1;
    }
    while low < high && found.count < pages.0 {
        high -= 1;
        found.look(memory, domid, &of(high))?;
    }
    Ok(found.set)
}

struct Found {
    set: GfnSet,
    count: u64,
}

impl Found {
    fn look(
        &mut self,
        memory: &dyn GuestMemory,
        domid: DomId,
        batch: &GfnBatch,
    ) -> Result<(), XenError> {
        let types = memory.page_types(domid, batch)?;
        for (gfn, _) in batch.gfns().iter().zip(types).filter(|(_, kind)| kind.has_contents()) {
            if !self.set.contains(*gfn) && self.set.insert(*gfn) {
                self.count += 1;
            }
        }
        Ok(())
    }
}
