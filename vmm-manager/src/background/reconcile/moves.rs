//! Ends of moves that nobody has told how it ended: of a move that was taken back or finished while that host was not heard, or of a manager that was restored
//! from a backup.
//!
//! The books decide (MIG1): they say of the VM's last move whether it was committed. A destination that they know nothing of discards what it has; a source that they
//! know nothing of goes on only when the VM is recorded on it. When nothing is left at the end that the VM is not at, that one is charged no more.

use std::sync::Arc;
use std::time::Duration;

use vmm_proto::v1::{Request, SettleMigration};

use super::{Reconciler, Turn};
use crate::agents::AgentCall;
use crate::app::{App, Unsettled};

/// Verdicts that one turn tells.
const TOLD_MAX: usize = 64;
/// A domain is destroyed or starts.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Moves {
    turn: u64,
}

impl Reconciler for Moves {
    fn name(&self) -> &'static str {
        "moves"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        self.turn += 1;
        let (unsettled, looked) = {
            let state = app.lock();
            (state.unsettled(), state.vms.len())
        };
        let told = unsettled.len().min(TOLD_MAX);
        for one in unsettled.into_iter().take(TOLD_MAX) {
            self.tell(app, one);
        }
        Turn { looked, changed: told + app.end_moves() }
    }
}

impl Moves {
    /// What comes of it shows in the host's next report.
    fn tell(&self, app: &Arc<App>, one: Unsettled) {
        let Unsettled { host, vm, migration, verdict } = one;
        let key = format!("{migration}.{verdict:?}.{}.{}", app.run, self.turn);
        let request =
            Request::SettleMigration(SettleMigration { vm: vm.to_string(), migration, verdict });
        let call =
            AgentCall { request, deadline: SETTLE_WAIT + app.config.call_margin, key: Some(key) };
        let teller = Arc::clone(app);
        app.jobs.spawn(async move {
            tokio::select! {
                biased;
                () = teller.stop.cancelled() => {}
                told = teller.call_once(host, call) => match told {
                    Ok(_) => tracing::info!(host_id = %host, vm_id = %vm, ?verdict, "an end of a move was settled"),
                    Err(error) => tracing::warn!(host_id = %host, vm_id = %vm, ?verdict, %error, "an end of a move could not be settled"),
                },
            }
        });
    }
}
