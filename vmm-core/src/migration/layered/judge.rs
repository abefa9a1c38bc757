//! After each harvest of the sprint: on, stop, brake, or give up.
//!
//! Let `x` be the seconds that what is pending needs on the link, `r` what is written again for each byte that is sent. Another pass costs
//! `r·x` in all and takes `(1-r)·x` off the downtime. So it goes on while `r < w/(1+w)`, with `w` the worth of downtime, and stops
//! when that no longer holds and the downtime is allowed. Stopping at the first downtime that is allowed, as QEMU does, leaves what a few
//! milliseconds more would save; sending on while anything is gained takes passes that gain next to nothing.
//!
//! A braked guest loses `denied / (1 - r)` seconds of its time for each that the rest gets shorter. Where that is more than they are worth as
//! downtime, it is stopped as soon as the longer downtime allows it.
//!
//! Whatever ends the sprint, or brakes the guest, is decided by what was [weighed](super::weigh), unless next to nothing is left.
//!
//! It has stalled when `x` was not a tenth less for [`STALL_EPOCHS`] and for as long as `x` itself, nor the pages that were never sent: then
//! nothing gets shorter by waiting, and the brake is asked for ([`crate::migration::brake`]), then the longer downtime, then it is given up.

use std::time::Duration;

use super::{Layered, Phase};
use crate::migration::brake::{STRONGEST, Situation};
use crate::migration::rate::Undone;
use crate::migration::{Action, Brake, EPOCH, Reason};

/// Nothing got shorter for so long: it will not.
pub(super) const STALL_EPOCHS: u32 = 10;
/// A rest that is as short as this is not worth another harvest.
const SHORT_S: f64 = 0.002;
const LESS: f64 = 0.9;
/// Of the probe, what is looked at for the rate of writing.
const MOMENT_S: f64 = 0.1;

/// The shortest rest so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) rest_s: f64,
    /// Pages that were never sent. Each takes a fraction the next time.
    fresh: u32,
    at: Duration,
}

impl Layered {
    /// Seconds that what is pending needs, on the link or in the encoders.
    pub(super) fn rest_s(&self) -> f64 {
        let pages = f64::from(self.pages.pending().count());
        let bytes = self.pages.pending_bytes(self.sizes.fresh) * self.drift.factor();
        let bytes = bytes * self.scale.factor;
        let on_link = bytes / self.link.low();
        on_link.max(pages * self.sizes.nanos / 1e9 / f64::from(self.guest.threads.max(1)))
    }

    pub(super) fn downtime_s(&self) -> f64 {
        self.rest_s() + self.guest.fixed.as_secs_f64()
    }

    pub(super) fn judge(&mut self, now: Duration) {
        let rest_s = self.rest_s();
        let is_allowed = self.downtime_s() <= self.limits.downtime_target.as_secs_f64();
        let is_stalled = self.is_stalled(rest_s, now);
        let is_braked = self.meter.brake() > Brake::OFF;
        let gains = self.undone.ratio() < self.limits.ratio_max() && !is_braked;
        let is_to_stop = is_allowed && (!gains || is_stalled) || self.is_braked_for_nothing();
        if rest_s <= SHORT_S {
            self.stop(now);
        } else if !self.scale.is_fresh && (is_to_stop || is_stalled) {
            self.weigh();
        } else if is_to_stop {
            self.stop(now);
        } else if is_stalled {
            self.brake_or_give_up(now);
        }
    }

    fn is_stalled(&mut self, rest_s: f64, now: Duration) -> bool {
        let fresh = self.pages.fresh_count();
        let is_less = |best: Best| {
            rest_s < best.rest_s * LESS || f64::from(fresh) < f64::from(best.fresh) * LESS
        };
        match self.best {
            Some(best) if !is_less(best) => {
                let patience = (EPOCH * STALL_EPOCHS).as_secs_f64().max(best.rest_s);
                now.saturating_sub(best.at).as_secs_f64() >= patience
            }
            _ => {
                self.best = Some(Best { rest_s, fresh, at: now });
                false
            }
        }
    }

    /// The brake would cost the guest more than standing still for the rest, and that is allowed.
    fn is_braked_for_nothing(&self) -> bool {
        let denied = self.meter.brake().denied();
        let left = (self.dirty_rate / self.link.low()).min(1.0);
        denied > 0.0
            && self.downtime_s() <= self.limits.downtime_max.as_secs_f64()
            && denied >= self.limits.downtime_weight * (1.0 - left)
    }

    /// Without a brake: its way to standing still would take as many times longer, and soon there is no program left that writes.
    fn stop(&mut self, now: Duration) {
        self.release_brake(now);
        self.phase = Phase::Stopping;
        self.orders.push_back(Action::Suspend);
    }

    fn brake_or_give_up(&mut self, now: Duration) {
        let budget_s = self.limits.brake_budget.as_secs_f64() - self.meter.lost_s(now);
        let kept = 1.0 - self.meter.brake().denied();
        let seen = self.dirty_rate / self.link.low() / kept;
        let excess_s = self.rest_s();
        let under = |ratio| Situation { excess_s, ratio, budget_s }.brake();
        // A working set that is written through while it is sent once looks as if it were written as fast as it is sent.
        let found = under(seen.max(self.probed_ratio(excess_s))).or_else(|| under(seen));
        let found = found.filter(|_| self.options.brake);
        // One that was found too weak is not tried again.
        let stronger = |found| if found > self.meter.brake() { found } else { STRONGEST };
        let Some(brake) = found.map(stronger).filter(|brake| *brake > self.meter.brake()) else {
            return self.give_up(now, false);
        };
        self.meter.set(brake, now);
        self.undone = Undone::default();
        self.best = None;
        self.orders.push_back(Action::Cap(brake));
    }

    /// What the probe of the first pass saw written within a moment, for each byte that the link carries: in so short a time, hardly
    /// a page is written twice.
    fn probed_ratio(&self, rest_s: f64) -> f64 {
        let pending = f64::from(self.pages.pending().count().max(1));
        self.curve.pages(MOMENT_S) / MOMENT_S * rest_s / pending
    }

    /// The longer downtime if it is allowed, or the end.
    pub(super) fn give_up(&mut self, now: Duration, is_late: bool) {
        let downtime_s = self.downtime_s();
        if downtime_s <= self.limits.downtime_max.as_secs_f64() {
            return self.stop(now);
        }
        let reason = if is_late {
            let left_bytes = whole(self.pages.pending_bytes(self.sizes.fresh));
            Reason::Deadline { seconds: self.limits.deadline.as_secs(), left_bytes }
        } else {
            let allowed_ms = whole(self.limits.downtime_max.as_secs_f64() * 1e3);
            Reason::DoesNotConverge { downtime_ms: whole(downtime_s * 1e3), allowed_ms }
        };
        self.abort(reason, now);
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast to an integer saturates"
)]
pub(super) fn whole(value: f64) -> u64 {
    value as u64
}
