//! The wall clock, as a value.
//!
//! Only certificates need to know the date. Timeouts, session ages and deadlines run on tokio's
//! clock, which a test may pause. A whole pool in one process therefore takes its date from
//! [`TokioClock`]: it moves when the paused clock moves.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Says what time it is.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// Time since 1970-01-01T00:00:00Z.
    fn now(&self) -> Duration;
}

/// The machine's clock. Only `main` functions choose it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that starts at a given date and goes as tokio's clock goes.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Duration,
    origin: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows `start` (since the epoch) now.
    pub fn starting_at(start: Duration) -> TokioClock {
        TokioClock { start, origin: tokio::time::Instant::now() }
    }
}

impl WallClock for TokioClock {
    fn now(&self) -> Duration {
        self.start + self.origin.elapsed()
    }
}

/// rustls asks for the time through this.
#[derive(Debug)]
pub(crate) struct RustlsClock(pub(crate) Arc<dyn WallClock>);

impl TimeProvider for RustlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.now()))
    }
}
