//! Memory that is free again goes back to those who gave it, once nobody has needed any for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use vmm_core::balloon::{Action, TOLERANCE, VmBalloon, Wish, plan};

use super::act::carry_out;
use super::view::{anybody, view};
use super::{CALM, GIVE_BACK_EVERY};
use crate::core::Core;
use crate::domain::ChangeError;

/// Gives back until the agent stops.
pub(crate) async fn keep_giving_back(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(GIVE_BACK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Since when there has been something to give.
    let mut since: Option<Duration> = None;
    loop {
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !anybody(&core, None) {
            since = None;
            continue;
        }
        match round(&core, since).await {
            Ok(next) => since = next,
            Err(error) => tracing::warn!(%error, "memory not given back; tried again later"),
        }
    }
}

/// One look; since when there is something to give.
async fn round(core: &Core, since: Option<Duration>) -> Result<Option<Duration>, ChangeError> {
    // Whoever makes room now looks at everything itself.
    let Ok(_turn) = core.balloons.turn.try_lock() else { return Ok(None) };
    let view = view(core, None).await?;
    let mut plan = plan(&view.snapshot, Wish::GiveBack);
    let now = view.snapshot.now;
    let raises = |action: &Action| matches!(action, Action::SetTarget { .. });
    // A guest that is on its way to a raised target was given something a moment ago.
    let grows = |vm: &VmBalloon| vm.target > vm.held + TOLERANCE;
    let gives = plan.actions.iter().any(raises) || view.snapshot.vms.iter().any(grows);
    let since = gives.then(|| since.unwrap_or(now));
    let needed_at = core.balloons.book().needed_at;
    let calm = |at: Duration| now.saturating_sub(at) >= CALM;
    if !(since.is_some_and(calm) && needed_at.is_none_or(calm)) {
        plan.actions.retain(|action| !raises(action));
    }
    carry_out(core, &view, &plan).await;
    Ok(since)
}
