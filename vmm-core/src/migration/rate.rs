//! What the link carries, and what the guest undoes of it.

use std::time::Duration;

const SAMPLES: usize = 32;
/// A sample's weight in the running mean.
const WEIGHT: f64 = 0.2;
/// What a window keeps of those before it.
const FADE: f64 = 0.5;

/// What the link carries.
#[derive(Clone, Debug)]
pub struct Link {
    mean: f64,
    recent: Vec<f64>,
    at: usize,
}

impl Link {
    /// With what is expected of it, in bytes a second, until it was measured.
    #[must_use]
    pub fn expected(bytes_per_s: u64) -> Self {
        Self { mean: bytes_per_s.max(1) as f64, recent: Vec::new(), at: 0 }
    }

    /// So much arrived while it was busy for so long.
    pub fn acked(&mut self, bytes: u64, busy: Duration) {
        // What is too short for its clock says nothing.
        if bytes == 0 || busy < Duration::from_micros(20) {
            return;
        }
        let rate = bytes as f64 / busy.as_secs_f64();
        self.mean =
            if self.recent.is_empty() { rate } else { self.mean + WEIGHT * (rate - self.mean) };
        if self.recent.len() < SAMPLES {
            self.recent.push(rate);
        } else {
            self.recent[self.at] = rate;
            self.at = (self.at + 1) % SAMPLES;
        }
    }

    /// The running mean, in bytes a second.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// What four of five recent samples reached: a promise is made with this one.
    #[must_use]
    pub fn low(&self) -> f64 {
        let mut sorted = self.recent.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 5).map_or(self.mean, |low| low.min(self.mean))
    }
}

/// What was sent, and what of it was written again: two sums that fade window by window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undone {
    sent: f64,
    again: f64,
    windows: u32,
}

impl Undone {
    /// A window has passed.
    pub fn window(&mut self, sent_bytes: u64, again_bytes: u64) {
        if sent_bytes == 0 && again_bytes == 0 {
            return;
        }
        self.sent = self.sent * FADE + sent_bytes as f64;
        self.again = self.again * FADE + again_bytes as f64;
        self.windows += 1;
    }

    /// Bytes to be sent again for each that is sent; 0 while nothing is known.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.windows == 0 { 0.0 } else { self.again / self.sent.max(1.0) }
    }

    /// How many windows it knows.
    #[must_use]
    pub fn windows(&self) -> u32 {
        self.windows
    }
}

/// What pages took that were sent again, against what was expected of them. A page that waits is written again and again, and what differs grows:
/// what is expected of those that still wait is corrected by those that went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drift {
    expected: f64,
    took: f64,
}

impl Drift {
    const FACTOR_MAX: f64 = 16.0;

    /// A window has passed.
    pub fn window(&mut self, expected_bytes: u64, took_bytes: u64) {
        if expected_bytes == 0 {
            return;
        }
        self.expected = self.expected * FADE + expected_bytes as f64;
        self.took = self.took * FADE + took_bytes as f64;
    }

    /// To be multiplied with what is expected: never less than 1.
    #[must_use]
    pub fn factor(&self) -> f64 {
        (self.took / self.expected.max(1.0)).clamp(1.0, Self::FACTOR_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_believed_what_it_shows_and_promised_less() {
        let mut link = Link::expected(1_000_000);
        assert_eq!((link.mean(), link.low()), (1e6, 1e6));
        for step in 0..100 {
            let bytes = if step % 4 == 0 { 50_000 } else { 100_000 };
            link.acked(bytes, Duration::from_millis(1));
        }
        assert!((5e7..1e8).contains(&link.mean()), "{}", link.mean());
        assert_eq!(link.low(), 5e7);
        link.acked(1, Duration::ZERO);
        assert_eq!(link.low(), 5e7, "what was too short to be timed says nothing");
    }

    #[test]
    fn expectations_are_corrected_upwards_only() {
        let mut drift = Drift::default();
        assert_eq!(drift.factor(), 1.0);
        drift.window(100, 400);
        assert_eq!(drift.factor(), 4.0);
        drift.window(0, 1000);
        assert_eq!(drift.factor(), 4.0, "a window without expectations says nothing");
        (0..20).for_each(|_| drift.window(100, 50));
        assert_eq!(drift.factor(), 1.0);
    }

    #[test]
    fn what_is_undone_fades() {
        let mut undone = Undone::default();
        assert_eq!(undone.ratio(), 0.0);
        undone.window(100, 100);
        assert_eq!(undone.ratio(), 1.0);
        undone.window(100, 0);
        assert!((undone.ratio() - 1.0 / 3.0).abs() < 1e-9);
    }
}
