//! How soon a guest that reboots by itself is built again.
//!
//! A guest decides when it reboots, and every rebuild costs dom0 a kernel to unpack: one that does nothing else must not take
//! dom0's processors from the others. The first quick reboots are served at once, the next ones wait twice as long each time.

use std::time::Duration;

use tokio::time::Instant;

/// A domain that lived shorter than this rebooted quickly.
const QUICK: Duration = Duration::from_secs(60);
/// Quick reboots in a row that are served at once: a kernel update may well need two.
const FREE_COUNT: u32 = 3;
/// The longest wait.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// What is remembered of a guest's reboots.
#[derive(Debug, Default)]
pub(super) struct Pace {
    built_at: Option<Instant>,
    quick_count: u32,
}

impl Pace {
    /// Its domain runs.
    pub(super) fn built(&mut self) {
        self.built_at = Some(Instant::now());
    }

    /// It reboots by itself: how long to wait before it is built again.
    pub(super) fn rebooted(&mut self) -> Duration {
        let quick = self.built_at.is_some_and(|at| at.elapsed() < QUICK);
        self.quick_count = if quick { self.quick_count.saturating_add(1) } else { 0 };
        match self.quick_count.checked_sub(FREE_COUNT) {
            None | Some(0) => Duration::ZERO,
            Some(more) => pause(more),
        }
    }
}

/// The pause after so many tries.
pub(super) fn pause(count: u32) -> Duration {
    Duration::from_secs(1u64 << count.min(6)).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_does_nothing_but_reboot_is_built_ever_later() {
        let mut pace = Pace::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            pace.built();
            tokio::time::sleep(Duration::from_secs(5)).await;
            waits.push(pace.rebooted().as_secs());
        }
        assert_eq!(waits, [0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        pace.built();
        tokio::time::sleep(QUICK).await;
        assert_eq!(pace.rebooted(), Duration::ZERO, "it has run for a while");
    }
}
