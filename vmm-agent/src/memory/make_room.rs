//! Room for a build or a growth, made by other VMs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::balloon::{Verdict, Wish, plan};
use vmm_core::units::Kib;

use super::act::carry_out;
use super::view::{View, anybody, view};
use super::{LOOK_EVERY, NoRoom};
use crate::core::Core;
use crate::domain::room::{self, Need, Promise};
use crate::domain::{ChangeError, StepError};

/// Fails when other VMs cannot give what is missing, even if all of them do as they are asked.
pub(crate) async fn can_make_room(core: &Core, need: Need) -> Result<(), ChangeError> {
    let view = view(core, Some(need.vm)).await?;
    match plan(&view.snapshot, Wish::Room(need.more)).verdict {
        Verdict::Cannot { .. } => Err(no_room(core, &view, need.more, Duration::ZERO)),
        Verdict::Done | Verdict::Wait => Ok(()),
    }
}

/// Asks other VMs for what is needed, and promises it once it is free.
pub(crate) async fn make_room(
    core: &Arc<Core>,
    need: Need,
    wait: Duration,
    cancel: &CancellationToken,
) -> Result<Promise, ChangeError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(ChangeError::step("make-room", StepError::Cancelled)),
        outcome = squeeze(core, need, wait) => outcome,
    }
}

async fn squeeze(core: &Arc<Core>, need: Need, wait: Duration) -> Result<Promise, ChangeError> {
    let begun = Instant::now();
    if !anybody(core, Some(need.vm)) {
        return room::promise_now(core, need).await;
    }
    let deadline = begun + wait;
    let _turn = match tokio::time::timeout_at(deadline, core.balloons.turn.lock()).await {
        Ok(turn) => turn,
        Err(_) => return Err(no_room(core, &view(core, Some(need.vm)).await?, need.more, wait)),
    };
    tracing::info!(vm_id = %need.vm, needed_kib = need.more.0, "memory is short; other VMs are asked for some");
    loop {
        core.balloons.book().needed_at = Some(core.balloons.now());
        match room::promise_now(core, need).await {
            Err(ChangeError::OutOfMemory { .. }) => {}
            outcome => {
                let elapsed_ms = begun.elapsed().as_millis();
                tracing::info!(vm_id = %need.vm, elapsed_ms, "room is made");
                return outcome;
            }
        }
        let view = view(core, Some(need.vm)).await?;
        let plan = plan(&view.snapshot, Wish::Room(need.more));
        carry_out(core, &view, &plan).await;
        let cannot = matches!(plan.verdict, Verdict::Cannot { .. });
        if cannot || Instant::now() >= deadline {
            return Err(give_up(core, need, begun).await?);
        }
        let room_kib = view.snapshot.room().0;
        tracing::debug!(vm_id = %need.vm, room_kib, needed_kib = need.more.0, "making room");
        tokio::time::sleep_until((Instant::now() + LOOK_EVERY).min(deadline)).await;
    }
}

/// Says who kept what.
async fn give_up(core: &Core, need: Need, begun: Instant) -> Result<ChangeError, ChangeError> {
    let view = view(core, Some(need.vm)).await?;
    let error = no_room(core, &view, need.more, begun.elapsed());
    tracing::warn!(vm_id = %need.vm, %error, "room was not made");
    Ok(error)
}

fn no_room(core: &Core, view: &View, needed: Kib, waited: Duration) -> ChangeError {
    let (free, holdouts) = (view.snapshot.room(), view.holdouts(core));
    NoRoom { needed, free, holdouts, waited }.into()
}
