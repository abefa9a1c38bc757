//! What the best could have done who knew every write in advance: the measure of a policy's regret.
//!
//! Whoever sends each page once must send it after its last write. With `T` the stop, `l` a page's last write before it and `s` its size on the
//! wire, the link `B` cannot have finished by the stop what was written late:
//!
//! ```text
//!   D(T) = fixed + max over t of ( Σ s with l >= t ) / B - (T - t)
//! ```
//!
//! The smallest `T` with `D(T)` within the allowed downtime is the bound: `T + D(T)` in all. Deltas send some pages twice and can be
//! better; a bound with deltas would need the contents of all versions.

/// What was sent when it was best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// When the guest would be stopped, in seconds from the start.
    pub stop_s: f64,
    /// How long it would stand still.
    pub downtime_s: f64,
}

impl Bound {
    /// From the start to the guest running at the destination.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.stop_s + self.downtime_s
    }
}

/// The downtime of a stop at `stop_s`, beyond what is fixed. `late` has bytes by their last write: `late[i]` for the `i`-th slice of `slice_s` seconds.
#[must_use]
pub fn downtime_s(late: &[f64], slice_s: f64, stop_s: f64, link: f64) -> f64 {
    let (mut bytes, mut worst) = (0.0, 0.0_f64);
    for (index, of) in late.iter().enumerate().rev() {
        bytes += of;
        worst = worst.max(bytes / link - (stop_s - index as f64 * slice_s));
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_early_is_sent_before_the_stop() {
        let check = |late: &[f64], stop: f64, expect: f64| {
            let found = downtime_s(late, 1.0, stop, 10.0);
            assert!((found - expect).abs() < 1e-9, "{late:?} {stop}: {found}");
        };
        check(&[100.0], 10.0, 0.0);
        check(&[100.0], 4.0, 6.0);
        check(&[40.0, 0.0, 0.0, 20.0], 4.0, 2.0);
        check(&[0.0, 0.0, 0.0, 20.0], 4.0, 1.0);
        check(&[], 4.0, 0.0);
    }
}
