//! What is pending is weighed before anything is decided by it.
//!
//! What a page will take is known from the last time that it went. But those that went lately are the cool ones: those that wait have been written more
//! often since, so their sum is too small, at worst several times. So before the guest is stopped, braked or given up, some of them, evenly
//! spread, are encoded and not sent. What these take, of what was expected of them, corrects the sum until it is weighed again.

use super::Layered;
use crate::migration::{Action, Batch, Item, Keep, Outcome, Pack, Pfn};

/// Pages that are weighed: a millisecond of an encoder, and an error of a tenth where pages differ much.
const SAMPLE: usize = 128;
/// No sample is believed more than this.
const FACTOR_MIN: f64 = 0.25;
const FACTOR_MAX: f64 = 16.0;

/// What the last sample said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// To be multiplied with what is expected.
    pub(super) factor: f64,
    /// Nothing was written since, as far as is known.
    pub(super) is_fresh: bool,
    /// It was not judged by it yet.
    pub(super) is_news: bool,
    expected: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { factor: 1.0, is_fresh: false, is_news: false, expected: 0.0 }
    }
}

impl Layered {
    pub(super) fn weigh(&mut self) {
        let pending = self.pages.pending();
        let step = (pending.count() as usize / SAMPLE).max(1);
        let pages: Vec<Pfn> = pending.iter().step_by(step).take(SAMPLE).collect();
        let expected: f64 = pages.iter().map(|page| self.expected_bytes_of(*page)).sum();
        self.scale.expected = expected * self.drift.factor();
        let items = pages.into_iter().map(|page| {
            let pack = if self.options.packs.is_empty() {
                Pack::Raw
            } else {
                self.chooser.next(self.link.mean())
            };
            Item { page, pack, keep: Keep::Nothing }
        });
        let batch = Batch { items: items.collect(), tricks: self.options.tricks };
        self.orders.push_back(Action::Weigh(batch));
    }

    fn expected_bytes_of(&self, page: Pfn) -> f64 {
        if self.pages.was_sent(page) {
            self.pages.next_bytes(page) as f64
        } else {
            self.sizes.fresh
        }
    }

    pub(super) fn weighed(&mut self, outcomes: &[Outcome]) {
        let took: f64 = outcomes.iter().map(|outcome| f64::from(outcome.bytes)).sum();
        let factor = (took / self.scale.expected.max(1.0)).clamp(FACTOR_MIN, FACTOR_MAX);
        // The shortest rest so far was told by the old measure.
        if let Some(best) = &mut self.best {
            best.rest_s *= factor / self.scale.factor;
        }
        self.scale = Scale { factor, is_fresh: true, is_news: true, ..self.scale };
    }
}
