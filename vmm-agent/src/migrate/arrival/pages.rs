//! A batch of encoded pages into a record of libxc's image.

use vmm_core::migration::codec::{self, Copies, PAGE, Packer, Page as Contents, twins};
use vmm_core::migration::{BATCH_PAGES_MAX, Encoding, Pfn};
use xen_bindings::stream::image::{Page, Pages};
use xen_bindings::{Gfn, GfnSet, GuestKind, PageType};

use super::ArrivalError;
use crate::migrate::frames::{Batch, Entry};

/// What is known of all pages that have come.
pub(super) struct Expander {
    packer: Packer,
    copies: Copies,
    copies_count: u64,
    copies_max: u64,
    /// Pages of the batch, decoded.
    room: Vec<Contents>,
    pfn_end: u32,
    frames_max: u64,
    /// All that ever came.
    seen: GfnSet,
    seen_count: u64,
    /// Of the batch.
    here: Vec<(Pfn, PageType)>,
    guest: GuestKind,
    pub(super) counts: [u64; Encoding::ALL.len()],
}

impl Expander {
    pub(super) fn new(
        guest: GuestKind,
        pfn_end: u32,
        frames_max: u64,
        copies_max: u64,
    ) -> Result<Self, ArrivalError> {
        // Sums are the sender's; a receiver only unpacks.
        let packer = Packer::new(codec::Key::new([0; 2]));
        let packer = packer.map_err(|error| ArrivalError::NoRoom(error.to_string()))?;
        let copies_bytes = usize::try_from(copies_max).unwrap_or(usize::MAX).saturating_mul(PAGE);
        Ok(Self {
            packer,
            copies: Copies::within(copies_bytes),
            copies_count: 0,
            copies_max,
            room: vec![[0; PAGE]; BATCH_PAGES_MAX],
            pfn_end,
            frames_max,
            seen: GfnSet::new(Gfn(pfn_end.into())),
            seen_count: 0,
            here: Vec::with_capacity(BATCH_PAGES_MAX),
            guest,
            counts: [0; Encoding::ALL.len()],
        })
    }

    pub(super) fn guest(&self) -> GuestKind {
        self.guest
    }

    pub(super) fn seen(&self) -> &GfnSet {
        &self.seen
    }

    pub(super) fn seen_count(&self) -> u64 {
        self.seen_count
    }

    /// The batch as libxc knows it: every page with its contents, zeros too; but for those that have none any more.
    pub(super) fn expand(&mut self, batch: &Batch<'_>) -> Result<Pages<'_>, ArrivalError> {
        self.check(batch)?;
        for (index, entry) in batch.iter().enumerate() {
            self.decode(index, &entry)?;
            self.keep(index, &entry)?;
            self.counts[entry.encoding as usize] += u64::from(entry.kind.has_contents());
        }
        let mut pages = Pages::new();
        for ((page, kind), contents) in self.here.iter().zip(&self.room) {
            let contents = Some(contents).filter(|_| kind.has_contents());
            let whole = Page::new(xen_bindings::Pfn(page.0.into()), *kind, contents);
            let is_taken = whole.is_some_and(|whole| pages.push(whole));
            debug_assert!(is_taken, "a batch fits a record, and 32 bits fit a frame's number");
        }
        Ok(pages)
    }

    /// Which pages these are, before one is decoded.
    fn check(&mut self, batch: &Batch<'_>) -> Result<(), ArrivalError> {
        self.here.clear();
        self.here.extend(batch.iter().map(|entry| (entry.page, entry.kind)));
        let mut sorted = self.here.clone();
        sorted.sort_unstable_by_key(|(page, _)| *page);
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ArrivalError::Twice { page: pair[0].0 });
        }
        for (page, kind) in sorted {
            if self.guest == GuestKind::Pvh && kind != PageType::Normal {
                return Err(ArrivalError::Type { page });
            }
            let gfn = Gfn(page.0.into());
            let is_new = !self.seen.contains(gfn);
            if page.0 >= self.pfn_end {
                return Err(ArrivalError::Beyond { page });
            }
            if is_new && (!kind.has_contents() || !self.seen.insert(gfn)) {
                return Err(ArrivalError::NotThere { page });
            }
            self.seen_count += u64::from(is_new);
        }
        match self.seen_count <= self.frames_max {
            true => Ok(()),
            false => Err(ArrivalError::Frames { frames_max: self.frames_max }),
        }
    }

    fn decode(&mut self, index: usize, entry: &Entry<'_>) -> Result<(), ArrivalError> {
        let page = entry.page;
        let wrong = |error| ArrivalError::Page { page, error };
        if entry.encoding == Encoding::Same {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let of = usize::from(twins::resolve(entry.body, index).map_err(wrong)?);
            self.room.copy_within(of..=of, index.into());
            return Ok(());
        }
        if matches!(entry.encoding, Encoding::Delta | Encoding::Blocks) {
            self.room[index] = *self.copies.get(page).ok_or(ArrivalError::NoCopy { page })?;
        }
        let room = &mut self.room[index];
        codec::decode(&mut self.packer, entry.encoding, entry.body, room).map_err(wrong)
    }

    fn keep(&mut self, index: usize, entry: &Entry<'_>) -> Result<(), ArrivalError> {
        let had = self.copies.get(entry.page).is_some();
        if !entry.keep {
            self.copies.forget(entry.page);
            self.copies_count -= u64::from(had);
            return Ok(());
        }
        if !self.copies.keep(entry.page, &self.room[index]) {
            let pages_max = self.copies_max;
            return Err(ArrivalError::Copies { pages: self.copies_count + 1, pages_max });
        }
        self.copies_count += u64::from(!had);
        Ok(())
    }
}
