//! How often the log is looked at: once an epoch, or less often where a look takes long, for the guest stands still meanwhile.

use std::time::Duration;

use super::{HARVEST_MIN, HARVEST_REST, LOOK_REST};
use crate::migration::EPOCH;

/// What looks at the log take, and when the last one was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looks {
    began: Option<Duration>,
    ended: Duration,
    took: Duration,
}

impl Looks {
    pub(super) fn begin(&mut self, now: Duration) {
        self.began = Some(now);
    }

    /// One that takes longer is believed at once, one that is shorter little by little.
    pub(super) fn end(&mut self, now: Duration) {
        if let Some(began) = self.began.take() {
            self.took = now.saturating_sub(began).max(self.took * 3 / 4);
        }
        self.ended = now;
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Duration {
        self.ended + EPOCH.max(self.took * LOOK_REST)
    }

    /// Between two times that the log is taken.
    pub(super) fn harvest_pause(&self) -> Duration {
        HARVEST_MIN.max(self.took * HARVEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_long_look_is_taken_less_often_and_a_short_one_again_little_by_little() {
        let mut looks = Looks::default();
        looks.end(ms(100));
        assert_eq!((looks.due(), looks.harvest_pause()), (ms(150), HARVEST_MIN));
        looks.begin(ms(150));
        looks.end(ms(170));
        assert_eq!((looks.due(), looks.harvest_pause()), (ms(170 + 400), ms(60)));
        looks.begin(ms(600));
        looks.end(ms(600));
        assert_eq!(looks.due(), ms(600 + 300));
    }
}
