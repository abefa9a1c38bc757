//! When to stop a guest that somebody else copies: libxenguest sends a PV guest in rounds, each of what was written during the one before,
//! and asks in between. Which pages go is its affair; when it is enough is decided here.
//!
//! A stop sends what is known to be written, and then what the guest writes meanwhile and what was kept back stand between it and its
//! start. It is stopped when that fits what is allowed and another round would gain little; when rounds bring nothing, it is stopped if the
//! longest downtime allows it. Where nobody logs what it writes, it stands still for all of its memory, if that is allowed. It fails by
//! [`Reason`].

use std::time::Duration;

use super::{Limits, Reason};

/// Rounds without progress that are enough to say that there is none.
const STALL_ROUNDS: u32 = 5;
/// Progress is so much less downtime.
const PROGRESS: f64 = 0.9;
/// Less than this is not worth another round.
const LITTLE: Duration = Duration::from_millis(2);

/// Before a round: what stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Pages that were written since the log was taken before.
    pub dirty_pages: u64,
    /// How long ago that was. Nothing before the first time.
    pub took: Duration,
    /// Pages that are kept back until the guest stands still.
    pub held_pages: u64,
    /// What a page takes on the link.
    pub page_bytes: f64,
    /// What the link carries.
    pub link_bytes_per_s: f64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another round after this one.
    Round,
    /// This one, and then it is stopped.
    Stop,
    /// It stays.
    Abort(Reason),
}

/// How a stop after a round would go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// What the guest would write while the round is sent, of what it wrote in the last one.
    pub written_pages: f64,
    /// How long it would stand still.
    pub downtime: Duration,
}

impl Round {
    /// What a stop after this round would cost, with `fixed` for all that is no page.
    #[must_use]
    pub fn outlook(&self, fixed: Duration) -> Outlook {
        let seconds = |pages: f64| {
            let seconds = pages * self.page_bytes / self.link_bytes_per_s.max(1.0);
            // What cannot be a duration is for ever.
            Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
        };
        let (dirty, held) = (self.dirty_pages as f64, self.held_pages as f64);
        let (sending, took) = (seconds(dirty).as_secs_f64(), self.took.as_secs_f64());
        let part = if took > 0.0 { (sending / took).min(1.0) } else { 1.0 };
        let written_pages = dirty * part;
        Outlook { written_pages, downtime: fixed.saturating_add(seconds(written_pages + held)) }
    }

    fn left_bytes(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast to an integer saturates"
        )]
        let bytes = ((self.dirty_pages + self.held_pages) as f64 * self.page_bytes) as u64;
        bytes
    }
}

/// Decides after each round. Its clock begins with the migration.
#[derive(Clone, Debug)]
pub struct Rounds {
    limits: Limits,
    fixed: Duration,
    best: Duration,
    stalled: u32,
}

impl Rounds {
    /// With what is allowed, and what a stop costs that is no page.
    #[must_use]
    pub fn new(limits: Limits, fixed: Duration) -> Self {
        Self { limits, fixed, best: Duration::MAX, stalled: 0 }
    }

    /// Before each round but the first, which is all of memory.
    pub fn decide(&mut self, now: Duration, round: &Round) -> Step {
        let Outlook { written_pages, downtime } = round.outlook(self.fixed);
        self.stalled = if downtime < self.best.mul_f64(PROGRESS) { 0 } else { self.stalled + 1 };
        self.best = self.best.min(downtime);
        let Limits { downtime_target, downtime_max, deadline, .. } = self.limits;
        let (is_stalled, is_late) = (self.stalled >= STALL_ROUNDS, now >= deadline);
        let again = written_pages / (round.dirty_pages as f64).max(1.0);
        let gains = again < self.limits.ratio_max() && downtime > self.fixed + LITTLE;
        if downtime <= downtime_target && (!gains || is_stalled || is_late) {
            return Step::Stop;
        }
        if !is_stalled && !is_late {
            return Step::Round;
        }
        if downtime <= downtime_max {
            return Step::Stop;
        }
        Step::Abort(if is_late {
            self.too_late(round.left_bytes())
        } else {
            Reason::DoesNotConverge {
                downtime_ms: milliseconds(downtime),
                allowed_ms: milliseconds(downtime_max),
            }
        })
    }

    /// In the middle of a round that lasts: it is not stopped in there.
    #[must_use]
    pub fn is_too_late(&self, now: Duration, left_bytes: u64) -> Option<Reason> {
        (now > self.limits.deadline).then(|| self.too_late(left_bytes))
    }

    /// Of a guest whose writes nobody logs: before it is stopped, with all of its pages to be sent, and again while it stands still, with
    /// those that are left.
    ///
    /// # Errors
    /// [`Reason::MustStand`] when all in all that is longer than is allowed.
    pub fn may_stand(&self, stood: Duration, round: &Round) -> Result<(), Reason> {
        let downtime = stood.saturating_add(round.outlook(self.fixed).downtime);
        let allowed = self.limits.downtime_max;
        // What the link carries is not known at once, and a stop that was given up has cost something.
        let is_early = !stood.is_zero() && stood < allowed / 4;
        if downtime <= allowed || is_early {
            return Ok(());
        }
        let (downtime_ms, allowed_ms) = (milliseconds(downtime), milliseconds(allowed));
        Err(Reason::MustStand { downtime_ms, allowed_ms })
    }

