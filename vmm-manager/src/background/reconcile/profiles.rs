//! What VMs that are made alike use: looked at anew, so that the next one is expected to use as much.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Reconciler, Turn};
use crate::app::App;

#[derive(Default)]
pub(super) struct Profiles {
    classes: usize,
}

impl Reconciler for Profiles {
    fn name(&self) -> &'static str {
        "profiles"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Nobody is shown what it finds, so that only a class that comes or goes is a change.
    fn turn(&mut self, app: &Arc<App>) -> Turn {
        let (looked, classes) = app.lock().profile(Instant::now());
        let changed = classes.abs_diff(std::mem::replace(&mut self.classes, classes));
        Turn { looked, changed }
    }
}
