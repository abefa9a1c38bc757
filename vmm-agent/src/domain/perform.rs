//! Plans carried out: one step at a time, undone last first when one fails or somebody cancels.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
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
    /// Each step is a future of its own kind: one that held all of them would be too large for the stack, and for the optimizer.
    fn carry_out(&mut self, action: Action) -> BoxFuture<'_, Result<(), StepError>> {
        match action {
            Action::RecordIntent(intent) => self.record_intent(intent).boxed(),
            Action::Create => self.create().boxed(),
            Action::TakeShell => self.take_shell().boxed(),
            Action::Destroy => self.destroy().boxed(),
            Action::AllocateVcpus => self.allocate_vcpus().boxed(),
            Action::SetLimits => self.set_limits().boxed(),
            Action::SetScheduling => self.set_scheduling().boxed(),
            Action::AllocatePorts => self.allocate_ports().boxed(),
            Action::ApplyCpuPolicy => self.apply_cpu_policy().boxed(),
            Action::BuildImage => self.build_image().boxed(),
            Action::RestoreImage => self.restore_image().boxed(),
            Action::WriteTree => self.write_tree().boxed(),
            Action::PrepareTree => self.prepare_tree().boxed(),
            Action::CompleteTree => self.complete_tree().boxed(),
            Action::RemoveTree => self.remove_tree().boxed(),
            Action::Introduce => self.introduce().boxed(),
            Action::Unpause => self.unpause().boxed(),
            Action::RecordRunning => self.record_running().boxed(),
            Action::RecordNotRunning => self.record_not_running().boxed(),
            Action::Kill => self.kill().boxed(),
            Action::AwaitGone => self.await_gone().boxed(),
            Action::RecordSending(send) => async move { self.record_sending(&send).await }.boxed(),
            Action::RecordNotSending => self.record_not_sending().boxed(),
            Action::SendGuest(send) => self.send_guest(send).boxed(),
            Action::AwaitReady(send) => async move { self.await_ready(&send).await }.boxed(),
            Action::RecordOffered => self.record_offered().boxed(),
            Action::ReceiveImage => self.receive_image().boxed(),
            Action::AwaitVerdict => self.await_verdict().boxed(),
            Action::RecordArrived => self.record_arrived().boxed(),
            Action::RecordNotArrived => self.record_not_arrived().boxed(),
            Action::RecordSaving(file) => self.record_saving(Some(file)).boxed(),
            Action::RecordNotSaving => self.record_saving(None).boxed(),
            Action::AskSuspend => self.ask_suspend().boxed(),
            Action::GoOn => self.go_on().boxed(),
            Action::AwaitSuspended(limit) => self.await_suspended(limit).boxed(),
            Action::CheckFile(file) => self.check_file(file).boxed(),
            Action::OpenSaved(file) => self.open_saved(file).boxed(),
            Action::WriteSaved(file, format) => self.write_saved(file, format).boxed(),
            Action::RecordSaved => self.record_saved().boxed(),
            Action::RemoveSaved(file) => self.remove_saved(file).boxed(),
            Action::RemoveUsed => self.remove_used().boxed(),
            Action::ClaimMemory => self.claim_memory().boxed(),
            Action::ReleaseClaim => self.release_claim().boxed(),
            Action::Memory(act) => self.act_on_memory(act).boxed(),
            Action::OpenDisk(disk) => self.open_disk(disk).boxed(),
            Action::LookAtDisk(disk) => self.look_at_disk(disk).boxed(),
            Action::CloseDisk(disk) => self.close_disk(disk).boxed(),
            Action::CloseAllDisks => self.close_all_disks().boxed(),
            Action::AwaitBackend(device) => {
                async move { self.await_backend(&device).await }.boxed()
            }
            Action::PlugPort(nic) => self.plug_port(nic).boxed(),
            Action::WriteDevice(device) => async move { self.write_device(&device).await }.boxed(),
            Action::Unplug(key) => self.unplug(key).boxed(),
            Action::AwaitConnected(device, limit) => {
                async move { self.await_connected(&device, limit).await }.boxed()
            }
            Action::RecordWith(device) => async move { self.record_with(&device).await }.boxed(),
            Action::RecordWithout(device) => {
                async move { self.record_without(&device).await }.boxed()
            }
            Action::AskClose(key) => self.ask_close(key).boxed(),
            Action::WithdrawClose(key) => self.withdraw_close(key).boxed(),
            Action::AwaitClosed(device, patience) => {
                async move { self.await_closed(&device, patience).await }.boxed()
            }
            Action::RemoveDevice(key) => self.remove_device(key).boxed(),
        }
    }

    async fn destroy(&mut self) -> Result<(), StepError> {
        self.kill().await?;
        self.await_gone().await
    }

    async fn carry_out_unless(
        &mut self,
        action: Action,
        cancel: &CancellationToken,
    ) -> Result<(), StepError> {
        let (waits, step) = (action.waits(), self.carry_out(action));
        if !waits {
            return step.await;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(StepError::Cancelled),
            outcome = step => outcome,
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