    fn too_late(&self, left_bytes: u64) -> Reason {
        Reason::Deadline { seconds: self.limits.deadline.as_secs(), left_bytes }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const FIXED: Duration = Duration::from_millis(100);

    fn limits(downtime_max_ms: u64) -> Limits {
        let downtime_max = Duration::from_millis(downtime_max_ms);
        let deadline = Duration::from_secs(100);
        let downtime_target = downtime_max.min(Duration::from_millis(300));
        Limits { downtime_target, downtime_max, deadline, ..Limits::default() }
    }

    /// Over a link of 40 MB/s, pages of 4000 bytes: ten in a millisecond.
    fn round(dirty_pages: u64, took_ms: u64, held_pages: u64) -> Round {
        let took = Duration::from_millis(took_ms);
        Round { dirty_pages, took, held_pages, page_bytes: 4e3, link_bytes_per_s: 4e7 }
    }

    #[test]
    fn a_guest_that_nobody_logs_stands_still_for_all_of_it_or_stays() {
        let rounds = Rounds::new(limits(1000), FIXED);
        let of = |dirty_pages| Round {
            dirty_pages,
            took: Duration::ZERO,
            held_pages: 0,
            page_bytes: 4096.0,
            link_bytes_per_s: 4096.0 * 1000.0,
        };
        let stood = Duration::from_millis(400);
        assert_eq!(rounds.may_stand(Duration::ZERO, &of(900)), Ok(()));
        assert_eq!(rounds.may_stand(stood, &of(500)), Ok(()));
        assert_eq!(rounds.may_stand(stood / 2, &of(9000)), Ok(()));
        let refused = |downtime_ms| Err(Reason::MustStand { downtime_ms, allowed_ms: 1000 });
        assert_eq!(rounds.may_stand(Duration::ZERO, &of(1100)), refused(1200));
        assert_eq!(rounds.may_stand(stood, &of(600)), refused(1100));
    }

    #[test]
    fn what_is_written_while_the_rest_is_sent_and_what_was_kept_is_the_downtime() {
        for (round, downtime_ms) in [
            (round(0, 1000, 0), 100),
            // 100 ms for 1000 pages, a tenth of the time that they were written in.
            (round(1000, 1000, 0), 110),
            (round(1000, 1000, 500), 160),
            (round(1000, 50, 0), 200),
            (round(1000, 0, 0), 200),
        ] {
            assert_eq!(round.outlook(FIXED).downtime.as_millis(), downtime_ms, "{round:?}");
        }
        let nowhere = Round { link_bytes_per_s: 0.0, page_bytes: f64::MAX, ..round(1, 1, 0) };
        assert_eq!(nowhere.outlook(FIXED).downtime, Duration::MAX);
    }

    #[test]
    fn an_idle_guest_is_stopped_after_its_first_round() {
        let mut rounds = Rounds::new(limits(300), FIXED);
        assert_eq!(rounds.decide(Duration::from_secs(1), &round(10, 1000, 0)), Step::Stop);
    }

    /// Steps of a guest that is the same after each round.
    fn steps(limits: Limits, round: &Round, count: u32) -> Vec<Step> {
        let mut rounds = Rounds::new(limits, FIXED);
        (1..=count).map(|second| rounds.decide(Duration::from_secs(second.into()), round)).collect()
    }

    #[test]
    fn rounds_that_bring_nothing_end_by_what_is_allowed() {
        let busy = round(9000, 1000, 0);
        assert_eq!(busy.outlook(FIXED).downtime.as_millis(), 910);
        let reason = Reason::DoesNotConverge { downtime_ms: 910, allowed_ms: 300 };
        for (downtime_max_ms, end) in [(300, Step::Abort(reason)), (1000, Step::Stop)] {
            let steps = steps(limits(downtime_max_ms), &busy, STALL_ROUNDS + 1);
            let (last, before) = steps.split_last().unwrap();
            assert!(before.iter().all(|step| *step == Step::Round), "{steps:?}");
            assert_eq!(*last, end);
        }
    }

    #[test]
    fn the_deadline_ends_it_by_what_is_allowed() {
        for (downtime_max_ms, is_stopped) in [(300, false), (1000, true)] {
            let mut rounds = Rounds::new(limits(downtime_max_ms), FIXED);
            let late = Duration::from_secs(100);
            let step = rounds.decide(late, &round(9000, 1000, 0));
            assert_eq!(step == Step::Stop, is_stopped, "{step:?}");
            assert_eq!(rounds.is_too_late(late, 5), None);
            let reason = Reason::Deadline { seconds: 100, left_bytes: 5 };
            assert_eq!(rounds.is_too_late(late + FIXED, 5), Some(reason));
        }
    }

    proptest! {
        /// It ends, and whoever is stopped stands still for no longer than is allowed, as far as that is known.
        #[test]
        fn it_ends_within_what_is_allowed(
            downtime_max_ms in 0_u64..2000,
            seen in vec((0_u64..40_000, 0_u64..5_000, 0_u64..10_000), 1..200),
        ) {
            let limits = limits(downtime_max_ms);
            let mut rounds = Rounds::new(limits, FIXED);
            let mut now = Duration::ZERO;
            for (dirty, took_ms, held) in seen.iter().cycle().take(10_000) {
                let round = round(*dirty, *took_ms, *held);
                now += round.took + LITTLE;
                match rounds.decide(now, &round) {
                    Step::Round => continue,
                    Step::Stop => {
                        prop_assert!(round.outlook(FIXED).downtime <= limits.downtime_max);
                    }
                    Step::Abort(_) => {
                        prop_assert!(round.outlook(FIXED).downtime > limits.downtime_max);
                    }
                }
                return Ok(());
            }
            prop_assert!(false, "it goes on for ever");
        }
    }
}
