//! A guest that starts again: the same VM in a new domain.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vmm_core::vm::{StopReason, VmState};

use super::ChangeError;
use super::alongside::alongside;
use super::ends::{Construction, When};
use super::pace;
use super::pending::{Pending, Wish};
use super::runner::Runner;
use super::site::Site;
use crate::journal::Intent;

impl Runner {
    pub(super) async fn reboot(&mut self) {
        let delay = self.reboot_delay();
        if self.state() == VmState::Paused {
            self.publish(VmState::Running, "");
        }
        if self.state() != VmState::Rebooting {
            self.publish(VmState::Rebooting, "");
        }
        self.close_console().await;
        if !self.record_rebuild().await {
            let why = match self.core().stop.is_cancelled() {
                true => ChangeError::Stopping,
                false => ChangeError::Superseded("the VM was destroyed"),
            };
            return self.answer_builders(&Err(why));
        }
        let left_over = self.site.end().await;
        if left_over.is_empty() {
            let when = if delay.is_zero() { When::Now } else { When::After(delay) };
            return self.build(Construction { when, ..Construction::now(Intent::Rebuild) }).await;
        }
        let reason = format!("left over on the host: {}", left_over.join(", "));
        self.rest(StopReason::Failed, &reason, true).await;
        self.answer_builders(&Err(ChangeError::Stopped(reason)));
    }

    /// How long the guest must wait: not at all when somebody has asked for its reboot.
    fn reboot_delay(&mut self) -> Duration {
        match self.pending.take() {
            Some(pending) if pending.wish() == Some(Wish::Reboot) => {
                self.builders.extend(pending.into_replies());
                return Duration::ZERO;
            }
            pending => {
                let why = ChangeError::Superseded("the guest rebooted itself");
                pending.into_iter().for_each(|pending: Pending| pending.answer(Err(why.clone())));
            }
        }
        let delay = self.pace.rebooted();
        if !delay.is_zero() {
            tracing::warn!(vm_id = %self.site.record.vm, ?delay, "guest does little but reboot");
        }
        delay
    }

    /// Says on disk that the VM is built again. False when somebody wants it destroyed, or the agent stops, before that is there;
    /// then nothing has been done.
    async fn record_rebuild(&mut self) -> bool {
        self.site.record.intent = Intent::Rebuild;
        let (cancel, stop) = (CancellationToken::new(), self.core().stop.clone());
        let done = {
            let Self { site, wires, .. } = self;
            let work = record_patiently(site, &cancel);
            alongside(wires, None, (&cancel, stop), work).await
        };
        let wanted = done.terminators.is_empty();
        self.terminators.extend(done.terminators);
        done.value && wanted
    }
}

/// A full disk ends no VM: it is tried until there is room.
async fn record_patiently(site: &Site, cancel: &CancellationToken) -> bool {
    for count in 0.. {
        let Err(error) = site.write_record().await else { return true };
        tracing::error!(vm_id = %site.record.vm, %error, "a reboot waits for the journal");
        tokio::select! {
            biased;
            () = cancel.cancelled() => return false,
            () = tokio::time::sleep(pace::pause(count)) => {}
        }
    }
    false
}
