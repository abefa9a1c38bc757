//! A clock that a test winds by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Clock, SimMachine};

/// Starts at zero; clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// The time that it shows.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }

    /// As machines take it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }

    /// Lets time pass, without letting anything happen.
    pub fn wind(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Lets time pass on a machine, event by event, so that who reacts to one sees the time of it.
    pub fn run(&self, machine: &SimMachine, by: Duration) {
        let end = self.now() + by;
        loop {
            let left = end.saturating_sub(self.now());
            match machine.advance() {
                Some(next) if next <= left => self.wind(next),
                _ => break,
            }
        }
        self.wind(end.saturating_sub(self.now()));
        machine.advance();
    }
}
