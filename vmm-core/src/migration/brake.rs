//! The last resort: a guest that writes faster than the link carries is given less processor time, late, for a while, within a budget.
//!
//! With `x` the seconds that what is left needs on the link, `r` the bytes that the guest makes dirty for each that is sent, and `keep` the
//! share of its time that the guest is left, it takes `x / (1 - r·keep)` seconds until the rest is small, and the guest loses
//! `(1 - keep)` of them. The weakest brake whose loss fits the budget is pulled; where none fits, none is. Only the hot remainder is
//! braked, never the first pass, and every way out takes the brake off.

use std::time::Duration;

use super::Brake;

/// The strongest: a guest that keeps a twenty-fifth of its time still answers.
pub const STRONGEST: Brake = Brake::percent(96);
/// What is predicted may turn out worse by so much.
const CAUTION: f64 = 1.25;
/// With more than this written again for each byte sent, nothing gets shorter soon enough.
const LEFT_RATIO_MAX: f64 = 0.8;

/// What there is to decide with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// Seconds that what must be sent before the stop needs on the link.
    pub excess_s: f64,
    /// Bytes that the guest makes dirty for each that the link carries, unbraked.
    pub ratio: f64,
    /// Seconds of its time that the guest may still lose.
    pub budget_s: f64,
}

impl Situation {
    /// Seconds of its time that the guest would lose by this brake; none when it would not help.
    #[must_use]
    pub fn loss_s(&self, brake: Brake) -> Option<f64> {
        let left = self.ratio * (1.0 - brake.denied());
        (left < LEFT_RATIO_MAX).then(|| CAUTION * brake.denied() * self.excess_s / (1.0 - left))
    }

    /// The weakest brake that helps and fits the budget.
    #[must_use]
    pub fn brake(&self) -> Option<Brake> {
        let strengths = (1..=9).map(|tenth| Brake::percent(tenth * 10)).chain([STRONGEST]);
        strengths
            .into_iter()
            .find(|brake| self.loss_s(*brake).is_some_and(|loss| loss <= self.budget_s))
    }
}

/// How much of its time a guest has lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    brake: Brake,
    since: Duration,
    lost_s: f64,
}

impl Meter {
    /// The brake is at `brake` from `now` on.
    pub fn set(&mut self, brake: Brake, now: Duration) {
        self.lost_s = self.lost_s(now);
        self.since = now;
        self.brake = brake;
    }

    /// What it is at.
    #[must_use]
    pub fn brake(&self) -> Brake {
        self.brake
    }

    /// What was lost until `now`, in seconds.
    #[must_use]
    pub fn lost_s(&self, now: Duration) -> f64 {
        self.lost_s + self.brake.denied() * now.saturating_sub(self.since).as_secs_f64()
    }

    /// When so many seconds will have been lost; never, while the brake is off.
    #[must_use]
    pub fn spent_at(&self, budget_s: f64) -> Option<Duration> {
        let left = (budget_s - self.lost_s).max(0.0) / self.brake.denied();
        left.is_finite().then(|| self.since + Duration::from_secs_f64(left))
    }
}

/// The cap of credit2, in percent of one processor, for a guest that has used `used_cpus` of them: 0 means none.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to u16")]
pub fn credit2_cap(used_cpus: f64, brake: Brake) -> u16 {
    if brake == Brake::OFF {
        return 0;
    }
    (used_cpus.max(0.01) * 100.0 * (1.0 - brake.denied())).ceil().clamp(1.0, 65535.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_brake_that_fits_is_pulled_or_none() {
        let check = |excess_s, ratio, budget_s, expect: Option<u8>| {
            let found = Situation { excess_s, ratio, budget_s }.brake();
            assert_eq!(found, expect.map(Brake::percent), "{excess_s} {ratio} {budget_s}");
        };
        check(1.0, 1.0, 5.0, Some(30));
        check(1.0, 6.0, 5.0, Some(90));
        check(2.0, 6.0, 5.0, Some(96));
        check(10.0, 6.0, 5.0, None);
        check(1.0, 100.0, 5.0, None);
        check(1.0, 1.0, 0.0, None);
    }

    #[test]
    fn the_meter_counts_what_is_lost() {
        let (mut meter, at) = (Meter::default(), Duration::from_secs);
        assert_eq!(meter.spent_at(5.0), None);
        meter.set(Brake::percent(50), at(10));
        assert_eq!(meter.lost_s(at(14)), 2.0);
        assert_eq!(meter.spent_at(5.0), Some(at(20)));
        meter.set(Brake::OFF, at(14));
        assert_eq!(meter.lost_s(at(100)), 2.0);
    }

    #[test]
    fn a_cap_is_of_what_the_guest_used() {
        let check =
            |used, percent, expect| assert_eq!(credit2_cap(used, Brake::percent(percent)), expect);
        check(2.0, 0, 0);
        check(2.0, 50, 100);
        check(0.0, 96, 1);
        check(4.0, 96, 17);
        check(1e9, 1, 65535);
    }
}
