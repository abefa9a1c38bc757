//! Frames and what they hold: a guest's now, or as they were when somebody looked.

use std::collections::BTreeMap;
use std::ops::Range;

use super::contents::Contents;
use super::extents::Extents;
use super::ram::{CONSOLE_GFN, STORE_GFN};
use crate::frame::Gfn;
use crate::stream::image::{PageBytes, ZERO_PAGE};

const LEFT_BY_OTHERS: u64 = 0xdead_beef;

/// Frames with their contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    pub(super) extents: Extents,
    /// `None` says that a frame of the kernel's is zero now. What is neither here nor in the kernel is zero.
    held: BTreeMap<u64, Option<Contents>>,
    /// Frames that were only allocated: they hold what somebody else left there.
    allocated: Extents,
    kernel: Range<u64>,
}

impl Frames {
    /// A kernel is there: each of its frames holds a pattern.
    pub(super) fn set_kernel(&mut self, kernel: Range<u64>) {
        self.kernel = kernel;
    }

    pub(super) fn contents(&self, gfn: u64) -> Option<Contents> {
        match self.held.get(&gfn) {
            Some(contents) => contents.clone(),
            None if self.allocated.contains(gfn) => {
                Some(Contents::pattern(gfn.rotate_left(17) ^ LEFT_BY_OTHERS, gfn))
            }
            None => self.kernel.contains(&gfn).then(|| Contents::pattern(!gfn, 0)),
        }
    }

    /// False when there is no such frame.
    pub(crate) fn copy(&self, gfn: u64, page: &mut PageBytes) -> bool {
        match self.contents(gfn) {
            Some(contents) => contents.copy_to(page),
            None => *page = ZERO_PAGE,
        }
        self.extents.contains(gfn)
    }

    /// Frames that were not there are, and nobody has looked what they hold.
    pub(super) fn allocate(&mut self, gfns: Range<u64>) {
        self.extents.insert(gfns.clone());
        self.allocated.insert(gfns);
    }

    /// Who allocated them meant zeros.
    pub(super) fn zero_allocated(&mut self) {
        self.allocated = Extents::default();
    }

    /// A frame that is there now holds this.
    pub(super) fn put(&mut self, gfn: u64, contents: Option<Contents>) {
        self.allocated.remove_any(gfn..gfn + 1);
        if contents.is_some() || self.kernel.contains(&gfn) {
            self.held.insert(gfn, contents);
        } else {
            self.held.remove(&gfn);
        }
    }

    /// Zeros are in these frames when they come again.
    pub(super) fn forget(&mut self, gfns: Range<u64>) {
        self.allocated.remove_any(gfns.clone());
        let held: Vec<u64> = self.held.range(gfns.clone()).map(|(gfn, _)| *gfn).collect();
        let kernel = gfns.start.max(self.kernel.start)..gfns.end.min(self.kernel.end);
        for gfn in held.into_iter().chain(kernel) {
            self.put(gfn, None);
        }
    }

    /// In ascending order.
    pub(crate) fn gfns(&self) -> impl Iterator<Item = u64> + '_ {
        self.extents.iter()
    }

    fn with_contents(&self) -> impl Iterator<Item = u64> + '_ {
        self.held.keys().copied().chain(self.kernel.clone()).chain(self.allocated.iter())
    }
}

/// A guest's whole memory at one moment.
#[derive(Clone, Debug)]
pub struct MemoryImage(pub(super) Frames);

/// What is not the same about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryDifference {
    /// The other one does not have it.
    Missing,
    /// Only the other one has it.
    Extra,
    /// It holds something else.
    Contents,
}

impl MemoryImage {
    /// What a frame holds; `None` when there is none.
    #[must_use]
    pub fn page(&self, gfn: Gfn) -> Option<PageBytes> {
        let mut page = ZERO_PAGE;
        self.0.copy(gfn.0, &mut page).then_some(page)
    }

    pub(crate) fn contents(&self, gfn: u64) -> Option<Contents> {
        self.0.contents(gfn)
    }

    /// In ascending order.
    pub fn gfns(&self) -> impl Iterator<Item = Gfn> + '_ {
        self.0.gfns().map(Gfn)
    }

    /// Where the other one is not the same, byte by byte. The rings of xenstore and console are left out: who restores a guest clears
    /// them.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(Gfn, MemoryDifference)> {
        let (own, other) = (&self.0, &other.0);
        let mut found = BTreeMap::new();
        for gfn in own.gfns().filter(|gfn| !other.extents.contains(*gfn)) {
            found.insert(gfn, MemoryDifference::Missing);
        }
        for gfn in other.gfns().filter(|gfn| !own.extents.contains(*gfn)) {
            found.insert(gfn, MemoryDifference::Extra);
        }
        let both = |gfn: &u64| own.extents.contains(*gfn) && other.extents.contains(*gfn);
        let held = own.with_contents().chain(other.with_contents());
        for gfn in held.filter(both).filter(|gfn| ![STORE_GFN, CONSOLE_GFN].contains(gfn)) {
            if own.contents(gfn) != other.contents(gfn) {
                found.insert(gfn, MemoryDifference::Contents);
            }
        }
        found.into_iter().map(|(gfn, difference)| (Gfn(gfn), difference)).collect()
    }
}
