//! What is on its way: how much may be, and what the link carries.
//!
//! The window follows the link: what it carries in its shortest round trip and [`SLACK`]. So it never runs dry, and what stands in
//! the queue when the guest is stopped costs it no more than the slack.

use std::collections::VecDeque;
use std::time::Duration;

/// So much more than a round trip may be on its way.
const SLACK: Duration = Duration::from_millis(20);
const WINDOW_MIN_BYTES: u64 = 256 << 10;
const WINDOW_MAX_BYTES: u64 = 64 << 20;
/// A sample's weight in what the link carries.
const WEIGHT: f64 = 0.3;
/// Until it was measured.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Handed over at once, and asked about.
#[derive(Clone, Copy, Debug)]
struct Handed {
    end: u64,
    sends: u32,
    at: Duration,
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// Actions of the policy.
    pub(super) sends: u32,
    pub(super) bytes: u64,
    /// How long the link was busy with it.
    pub(super) busy: Duration,
}

/// What is on its way.
#[derive(Debug)]
pub(super) struct Flow {
    handed_bytes: u64,
    acked_bytes: u64,
    acked_at: Duration,
    flying: VecDeque<Handed>,
    bytes_per_s: f64,
    round_trip: Option<Duration>,
}

impl Flow {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        Self {
            handed_bytes: 0,
            acked_bytes: 0,
            acked_at: Duration::ZERO,
            flying: VecDeque::new(),
            bytes_per_s: bytes_per_s as f64,
            round_trip: None,
        }
    }

    /// All that was ever handed over.
    pub(super) fn handed_bytes(&self) -> u64 {
        self.handed_bytes
    }

    /// Of that, what has arrived for sure.
    pub(super) fn acked_bytes(&self) -> u64 {
        self.acked_bytes
    }

    /// What the link carries, in bytes a second.
    pub(super) fn bytes_per_s(&self) -> f64 {
        self.bytes_per_s
    }

    /// Nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Nothing more should be handed over now.
    pub(super) fn is_full(&self) -> bool {
        self.handed_bytes - self.acked_bytes > self.window()
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float's cast to an integer saturates"
    )]
    fn window(&self) -> u64 {
        let time = self.round_trip.unwrap_or(ROUND_TRIP) + SLACK;
        let bytes = self.bytes_per_s * time.as_secs_f64();
        (bytes as u64).clamp(WINDOW_MIN_BYTES, WINDOW_MAX_BYTES)
    }

    /// These bytes are handed over from `now` on, with so many actions done.
    pub(super) fn hand(&mut self, bytes: usize, sends: u32, now: Duration) {
        self.handed_bytes += bytes as u64;
        self.flying.push_back(Handed { end: self.handed_bytes, sends, at: now });
    }

    /// The receiver has all before `upto`. `None` when that is no news.
    pub(super) fn acknowledge(&mut self, upto: u64, now: Duration) -> Option<Acknowledged> {
        let (mut sends, mut last) = (0, None);
        let mut began = None;
        while let Some(handed) = self.flying.front().copied().filter(|of| of.end <= upto) {
            self.flying.pop_front();
            began.get_or_insert(handed.at);
            sends += handed.sends;
            last = Some(handed);
        }
        let (last, began) = (last?, began?);
        let bytes = last.end - self.acked_bytes;
        let busy = now.saturating_sub(began.max(self.acked_at));
        (self.acked_bytes, self.acked_at) = (last.end, now);
        let round_trip = now.saturating_sub(last.at);
        self.round_trip = Some(self.round_trip.map_or(round_trip, |least| least.min(round_trip)));
        if busy > Duration::ZERO {
            let rate = bytes as f64 / busy.as_secs_f64();
            self.bytes_per_s += WEIGHT * (rate - self.bytes_per_s);
        }
        Some(Acknowledged { sends, bytes, busy })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_is_acknowledged_is_counted_once() {
        let mut flow = Flow::new(1_000_000);
        flow.hand(1000, 1, ms(0));
        flow.hand(500, 1, ms(1));
        flow.hand(500, 0, ms(2));
        assert_eq!(flow.acknowledge(999, ms(5)), None);
        let of = |sends, bytes, busy| Some(Acknowledged { sends, bytes, busy: ms(busy) });
        assert_eq!(flow.acknowledge(1600, ms(10)), of(2, 1500, 10));
        assert_eq!(flow.acknowledge(1600, ms(11)), None);
        assert_eq!(flow.acknowledge(2000, ms(14)), of(0, 500, 4));
        assert!(flow.is_empty() && !flow.is_full());
    }

    proptest! {
        /// A link of any speed and delay is kept busy, and its queue short.
        #[test]
        fn the_window_finds_the_link(
            rate in 2_000_000_f64..1.2e9, round_trip_ms in 0_u64..40, expected in 1_000_000_u64..2_000_000_000,
        ) {
            const BATCH: usize = 300_000;
            let mut flow = Flow::new(expected);
            let (mut now, mut free_at) = (0.0_f64, 0.0_f64);
            let mut due: VecDeque<(f64, u64)> = VecDeque::new();
            let at = Duration::from_secs_f64;
            let half = 400;
            let mut idle = 0.0;
            for batch in 0..2 * half {
                while flow.is_full() {
                    let (arrives, upto) = due.pop_front().expect("what is full is on its way");
                    now = now.max(arrives);
                    flow.acknowledge(upto, at(now));
                }
                if batch >= half {
                    idle += (now - free_at).max(0.0);
                }
                free_at = free_at.max(now) + BATCH as f64 / rate;
                flow.hand(BATCH, 1, at(now));
                due.push_back((free_at + round_trip_ms as f64 / 1e3, flow.handed_bytes()));
            }
            let used = f64::from(half) * BATCH as f64 / rate;
            prop_assert!(idle <= used * 0.25, "idle {idle} s of {used} s");
            let queue_s = (flow.handed_bytes() - flow.acked_bytes()) as f64 / rate;
            let allowed = round_trip_ms as f64 / 1e3 + 0.021 + 2.0 * BATCH as f64 / rate;
            prop_assert!(queue_s <= allowed * 1.5 || flow.window() == WINDOW_MIN_BYTES, "{queue_s} s");
        }
    }
}
