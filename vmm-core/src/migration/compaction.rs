//! Making the guest small before it moves: by hints where it gives them, by the balloon where that pays.
//!
//! A page that holds nothing need not travel. Best the guest says which do (free-page hints): they cost 8 bytes a run, the guest keeps its
//! large pages and its page cache. Without hints the balloon takes them. That costs time and shatters large pages, so it is only done
//! where it saves more than it takes:
//!
//! ```text
//!   saved = free · packed/4096 / link          taken = free / balloon's pace          worth it: saved > 1.5 · taken
//! ```
//!
//! The balloon goes down *before* log-dirty is on, for Xen's log does not see pages that come and go; then it is pinned until the guest
//! runs at the destination. It goes in steps, never below what the guest uses and a tenth and [`CACHE_FLOOR`], and stops when the guest
//! is pressed or has not moved for [`STALL`].

use std::time::Duration;

use super::BalloonReading;
use crate::units::{BytesPerSecond, Kib};

/// Page cache that a guest keeps.
pub const CACHE_FLOOR: Kib = Kib::from_mib(64);
/// Nothing moved for so long: it is as small as it gets.
pub const STALL: Duration = Duration::from_secs(1);
/// No squeeze takes longer.
pub const SQUEEZE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What guests were seen to give back a second; an expectation, used only to decide whether to begin.
pub const PACE: BytesPerSecond = BytesPerSecond(400 << 20);
const STEP: Kib = Kib::from_mib(256);
const REACHED: Kib = Kib::from_mib(1);
const WORTH: f64 = 1.5;

/// How far down, for a guest that uses `used`.
#[must_use]
pub fn target(used: Kib, floor: Kib) -> Kib {
    floor.max(Kib(used.0.saturating_add(used.0 / 10)) + CACHE_FLOOR)
}

/// Whether giving back `free` saves more time on a link than it takes. `packed` is what a page of it would take on the wire, of 1.
#[must_use]
pub fn is_worth_it(free: Kib, packed: f64, link: BytesPerSecond) -> bool {
    free >= Kib::from_mib(16) && packed / link.0.max(1) as f64 > WORTH / PACE.0 as f64
}

/// What comes next of a squeeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask for this much.
    Ask(Kib),
    /// Look again then.
    Look(Duration),
    /// As small as it gets.
    Done,
}

/// A balloon on its way down.
#[derive(Clone, Copy, Debug)]
pub struct Squeeze {
    target: Kib,
    asked: Option<Kib>,
    held: Kib,
    is_pressed: bool,
    began_at: Duration,
    moved_at: Duration,
}

impl Squeeze {
    /// From `held` to `target`.
    #[must_use]
    pub fn new(held: Kib, target: Kib, now: Duration) -> Self {
        Self { target, asked: None, held, is_pressed: false, began_at: now, moved_at: now }
    }

    /// It was looked at.
    pub fn saw(&mut self, reading: BalloonReading, now: Duration) {
        if reading.held < self.held {
            self.moved_at = now;
        }
        self.held = self.held.min(reading.held);
        self.is_pressed |= reading.is_pressed;
    }

    /// What to do.
    pub fn next(&mut self, now: Duration) -> Next {
        let is_late = now.saturating_sub(self.moved_at) >= STALL
            || now.saturating_sub(self.began_at) >= SQUEEZE_MAX;
        if self.held <= self.target + REACHED || self.is_pressed || is_late {
            return Next::Done;
        }
        let reached = self.asked.is_none_or(|asked| self.held <= asked + REACHED);
        if reached {
            let step = STEP.max(Kib(self.held.0 / 20));
            let ask = self.target.max(self.held - step);
            self.asked = Some(ask);
            return Next::Ask(ask);
        }
        Next::Look(now + LOOK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(held_mib: u64, is_pressed: bool) -> BalloonReading {
        BalloonReading { held: Kib::from_mib(held_mib), is_pressed }
    }

    #[test]
    fn it_pays_on_a_slow_link_only() {
        let check = |free, packed, link, expect| {
            assert_eq!(is_worth_it(Kib::from_mib(free), packed, BytesPerSecond(link)), expect);
        };
        check(4096, 0.45, 117_000_000, true);
        check(4096, 0.45, 1_170_000_000, false);
        check(4096, 0.02, 117_000_000, false);
        check(8, 1.0, 1_000_000, false);
    }

    #[test]
    fn the_target_leaves_a_tenth_and_some_cache() {
        assert_eq!(target(Kib::from_mib(1000), Kib::ZERO), Kib::from_mib(1164));
        assert_eq!(target(Kib::from_mib(1000), Kib::from_mib(2048)), Kib::from_mib(2048));
        assert!(target(Kib(u64::MAX), Kib::ZERO) == Kib(u64::MAX));
    }

    #[test]
    fn it_goes_down_in_steps_and_ends_at_the_target() {
        let mut squeeze = Squeeze::new(Kib::from_mib(1000), Kib::from_mib(600), Duration::ZERO);
        let at = Duration::from_millis;
        assert_eq!(squeeze.next(at(0)), Next::Ask(Kib::from_mib(744)));
        assert_eq!(squeeze.next(at(10)), Next::Look(at(60)));
        squeeze.saw(look(744, false), at(60));
        assert_eq!(squeeze.next(at(60)), Next::Ask(Kib::from_mib(600)));
        squeeze.saw(look(601, false), at(120));
        assert_eq!(squeeze.next(at(120)), Next::Done);
    }

    #[test]
    fn it_stops_when_pressed_when_stalled_and_when_it_takes_too_long() {
        let start = || {
            let mut squeeze = Squeeze::new(Kib::from_mib(9000), Kib::from_mib(600), Duration::ZERO);
            assert!(matches!(squeeze.next(Duration::ZERO), Next::Ask(_)));
            squeeze
        };
        let mut pressed = start();
        pressed.saw(look(8999, true), Duration::from_millis(50));
        assert_eq!(pressed.next(Duration::from_millis(50)), Next::Done);
        assert_eq!(start().next(STALL), Next::Done);
        let mut slow = start();
        let looks = (1..u64::MAX).find(|look_at| {
            let now = LOOK_EVERY * u32::try_from(*look_at).expect("few");
            slow.saw(look(9000 - look_at, false), now);
            slow.next(now) == Next::Done
        });
        assert_eq!(looks, Some(200), "10 s of steps of 50 ms");
    }
}
