//! Whether one guest follows its target, from what it was seen to hold.
//!
//! Progress is a new low, by a fair part of what was asked: a guest that gives a page every now and then, or gives memory and
//! takes it again, makes none. The clock runs from when it was first asked for something, so that asking for more does not
//! excuse it.

use std::time::Duration;

use super::TOLERANCE;
use crate::units::Kib;

/// A guest without progress for this long is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);
/// One that is stuck is left alone for this long at first, …
pub const RETRY_MIN: Duration = Duration::from_secs(60);
/// … twice as long after each further failure, and never longer than this.
pub const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Progress is one part of so many of what was asked.
const PROGRESS_PARTS: u64 = 8;

/// What is remembered of one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The least that it was seen to hold since it was asked; `None` when it owes nothing.
    low: Option<Kib>,
    /// Less than that by this much is progress.
    quantum: Kib,
    moved_at: Duration,
    failures: u32,
    retry_at: Option<Duration>,
}

impl Progress {
    /// A guest that is seen for the first time.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self { low: None, quantum: TOLERANCE, moved_at: now, failures: 0, retry_at: None }
    }

    /// Takes note of what is not free because of the guest, and of what it is asked to hold.
    pub fn look(&mut self, now: Duration, grip: Kib, target: Kib) {
        let owed = grip.saturating_sub(target);
        match self.low {
            _ if owed <= TOLERANCE => {
                if self.low.take().is_some() {
                    self.failures = 0;
                }
                self.moved_at = now;
            }
            None => {
                self.quantum = Kib(owed.0 / PROGRESS_PARTS).max(TOLERANCE);
                (self.low, self.moved_at) = (Some(grip), now);
            }
            Some(low) if grip + self.quantum <= low => {
                (self.low, self.moved_at) = (Some(grip), now);
            }
            Some(_) => {}
        }
    }

    /// When it last made progress, or owed nothing.
    #[must_use]
    pub fn moved_at(&self) -> Duration {
        self.moved_at
    }

    /// It was found to be stuck.
    pub fn declare_stuck(&mut self, now: Duration) {
        let doublings = self.failures.min(16);
        let pause = RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
        self.low = None;
    }

    /// It is to be left alone.
    #[must_use]
    pub fn is_stuck(&self, now: Duration) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_a_new_low_by_a_fair_part_is_progress() {
        let mut progress = Progress::new(s(0));
        progress.look(s(5), Kib(160 << 10), Kib(160 << 10));
        assert_eq!(progress.moved_at(), s(5), "at its target");
        progress.look(s(6), Kib(160 << 10), Kib(80 << 10));
        progress.look(s(7), Kib(155 << 10), Kib(80 << 10));
        assert_eq!(progress.moved_at(), s(6), "5 of 80 MiB are not enough");
        progress.look(s(8), Kib(150 << 10), Kib(80 << 10));
        assert_eq!(progress.moved_at(), s(8));
        progress.look(s(9), Kib(158 << 10), Kib(80 << 10));
        progress.look(s(10), Kib(150 << 10), Kib(60 << 10));
        assert_eq!(progress.moved_at(), s(8), "given, taken and given again; and asked for more");
    }

    #[test]
    fn a_stuck_guest_is_tried_again_ever_more_rarely_until_it_follows() {
        let mut progress = Progress::new(s(0));
        let mut now = s(0);
        for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            progress.look(now, Kib(160 << 10), Kib(80 << 10));
            progress.declare_stuck(now);
            assert!(progress.is_stuck(now + s(pause) - s(1)));
            now += s(pause);
            assert!(!progress.is_stuck(now));
        }
        progress.look(now, Kib(160 << 10), Kib(80 << 10));
        progress.look(now + s(1), Kib(80 << 10), Kib(80 << 10));
        progress.declare_stuck(now);
        assert!(!progress.is_stuck(now + s(60)), "one that has followed starts anew");
    }
}
