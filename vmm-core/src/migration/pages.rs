//! What is known of each page: three bytes in three arrays and three bits in three bitmaps, 3.375 bytes a page in all.
//!
//! - `pending`: it must be sent (again) before the end.
//! - `logged`: it is in the log, as far as that was looked at since it was last taken. Sent now, it would have to be sent once more.
//! - `sent`: it was handed over, or told to be free, at least once.
//! - its [layer](super::layer), and the epoch in which it was last seen written, a byte that wraps,
//! - what it will take on the wire next time, in steps of 16 bytes.
//!
//! A page that was left alone for [`COOL_EPOCHS`] is put back to layer 0 by a sweep that goes around all pages in [`SWEEP_EPOCHS`], so that
//! no age grows past what a byte holds.

use std::ops::{AddAssign, Range};

use super::layer::{after_write, decayed, need};
use super::{Bitmap, Pfn};

/// Quiet for so long, a page is as cool as one that was never written.
pub const COOL_EPOCHS: u8 = 128;
/// The sweep sees every page once in so many epochs.
pub const SWEEP_EPOCHS: u8 = 64;

const LAYER: u8 = 0b0111;
const STEP_BYTES: u32 = 16;

/// What is known of all pages.
#[derive(Debug)]
pub struct Pages {
    pending: Bitmap,
    logged: Bitmap,
    /// Whether `logged` may have any: it is cleared as rarely as it is filled.
    is_any_logged: bool,
    sent: Bitmap,
    written_epoch: Vec<u8>,
    marks: Vec<u8>,
    steps: Vec<u8>,
    fresh_count: u32,
    known_bytes: u64,
    epoch: u64,
    sweep_at: usize,
}

/// What the log brought that was not known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inflow {
    /// Pages in it.
    pub dirty_count: u32,
    /// Their expected bytes; those that were never sent left out.
    pub dirty_bytes: u64,
    /// Of that, what was clean before: it must be sent once more.
    pub new_bytes: u64,
}

impl AddAssign for Inflow {
    fn add_assign(&mut self, other: Self) {
        self.dirty_count += other.dirty_count;
        self.dirty_bytes += other.dirty_bytes;
        self.new_bytes += other.new_bytes;
    }
}

impl Pages {
    /// All must be sent.
    #[must_use]
    pub fn new(pages: u32) -> Self {
        let bytes = || vec![0; pages as usize];
        Self {
            pending: Bitmap::full(pages),
            logged: Bitmap::empty(pages),
            is_any_logged: false,
            sent: Bitmap::empty(pages),
            written_epoch: bytes(),
            marks: bytes(),
            steps: bytes(),
            fresh_count: pages,
            known_bytes: 0,
            epoch: 0,
            sweep_at: 0,
        }
    }

