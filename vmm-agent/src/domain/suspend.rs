//! Suspend, resume and save, as the VM's task does them.

use std::path::PathBuf;
use std::time::Duration;

use vmm_core::vm::{StopReason, VmState};
use vmm_proto::v1::SavedFormat;

use super::lifecycle::bounded;
use super::runner::{Reply, Runner};
use super::{Answer, ChangeError, Outcome, plan};

impl Runner {
    pub(super) async fn suspend(&mut self, wait: Duration, reply: Reply) {
        self.publish(VmState::Suspending, "");
        let outcome = self.carry_out(plan::suspend(bounded(wait))).await;
        match outcome {
            Ok(()) => self.publish(VmState::Suspended, ""),
            Err(_) => {
                self.may_suspend_late = true;
                self.publish(VmState::Running, "");
            }
        }
        let _ = reply.send(outcome.map(|()| Answer::Done));
        self.look().await;
    }

    pub(super) async fn resume(&mut self) -> Outcome {
        let resumed = self.site.go_on().await;
        resumed.map_err(|error| ChangeError::step("resume", error))?;
        self.publish(VmState::Running, "");
        Ok(Answer::Done)
    }

    /// An agent died while it saved the VM: the file goes, the guest goes on.
    pub(super) async fn abandon_save(&mut self, file: PathBuf) {
        tracing::info!(vm_id = %self.site.record.vm, "interrupted save or restore found");
        let abandoned = async {
            self.site.remove_saved(file).await?;
            self.site.go_on().await?;
            self.site.record_saving(None).await
        };
        match abandoned.await {
            Ok(()) if self.state() == VmState::Suspended => self.publish(VmState::Running, ""),
            Ok(()) => self.may_suspend_late = true,
            Err(error) => {
                tracing::error!(vm_id = %self.site.record.vm, %error, "save not taken back");
            }
        }
    }

    pub(super) async fn save(
        &mut self,
        file: PathBuf,
        format: SavedFormat,
        wait: Duration,
        reply: Reply,
    ) {
        let before = self.state();
        let suspended = before == VmState::Suspended;
        self.publish(VmState::Saving, "");
        let outcome = self.carry_out(plan::save(&file, format, suspended, bounded(wait))).await;
        match outcome {
            Ok(()) => {
                self.end(StopReason::Saved, "").await;
                let _ = reply.send(self.ended());
            }
            Err(error) => {
                self.may_suspend_late = !suspended;
                self.publish(before, "");
                let _ = reply.send(Err(error));
                self.look().await;
            }
        }
    }
}
