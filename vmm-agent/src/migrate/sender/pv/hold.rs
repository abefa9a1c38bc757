//! Which pages are kept back, and what they held when they came last. Pure.
//!
//! A page that comes in two rounds one after the other (the first one, of all memory, apart) is hot: it would be sent for nothing again and
//! again. Its latest contents are kept, until a round comes without it, or the guest stands still. What has no room is sent.

use std::collections::BTreeMap;

use vmm_core::migration::Pfn;
use vmm_core::migration::codec::{PAGE, Page};
use xen_bindings::{Gfn, GfnSet, PageType};

/// A page that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) page: Pfn,
    pub(super) kind: PageType,
    pub(super) contents: Box<Page>,
}

/// Pages that are kept back.
#[derive(Debug)]
pub(super) struct Hold {
    kept: BTreeMap<Pfn, (PageType, Box<Page>)>,
    kept_max: usize,
    /// Those that came in the round before, and in this one.
    before: GfnSet,
    now: GfnSet,
    stage: Stage,
}

/// What a round is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// All memory.
    First,
    /// What was written meanwhile.
    Live,
    /// What was written last: the guest stands still.
    Last,
}

impl Hold {
    /// For pages below `end`, with so much memory to keep them in.
    pub(super) fn new(end: Pfn, bytes: usize) -> Self {
        let none = GfnSet::new(Gfn(end.0.into()));
        let (before, now) = (none.clone(), none);
        Self { kept: BTreeMap::new(), kept_max: bytes / PAGE, before, now, stage: Stage::First }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// A page has come. True when it is kept; false: send it.
    pub(super) fn keeps(&mut self, page: Pfn, kind: PageType, contents: &Page) -> bool {
        let gfn = Gfn(page.0.into());
        let is_hot = self.stage == Stage::Live && self.before.contains(gfn);
        if self.stage == Stage::Live {
            // Those above the end were refused before.
            let _ = self.now.insert(gfn);
        }
        let has_room = self.kept.len() < self.kept_max || self.kept.contains_key(&page);
        if is_hot && has_room {
            self.kept.insert(page, (kind, Box::new(*contents)));
            return true;
        }
        self.kept.remove(&page);
        false
    }

    /// A page has come that has no contents any more.
    pub(super) fn drop_page(&mut self, page: Pfn) {
        self.kept.remove(&page);
    }

    /// A round is over: those that did not come in it, to be sent.
    pub(super) fn end_round(&mut self) -> Vec<Kept> {
        if self.stage == Stage::First {
            self.stage = Stage::Live;
            return Vec::new();
        }
        let quiet: Vec<Pfn> = self
            .kept
            .keys()
            .copied()
            .filter(|page| !self.now.contains(Gfn(page.0.into())))
            .collect();
        let end = self.now.end();
        self.before = std::mem::replace(&mut self.now, GfnSet::new(end));
        quiet.into_iter().filter_map(|page| self.take(page)).collect()
    }

    /// The guest stands still: what comes from now on is sent.
    pub(super) fn stop(&mut self) {
        self.stage = Stage::Last;
    }

    /// All that is kept, to be sent.
    pub(super) fn rest(&mut self) -> Vec<Kept> {
        let kept = std::mem::take(&mut self.kept).into_iter();
        kept.map(|(page, (kind, contents))| Kept { page, kind, contents }).collect()
    }

    fn take(&mut self, page: Pfn) -> Option<Kept> {
        self.kept.remove(&page).map(|(kind, contents)| Kept { page, kind, contents })
    }
}