    /// Heap memory that it takes, in bytes.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        3 * self.marks.len() + 3 * self.marks.len().div_ceil(64) * 8
    }

    /// How many pages there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.pending.pages()
    }

    /// What must be sent.
    #[must_use]
    pub fn pending(&self) -> &Bitmap {
        &self.pending
    }

    /// Whether it is known to be in the log, so that sending it now would be in vain.
    #[must_use]
    pub fn is_logged(&self, page: Pfn) -> bool {
        self.logged.has(page)
    }

    /// Pages that must be sent and never were.
    #[must_use]
    pub fn fresh_count(&self) -> u32 {
        self.fresh_count
    }

    /// Whether it was sent before.
    #[must_use]
    pub fn was_sent(&self, page: Pfn) -> bool {
        self.sent.has(page)
    }

    /// What everything pending will take, when a page that was never sent takes `fresh_bytes`.
    #[must_use]
    pub fn pending_bytes(&self, fresh_bytes: f64) -> f64 {
        self.known_bytes as f64 + f64::from(self.fresh_count) * fresh_bytes
    }

    fn bytes(&self, page: Pfn) -> u64 {
        u64::from(u32::from(self.steps[page.0 as usize]) * STEP_BYTES)
    }

    fn layer(&self, page: Pfn) -> u8 {
        self.marks[page.0 as usize] & LAYER
    }

    fn quiet(&self, page: Pfn) -> u8 {
        self.epoch_byte().wrapping_sub(self.written_epoch[page.0 as usize])
    }

    fn epoch_byte(&self) -> u8 {
        (self.epoch % 256).try_into().expect("a remainder of 256 is a byte")
    }

    /// Where it stands in the order of sending: 0 for a page that is cool, then by layer; those that were written too lately for
    /// their layer come after all that were not.
    #[must_use]
    pub fn rank(&self, page: Pfn) -> u8 {
        match (self.layer(page), self.quiet(page)) {
            (0, _) => 0,
            (layer, quiet) if quiet >= need(layer) => decayed(layer, quiet),
            (layer, _) => LAYER + layer,
        }
    }

    /// The highest rank.
    pub const RANK_MAX: u8 = 2 * LAYER;

    /// These hold nothing, or do not exist: nobody waits for their contents.
    pub fn release(&mut self, pages: &Bitmap) {
        for page in pages.below(self.count()) {
            self.drop_pending(page);
            self.sent.insert(page);
        }
    }

    fn drop_pending(&mut self, page: Pfn) {
        if self.pending.remove(page) {
            if self.sent.has(page) {
                self.known_bytes -= self.bytes(page);
            } else {
                self.fresh_count -= 1;
            }
        }
    }

    fn add_pending(&mut self, page: Pfn) -> bool {
        let is_new = self.pending.insert(page);
        if is_new && self.sent.has(page) {
            self.known_bytes += self.bytes(page);
        } else if is_new {
            self.fresh_count += 1;
        }
        is_new
    }

    /// Time has come to this epoch, counted from 0.
    pub fn advance(&mut self, epoch: u64) {
        let passed = epoch.saturating_sub(self.epoch);
        if passed == 0 || self.marks.is_empty() {
            return;
        }
        if passed >= u64::from(COOL_EPOCHS) {
            self.marks.iter_mut().for_each(|mark| *mark &= !LAYER);
        }
        self.epoch = epoch;
        let (from, count) = (self.sweep_at, self.marks.len());
        let share = count.div_ceil(SWEEP_EPOCHS.into());
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        let steps = share.saturating_mul(passed).min(count);
        let end = from + steps;
        self.cool(from..end.min(count));
        self.cool(0..end.saturating_sub(count));
        self.sweep_at = end % count;
    }

    /// Without a branch: the compiler makes vectors of it, and this is most of what an epoch costs a guest that sleeps.
    fn cool(&mut self, pages: Range<usize>) {
        let now = self.epoch_byte();
        let written = &self.written_epoch[pages.clone()];
        for (mark, written) in self.marks[pages].iter_mut().zip(written) {
            let is_cool = now.wrapping_sub(*written) >= COOL_EPOCHS;
            *mark &= if is_cool { !LAYER } else { u8::MAX };
        }
    }

    /// The log was taken. A page that was never written before comes with the layer 1.
    pub fn harvested(&mut self, dirty: &Bitmap) -> Inflow {
        let mut inflow = Inflow::default();
        for page in dirty.below(self.count()) {
            if self.logged.has(page) {
                // How often since it was seen, nobody knows: to the last, for all that one knows.
                self.written_epoch[page.0 as usize] = self.epoch_byte();
                self.add_pending(page);
            } else {
                self.write(page, &mut inflow);
            }
        }
        if std::mem::take(&mut self.is_any_logged) {
            self.logged.clear();
        }
        inflow
    }

    /// The log was looked at, and stays as it is.
    pub fn peeked(&mut self, dirty: &Bitmap) -> Inflow {
        let mut inflow = Inflow::default();
        for page in dirty.below(self.count()) {
            if self.logged.insert(page) {
                self.write(page, &mut inflow);
            }
        }
        self.is_any_logged |= inflow.dirty_count > 0;
        inflow
    }

    fn write(&mut self, page: Pfn, inflow: &mut Inflow) {
        self.heat(page);
        // What was released before it was written has no size yet.
        if self.sent.has(page) && self.steps[page.0 as usize] == 0 {
            self.drop_pending(page);
            self.sent.remove(page);
        }
        let is_new = self.add_pending(page);
        let bytes = if self.sent.has(page) { self.bytes(page) } else { 0 };
        inflow.dirty_count += 1;
        inflow.dirty_bytes += bytes;
        inflow.new_bytes += if is_new { bytes } else { 0 };
    }

    fn heat(&mut self, page: Pfn) {
        let (layer, at) = (self.layer(page), page.0 as usize);
        let quiet = if layer == 0 { u8::MAX } else { self.quiet(page) };
        self.marks[at] = self.marks[at] & !LAYER | after_write(layer, quiet);
        self.written_epoch[at] = self.epoch_byte();
    }

    /// These may not have arrived. Next time they go as a whole: a driver remembers nothing of what may not be there.
    pub fn lost(&mut self, pages: &Bitmap, full_bytes: f64) {
        for page in pages.below(self.count()) {
            self.drop_pending(page);
            self.set_bytes(page, full_bytes);
            self.add_pending(page);
        }
    }

    /// It is handed over to be sent: whatever is written from now on makes it pending again. Until it is known better, it will take `bytes`
    /// the next time.
    pub fn hand_over(&mut self, page: Pfn, bytes: f64) {
        self.drop_pending(page);
        if self.sent.insert(page) || self.steps[page.0 as usize] == 0 {
            self.set_bytes(page, bytes);
        }
    }

    /// How it went, and what it will take the next time.
    pub fn learn(&mut self, page: Pfn, next_bytes: f64) {
        let was_pending = self.pending.has(page) && self.sent.has(page);
        if was_pending {
            self.known_bytes -= self.bytes(page);
        }
        self.set_bytes(page, next_bytes);
        if was_pending {
            self.known_bytes += self.bytes(page);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
    fn set_bytes(&mut self, page: Pfn, bytes: f64) {
        let steps = (bytes / f64::from(STEP_BYTES)).ceil().clamp(1.0, 255.0);
        self.steps[page.0 as usize] = steps as u8;
    }

    /// What it will take next time, in bytes; 0 for one that was never sent.
    #[must_use]
    pub fn next_bytes(&self, page: Pfn) -> u64 {
        self.bytes(page)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Harvested(u32),
        Peeked(u32),
        HandOver(u32),
        Learn(u32, u16),
        Lost(u32),
        Release(u32),
        Advance(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        let page = || 0_u32..80;
        prop_oneof![
            page().prop_map(Change::Harvested),
            page().prop_map(Change::Peeked),
            page().prop_map(Change::HandOver),
            (page(), 0_u16..5000).prop_map(|(page, bytes)| Change::Learn(page, bytes)),
            page().prop_map(Change::Lost),
            page().prop_map(Change::Release),
            (0_u64..300).prop_map(Change::Advance),
        ]
    }

    fn one(page: u32) -> Bitmap {
        let mut set = Bitmap::empty(80);
        set.insert(Pfn(page));
        set
    }

    proptest! {
        #[test]
        fn what_is_pending_is_counted_right_whatever_happened(changes in prop::collection::vec(change(), 0..200)) {
            let mut pages = Pages::new(70);
            let mut epoch = 0;
            for change in changes {
                match change {
                    Change::Harvested(page) => {
                        pages.harvested(&one(page));
                        prop_assert_eq!(pages.pending().has(Pfn(page)), page < 70);
                        prop_assert!(!pages.is_logged(Pfn(page)));
                    }
                    Change::Peeked(page) => {
                        let was_logged = pages.is_logged(Pfn(page));
                        let inflow = pages.peeked(&one(page));
                        prop_assert_eq!(inflow.dirty_count > 0, page < 70 && !was_logged);
                        prop_assert_eq!(pages.is_logged(Pfn(page)), page < 70);
                    }
                    Change::HandOver(page) if page < 70 => {
                        pages.hand_over(Pfn(page), 900.0);
                        prop_assert!(!pages.pending().has(Pfn(page)));
                    }
                    Change::Learn(page, bytes) if page < 70 => pages.learn(Pfn(page), bytes.into()),
                    Change::Lost(page) => pages.lost(&one(page), 800.0),
                    Change::Release(page) => pages.release(&one(page)),
                    Change::Advance(by) => {
                        epoch += by;
                        pages.advance(epoch);
                    }
                    Change::HandOver(_) | Change::Learn(..) => {}
                }
                let (fresh, known): (Vec<_>, Vec<_>) =
                    pages.pending().iter().partition(|page| !pages.was_sent(*page));
                let bytes: u64 = known.iter().map(|page| pages.next_bytes(*page)).sum();
                prop_assert_eq!(pages.fresh_count() as usize, fresh.len());
                prop_assert_eq!(pages.pending_bytes(1000.0), bytes as f64 + 1000.0 * fresh.len() as f64);
            }
        }
    }

    #[test]
    fn a_page_that_is_left_alone_becomes_cool_and_its_age_never_wraps_to_young() {
        let mut pages = Pages::new(100);
        (0..20).for_each(|epoch| {
            pages.advance(epoch);
            pages.harvested(&one(3));
        });
        assert!(pages.rank(Pfn(3)) > LAYER, "written in every epoch, it is not quiet");
        (20..1000).for_each(|epoch| {
            pages.advance(epoch);
            assert!(epoch < 20 + 64 || pages.rank(Pfn(3)) <= 6, "epoch {epoch}");
        });
        assert_eq!(pages.rank(Pfn(3)), 0);
    }
}
