//! Which hosts are heard. Silence comes without a report, so somebody has to look.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Reconciler, Turn};
use crate::app::App;

pub(super) struct Liveness;

impl Reconciler for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        let mut state = app.lock();
        let changed = usize::from(state.note_health(Instant::now()));
        Turn { looked: state.hosts.len(), changed }
    }
}
