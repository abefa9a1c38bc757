//! In tests: a task that goes no further than a point, so that its manager can be killed there.

use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::watch;

/// Which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Stored that it is begun, and nothing done.
    Before,
    /// Done, and not stored.
    After,
    /// Stored that it is being taken back, and nothing done.
    BeforeUndo,
    /// Taken back, and not stored.
    AfterUndo,
}

impl Moment {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Before, Self::After, Self::BeforeUndo, Self::AfterUndo];
}

/// Where tasks stop.
#[derive(Debug)]
pub(crate) struct Halts {
    at: Mutex<Option<(&'static str, Moment)>>,
    halted: watch::Sender<bool>,
}

impl Default for Halts {
    fn default() -> Self {
        Self { at: Mutex::new(None), halted: watch::Sender::new(false) }
    }
}

impl Halts {
    /// The next task that comes there stops.
    pub(crate) fn set(&self, step: &'static str, moment: Moment) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, moment));
    }

    /// Waits until one has.
    pub(crate) async fn reached(&self) {
        let _ = self.halted.subscribe().wait_for(|halted| *halted).await;
    }

    /// Goes no further, if this is the point.
    pub(super) async fn at(&self, step: &'static str, moment: Moment) {
        let here = *self.at.lock().unwrap_or_else(PoisonError::into_inner) == Some((step, moment));
        if here {
            self.halted.send_replace(true);
            std::future::pending().await
        }
    }
}
