//! Which packer, by what it was measured to cost.
//!
//! A page takes the link `bytes / B` and the encoders `cpu / threads`; both work at once, so the slower one counts. The best is one packer
//! for all pages, or a mixture of two that keeps both busy: with `f` the share of the first,
//! `f·b1 + (1-f)·b2 = (f·c1 + (1-f)·c2) · B / threads`. On a slow link everything is packed hard; on a fast one a fixed Zstandard would be the
//! bottleneck, and nothing is packed that does not pay. One page in [`EXPLORE`] goes to each of the others, so that a change of contents is seen.

use super::{Encoding, Outcome, PAGE_BYTES, Pack};

/// Each packer that is not in use is tried on one page of so many.
pub const EXPLORE: u32 = 64;
/// As many pages as each is tried on before it is judged.
const TRIALS: u32 = 32;
const WEIGHT: f64 = 0.02;
const PACKS: [Pack; 3] = [Pack::Raw, Pack::Lz4, Pack::Zstd];

/// What a packer costs a page.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    bytes: f64,
    nanos: f64,
    seen: u32,
}

/// Keeps what packers cost, and chooses.
#[derive(Clone, Debug)]
pub struct Chooser {
    costs: [Cost; 3],
    threads: f64,
    /// Which may be used.
    allowed: [bool; 3],
    turn: u32,
    owed: f64,
}

/// The best there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    /// This one …
    pub first: Pack,
    /// … for this share of the pages, 0 to 1, …
    pub share: f64,
    /// … and this one for the others.
    pub second: Pack,
    /// Seconds a page.
    pub seconds: f64,
    /// Bytes a page.
    pub bytes: f64,
}

impl Chooser {
    /// For so many encoders; only `allowed` packers are used, and [`Pack::Raw`] always may be.
    #[must_use]
    pub fn new(threads: u32, allowed: &[Pack]) -> Self {
        let page = f64::from(PAGE_BYTES);
        let unknown = |bytes, nanos| Cost { bytes, nanos, seen: 0 };
        Self {
            // Guesses that only hold until each was tried: the slow middle of what is known of 4 KiB pages.
            costs: [unknown(page, 100.0), unknown(page / 2.0, 8e3), unknown(page / 2.5, 15e3)],
            threads: f64::from(threads.max(1)),
            allowed: PACKS.map(|pack| pack == Pack::Raw || allowed.contains(&pack)),
            turn: 0,
            owed: 0.0,
        }
    }

    /// What became of a page that was to be packed so.
    pub fn learn(&mut self, pack: Pack, outcome: Outcome) {
        let is_packed = matches!(outcome.encoding, Encoding::Lz4 | Encoding::Zstd | Encoding::Raw);
        if !is_packed {
            return;
        }
        let cost = &mut self.costs[pack as usize];
        cost.seen = cost.seen.saturating_add(1);
        let weight = (1.0 / f64::from(cost.seen)).max(WEIGHT);
        cost.bytes += weight * (f64::from(outcome.bytes) - cost.bytes);
        cost.nanos += weight * (f64::from(outcome.nanos) - cost.nanos);
    }

    /// For the next page, on a link of so many bytes a second.
    pub fn next(&mut self, link: f64) -> Pack {
        let may = |pack: &Pack| self.allowed[*pack as usize];
        let untried = |pack: &&Pack| self.costs[**pack as usize].seen < TRIALS;
        self.turn = self.turn.wrapping_add(1);
        if let Some(pack) = PACKS[1..].iter().filter(|pack| may(pack)).find(untried) {
            return *pack;
        }
        let turn = self.turn % EXPLORE;
        if turn < 2 && may(&PACKS[turn as usize + 1]) {
            return PACKS[turn as usize + 1];
        }
        let best = self.best(link);
        self.owed += best.share;
        if self.owed >= 1.0 {
            self.owed -= 1.0;
            return best.first;
        }
        best.second
    }

