//! Reconcilers: each looks at the world again and again, and acts on what it finds. One file each, all of one shape.
//!
//! ```text
//!   wait about `every` ─► turn: look at a bounded part, under the lock ─► act, log, count ─┐
//!        ▲                                                                                 │
//!        └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | name | looks at | acts |
//! |---|---|---|
//! | `liveness` | when hosts were heard last | an event of the host and its VMs when that changes |
//! | `drift` | VMs as reported and as asked for | shows the difference; charges memory that is held |
//! | `orphans` | VMs that are reported and not known | logs them; nobody touches them but by `DestroyOrphan` |
//! | `moves` | ends of moves that no task is about | tells them the verdict of the books; gives the other host's charge back |
//! | `advice` | where VMs are, and what they use | shows how many moves would pay, keeps the plan, and makes its moves where the pool says so |
//! | `profiles` | what VMs that are made alike were measured to use | expects it of the next one |
//! | `retention` | finished tasks and idempotency keys | forgets those that are too many or too old |
//!
//! A report of a host is taken over when it comes (see `app/report`); what reconcilers find is what no single report shows: that nothing has come, or
//! that something has been so for a while. A turn never waits and never fails: what it could not store it finds again.

mod advice;
mod carry;
mod drift;
mod liveness;
mod moves;
mod orphans;
mod profiles;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

/// What a turn came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Things that were looked at.
    pub(crate) looked: usize,
    /// Of those, the ones where something changed.
    pub(crate) changed: usize,
}

/// One of them.
trait Reconciler: Send {
    /// In logs and counters.
    fn name(&self) -> &'static str;
    /// About how often it looks.
    fn every(&self) -> Duration;
    /// Looks once.
    fn turn(&mut self, app: &Arc<App>) -> Turn;
}

/// Runs all of them until the manager stops.
pub(crate) async fn reconcile(app: &Arc<App>) {
    tokio::join!(
        run(app, liveness::Liveness),
        run(app, drift::Drift::default()),
        run(app, orphans::Orphans::default()),
        run(app, moves::Moves::default()),
        run(app, advice::Advice::default()),
        run(app, profiles::Profiles::default()),
        run(app, retention::Retention),
    );
}

async fn run(app: &Arc<App>, mut reconciler: impl Reconciler) {
    loop {
        tokio::select! {
            biased;
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(app.jittered(reconciler.every())) => {}
        }
        let turn = reconciler.turn(app);
        app.count_turn(reconciler.name(), turn);
        if turn.changed > 0 {
            tracing::debug!(
                name = reconciler.name(),
                looked = turn.looked,
                changed = turn.changed,
                "reconciled"
            );
            app.tell_changed();
        }
    }
}
