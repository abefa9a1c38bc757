//! Which pages come next, and what is learnt from how they went.

use super::{Layered, Phase};
use crate::migration::pages::Pages;
use crate::migration::{
    BATCH_PAGES_MAX, Batch, Encoding, Item, Keep, Outcome, PAGE_BYTES, Pack, Pfn,
};

/// Pages that are put in order at once; more are looked for when these are sent.
const QUEUE_MAX: usize = 16_384;
const WEIGHT: f64 = 0.01;

/// What pages take on the average, in bytes.
#[derive(Debug)]
pub(super) struct Sizes {
    /// One that is sent as a whole.
    pub(super) fresh: f64,
    /// One of which a copy is kept.
    pub(super) delta: f64,
    /// One of which sums are kept.
    pub(super) blocks: f64,
    /// Processor time of one, in nanoseconds.
    pub(super) nanos: f64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { fresh: f64::from(PAGE_BYTES) / 2.0, delta: 400.0, blocks: 600.0, nanos: 5e3 }
    }
}

impl Sizes {
    fn learn(&mut self, outcome: Outcome) {
        let bytes = f64::from(outcome.bytes);
        let of = match outcome.encoding {
            Encoding::Delta => &mut self.delta,
            Encoding::Blocks => &mut self.blocks,
            _ => &mut self.fresh,
        };
        *of += WEIGHT * (bytes - *of);
        self.nanos += WEIGHT * (f64::from(outcome.nanos) - self.nanos);
    }

    /// What a page will take that went so, once it is written again.
    fn next(&self, outcome: Outcome) -> f64 {
        let bytes = f64::from(outcome.bytes);
        let known = matches!(outcome.encoding, Encoding::Delta | Encoding::Blocks);
        match outcome.kept {
            Keep::Copy | Keep::Sums if known => bytes,
            // A page of zeros will hold something.
            Keep::Copy => self.delta.min(bytes.max(64.0)),
            Keep::Sums => self.blocks.min(bytes.max(64.0)),
            Keep::Nothing if known || bytes < 64.0 => self.fresh,
            Keep::Nothing => bytes,
        }
    }
}

/// Where the walk over the pages stands.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The first pass, and the rest, go up from here.
    cursor: Pfn,
    /// The sprint takes these, from the end.
    queue: Vec<Pfn>,
}

impl Walk {
    /// What is pending has changed: the order of the sprint is another one. The first pass goes on where it was.
    pub(super) fn reorder(&mut self) {
        self.queue.clear();
    }

    /// What is pending may lie behind.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}

impl Layered {
    /// What was written since the queue was made is left for the next pass.
    pub(super) fn leave_logged(&mut self) {
        let pages = &self.pages;
        self.walk.queue.retain(|page| !pages.is_logged(*page));
    }

    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        // Once a batch: what was handed over is no longer pending, what is in the batch still is.
        if self.phase == Phase::Sprint && self.walk.queue.is_empty() {
            self.fill_queue();
        }
        let mut items = Vec::new();
        while items.len() < BATCH_PAGES_MAX {
            let Some(page) = self.next_page() else { break };
            let item = self.item(page);
            self.pages.hand_over(page, self.sizes.fresh);
            items.push(item);
        }
        (!items.is_empty()).then_some(Batch { items, tricks: self.options.tricks })
    }

    fn item(&mut self, page: Pfn) -> Item {
        let pack = if self.options.packs.is_empty() {
            Pack::Raw
        } else {
            self.chooser.next(self.link.mean())
        };
        // After the stop nothing is written again.
        let keep = match self.phase {
            _ if !self.options.tricks.delta => Keep::Nothing,
            Phase::FirstPass if self.options.sums => Keep::Sums,
            Phase::Sprint => Keep::Copy,
            _ => Keep::Nothing,
        };
        Item { page, pack, keep }
    }

    fn next_page(&mut self) -> Option<Pfn> {
        match self.phase {
            Phase::FirstPass => self.walk_up(|pages, layering, page| {
                let waits = layering && pages.is_logged(page);
                !waits && !pages.was_sent(page)
            }),
            Phase::Rest => self.walk_up(|_, _, _| true),
            _ => self.walk.queue.pop(),
        }
    }

    fn walk_up(&mut self, is_wanted: impl Fn(&Pages, bool, Pfn) -> bool) -> Option<Pfn> {
        let mut at = self.walk.cursor;
        while let Some(page) = self.pages.pending().next(at) {
            at = Pfn(page.0.saturating_add(1));
            if is_wanted(&self.pages, self.options.layering, page) {
                self.walk.cursor = at;
                return Some(page);
            }
        }
        self.walk.cursor = Pfn(self.pages.count());
        None
    }

    /// The coolest pending pages, the coolest last; of one rank those first that were never sent, then upwards.
    fn fill_queue(&mut self) {
        let (pages, queue) = (&self.pages, &mut self.walk.queue);
        if !self.options.layering {
            queue.extend(pages.pending().iter().take(QUEUE_MAX));
            queue.reverse();
            return;
        }
        let key = |page: Pfn| (pages.rank(page), pages.was_sent(page), page);
        for rank in 0..=Pages::RANK_MAX {
            let is_due = |page: &Pfn| pages.rank(*page) == rank && !pages.is_logged(*page);
            queue.extend(pages.pending().iter().filter(is_due));
            if queue.len() >= QUEUE_MAX {
                break;
            }
        }
        queue.sort_unstable_by_key(|page| std::cmp::Reverse(key(*page)));
        let surplus = queue.len().saturating_sub(QUEUE_MAX);
        queue.drain(..surplus);
    }

    pub(super) fn sent(&mut self, batch: &Batch, outcomes: &[Outcome]) {
        for (item, outcome) in batch.items.iter().zip(outcomes) {
            self.chooser.learn(item.pack, *outcome);
            self.sizes.learn(*outcome);
            if self.phase == Phase::Sprint {
                self.expected_bytes += self.pages.next_bytes(item.page);
            }
            let next = self.sizes.next(*outcome);
            self.pages.learn(item.page, next);
            self.window_bytes += u64::from(outcome.bytes);
            self.sent_bytes += u64::from(outcome.bytes);
            self.sent_pages += 1;
        }
    }
}