    /// What is best on a link of so many bytes a second.
    #[must_use]
    pub fn best(&self, link: f64) -> Mixture {
        let mut best = self.mixture(Pack::Raw, Pack::Raw, link);
        for (at, first) in PACKS.iter().enumerate().filter(|(at, _)| self.allowed[*at]) {
            for second in PACKS[..=at].iter().filter(|pack| self.allowed[**pack as usize]) {
                let other = self.mixture(*first, *second, link);
                if other.seconds < best.seconds {
                    best = other;
                }
            }
        }
        best
    }

    fn mixture(&self, first: Pack, second: Pack, link: f64) -> Mixture {
        let (one, two) = (self.costs[first as usize], self.costs[second as usize]);
        let on_link = |bytes: f64| bytes / link.max(1.0);
        let on_cpu = |nanos: f64| nanos / 1e9 / self.threads;
        // Where both lines over the share cross, link and encoders are busy alike.
        let slack = |cost: Cost| on_link(cost.bytes) - on_cpu(cost.nanos);
        let (a, b) = (slack(one), slack(two));
        let share = if (a < 0.0) == (b < 0.0) { 1.0 } else { b / (b - a) };
        let bytes = share * one.bytes + (1.0 - share) * two.bytes;
        let nanos = share * one.nanos + (1.0 - share) * two.nanos;
        Mixture { first, share, second, seconds: on_link(bytes).max(on_cpu(nanos)), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::Keep;

    fn chooser(lz4: (u16, u32), zstd: (u16, u32)) -> Chooser {
        let mut chooser = Chooser::new(2, &[Pack::Lz4, Pack::Zstd]);
        for _ in 0..1000 {
            for (pack, encoding, (bytes, nanos)) in [
                (Pack::Raw, Encoding::Raw, (4096, 200)),
                (Pack::Lz4, Encoding::Lz4, lz4),
                (Pack::Zstd, Encoding::Zstd, zstd),
            ] {
                chooser.learn(pack, Outcome { encoding, bytes, nanos, kept: Keep::Nothing });
            }
        }
        chooser
    }

    #[test]
    fn a_slow_link_packs_hard_and_a_fast_one_does_not_wait_for_it() {
        let packs = chooser((1800, 6_000), (1400, 14_000));
        let slow = packs.best(117e6);
        assert_eq!((slow.first, slow.share), (Pack::Zstd, 1.0));
        let middle = packs.best(350e6);
        assert_eq!((middle.first, middle.second), (Pack::Zstd, Pack::Lz4));
        assert!(middle.share > 0.0 && middle.share < 1.0);
        let fast = packs.best(1.2e9);
        assert_eq!((fast.first, fast.second), (Pack::Lz4, Pack::Raw));
        let huge = packs.best(12e9);
        assert!(huge.share < 0.15, "{huge:?}");
    }

    #[test]
    fn what_cannot_be_packed_is_not() {
        let packs = chooser((4096, 3_000), (4096, 9_000));
        assert_eq!(packs.best(117e6).bytes, 4096.0);
        assert!(packs.best(117e6).seconds <= 4096.0 / 117e6);
    }

    #[test]
    fn a_mixture_is_never_slower_than_either_alone() {
        let packs = chooser((1800, 6_000), (1400, 14_000));
        for link in [1e6, 1e7, 1e8, 3e8, 1e9, 1e10] {
            let best = packs.best(link);
            for pack in PACKS {
                assert!(best.seconds <= packs.mixture(pack, pack, link).seconds);
            }
        }
    }

    #[test]
    fn each_packer_is_tried_and_tried_again() {
        let mut packs = Chooser::new(2, &[Pack::Lz4, Pack::Zstd]);
        let outcome =
            Outcome { encoding: Encoding::Raw, bytes: 4096, nanos: 5_000, kept: Keep::Nothing };
        let mut count = [0_u32; 3];
        for _ in 0..6400 {
            let pack = packs.next(117e6);
            count[pack as usize] += 1;
            packs.learn(pack, outcome);
        }
        assert!(count.iter().all(|of| *of >= 100), "{count:?}");
        let mut only = Chooser::new(2, &[Pack::Lz4]);
        assert!((0..1000).all(|_| {
            let pack = only.next(1e8);
            only.learn(pack, outcome);
            pack != Pack::Zstd
        }));
    }
}
