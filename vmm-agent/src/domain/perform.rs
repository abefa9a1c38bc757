//! Plans carried out: one step at a time, undone last first when one fails or somebody cancels.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::task::{Next, Outcome, Step, Workflow};

use super::error::{ChangeError, StepError};
use super::plan::{Action, END};
use super::site::Site;

/// How often an undo is tried.
const UNDO_TRIES_MAX: u32 = 5;
/// The first pause between two tries of an undo; doubled each time.
const UNDO_PAUSE: Duration = Duration::from_millis(100);

impl Site {
    async fn carry_out(&mut self, action: Action) -> Result<(), StepError> {
        match action {
            Action::RecordIntent(intent) => self.record_intent(intent).await,
            Action::Create => self.create().await,
            Action::TakeShell => self.take_shell().await,
            Action::Destroy => {
                self.kill().await?;
                self.await_gone().await
            }
            Action::AllocateVcpus => self.allocate_vcpus().await,
            Action::SetLimits => self.set_limits().await,
            Action::SetScheduling => self.set_scheduling().await,
            Action::AllocatePorts => self.allocate_ports().await,
            Action::ApplyCpuPolicy => self.apply_cpu_policy().await,
            Action::BuildImage => self.build_image().await,
            Action::RestoreImage => self.restore_image().await,
            Action::WriteTree => self.write_tree().await,
            Action::RemoveTree => self.remove_tree().await,
            Action::Introduce => self.introduce().await,
            Action::Unpause => self.unpause().await,
            Action::RecordRunning => self.record_running().await,
            Action::RecordNotRunning => self.record_not_running().await,
            Action::Kill => self.kill().await,
            Action::AwaitGone => self.await_gone().await,
            Action::RecordSaving(file) => self.record_saving(Some(file)).await,
            Action::RecordNotSaving => self.record_saving(None).await,
            Action::AskSuspend => self.ask_suspend().await,
            Action::GoOn => self.go_on().await,
            Action::AwaitSuspended(limit) => self.await_suspended(limit).await,
            Action::CheckFile(file) => self.check_file(file).await,
            Action::OpenSaved(file) => self.open_saved(file).await,
            Action::WriteSaved(file) => self.write_saved(file).await,
            Action::RecordSaved => self.record_saved().await,
            Action::RemoveSaved(file) => self.remove_saved(file).await,
            Action::RemoveUsed => self.remove_used().await,
            Action::ClaimMemory => self.claim_memory().await,
            Action::ReleaseClaim => self.release_claim().await,
            Action::Memory(act) => self.act_on_memory(act).await,
            Action::OpenDisk(disk) => self.open_disk(disk).await,
            Action::CloseDisk(disk) => self.close_disk(disk).await,
            Action::CloseAllDisks => self.close_all_disks().await,
            Action::AwaitBackend(device) => self.await_backend(&device).await,
            Action::PlugPort(nic) => self.plug_port(nic).await,
            Action::WriteDevice(device) => self.write_device(&device).await,
            Action::Unplug(key) => self.unplug(key).await,
            Action::AwaitConnected(device, limit) => self.await_connected(&device, limit).await,
            Action::RecordWith(device) => self.record_with(&device).await,
            Action::RecordWithout(device) => self.record_without(&device).await,
            Action::AskClose(key) => self.ask_close(key).await,
            Action::WithdrawClose(key) => self.withdraw_close(key).await,
            Action::AwaitClosed(device, patience) => self.await_closed(&device, patience).await,
            Action::RemoveDevice(key) => self.remove_device(key).await,
        }
    }

    async fn carry_out_unless(
        &mut self,
        action: Action,
        cancel: &CancellationToken,
    ) -> Result<(), StepError> {
        if !action.waits() {
            return self.carry_out(action).await;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(StepError::Cancelled),
            outcome = self.carry_out(action) => outcome,
        }
    }

    /// Tries a step that takes something back until it succeeds, a bounded number of times.
    pub(super) async fn take_back(&mut self, step: &'static str, action: &Action) -> bool {
        let mut pause = UNDO_PAUSE;
        for _ in 0..UNDO_TRIES_MAX {
            match self.carry_out(action.clone()).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::warn!(vm_id = %self.record.vm, step, %error, "undo failed");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        false
    }

    /// Carries a plan out, or takes back what was begun of it.
    pub(crate) async fn perform(
        &mut self,
        plan: Vec<Step<Action>>,
        cancel: &CancellationToken,
    ) -> Result<(), ChangeError> {
        let mut workflow = Workflow::new(plan);
        self.cancel = cancel.clone();
        let mut failure: Option<(&'static str, StepError)> = None;
        loop {
            let begun = Instant::now();
            match workflow.step() {
                Next::Do(step, _) if cancel.is_cancelled() => {
                    failure.get_or_insert((step, StepError::Cancelled));
                    workflow.cancel();
                }
                Next::Do(step, action) => match self.carry_out_unless(action, cancel).await {
                    Ok(()) => {
                        let elapsed_us = begun.elapsed().as_micros();
                        tracing::debug!(vm_id = %self.record.vm, step, elapsed_us, "step done");
                        workflow.succeeded();
                    }
                    Err(error) => {
                        failure.get_or_insert((step, error));
                        workflow.failed();
                    }
                },
                Next::Undo(step, undo) => {
                    if self.take_back(step, &undo).await {
                        workflow.succeeded();
                    } else {
                        workflow.failed();
                    }
                }
                Next::Finished(outcome) => return verdict(outcome, failure),
            }
        }
    }

    /// Ends the VM on this host: everything is tried, and what could not be taken back is named.
    pub(crate) async fn end(&mut self) -> Vec<&'static str> {
        let mut left_over = Vec::new();
        for (step, action) in END {
            if !self.take_back(step, &action).await {
                left_over.push(step);
            }
        }
        left_over
    }
}

fn verdict(
    outcome: Outcome,
    failure: Option<(&'static str, StepError)>,
) -> Result<(), ChangeError> {
    let left_over = match outcome {
        Outcome::Done => return Ok(()),
        Outcome::RolledBack => Vec::new(),
        Outcome::LeftOver(steps) => steps,
    };
    let (step, source) = failure.unwrap_or(("start", StepError::Cancelled));
    Err(ChangeError::Step { step, source, left_over })
}
