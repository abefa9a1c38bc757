//! The start of a VM, as data: every step with its undo, carried out one at a time.
//!
//! ```text
//!   record intent ─ attach disk ─ create ─ vCPUs ─ limits ─ ports ─ CPU policy ─ image ─ tree ─ introduce ─ backend ─ unpause ─ record
//!        ▲               ▲           ▲                                                     ▲
//!   (the runner)    detach disk   destroy, wait until gone                            remove tree        ◄── undo, last first
//! ```
//!
//! Interrupted anywhere, by an error, a cancel or the agent's death, it leaves nothing: an error or a cancel undoes what was
//! begun; after a death the next agent finds the intent in the journal and does the same ([`super::adopt`]).

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::task::{Next, Outcome, Step, Workflow};

use super::error::{ChangeError, StepError};
use super::site::Site;
use crate::journal::Intent;

/// How often an undo is tried.
const UNDO_TRIES_MAX: u32 = 5;
/// The first pause between two tries of an undo; doubled each time.
const UNDO_PAUSE: Duration = Duration::from_millis(100);

/// One step, or the undo of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    RecordIntent(Intent),
    AttachDisk,
    DetachDisk,
    Create,
    Destroy,
    AllocateVcpus,
    SetLimits,
    AllocatePorts,
    ApplyCpuPolicy,
    BuildImage,
    WriteTree,
    RemoveTree,
    Introduce,
    AwaitBackend,
    Unpause,
    RecordRunning,
    Kill,
    AwaitGone,
}

/// What a start consists of.
pub(crate) fn start_steps(intent: Intent) -> Vec<Step<Action>> {
    let step = |name, action, undo| Step { name, action, undo };
    vec![
        step("record-intent", Action::RecordIntent(intent), None),
        step("attach-disk", Action::AttachDisk, Some(Action::DetachDisk)),
        step("create-domain", Action::Create, Some(Action::Destroy)),
        step("allocate-vcpus", Action::AllocateVcpus, None),
        step("set-limits", Action::SetLimits, None),
        step("allocate-ports", Action::AllocatePorts, None),
        step("apply-cpu-policy", Action::ApplyCpuPolicy, None),
        step("build-image", Action::BuildImage, None),
        step("write-tree", Action::WriteTree, Some(Action::RemoveTree)),
        step("introduce", Action::Introduce, None),
        step("await-backend", Action::AwaitBackend, None),
        step("unpause", Action::Unpause, None),
        step("record-running", Action::RecordRunning, None),
    ]
}

/// The end of a VM, in this order: a backend lets go of a dead guest's pages only when its tree is gone, and of its loop device
/// only then.
const END: [(&str, Action); 4] = [
    ("destroy-domain", Action::Kill),
    ("remove-tree", Action::RemoveTree),
    ("await-domain-gone", Action::AwaitGone),
    ("detach-disk", Action::DetachDisk),
];

impl Site {
    async fn carry_out(&mut self, action: Action) -> Result<(), StepError> {
        match action {
            Action::RecordIntent(intent) => self.record_intent(intent).await,
            Action::AttachDisk => self.attach_disk().await,
            Action::DetachDisk => self.detach_disk().await,
            Action::Create => self.create().await,
            Action::Destroy => {
                self.kill().await?;
                self.await_gone().await
            }
            Action::AllocateVcpus => self.allocate_vcpus().await,
            Action::SetLimits => self.set_limits().await,
            Action::AllocatePorts => self.allocate_ports().await,
            Action::ApplyCpuPolicy => self.apply_cpu_policy().await,
            Action::BuildImage => self.build_image().await,
            Action::WriteTree => self.write_tree().await,
            Action::RemoveTree => self.remove_tree().await,
            Action::Introduce => self.introduce().await,
            Action::AwaitBackend => self.await_backend().await,
            Action::Unpause => self.unpause().await,
            Action::RecordRunning => self.record_running().await,
            Action::Kill => self.kill().await,
            Action::AwaitGone => self.await_gone().await,
        }
    }

    /// Only a wait is cut short by a cancel: a blocking step that has begun is waited for.
    async fn carry_out_unless(
        &mut self,
        action: Action,
        cancel: &CancellationToken,
    ) -> Result<(), StepError> {
        if action != Action::AwaitBackend {
            return self.carry_out(action).await;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(StepError::Cancelled),
            outcome = self.carry_out(action) => outcome,
        }
    }

    /// Tries a step that takes something back until it succeeds, a bounded number of times.
    async fn take_back(&mut self, step: &'static str, action: Action) -> bool {
        let mut pause = UNDO_PAUSE;
        for _ in 0..UNDO_TRIES_MAX {
            match self.carry_out(action).await {
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

    /// Starts the VM, or leaves nothing of it.
    pub(crate) async fn start(
        &mut self,
        intent: Intent,
        cancel: &CancellationToken,
    ) -> Result<(), ChangeError> {
        let mut workflow = Workflow::new(start_steps(intent));
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
                        let elapsed_ms = begun.elapsed().as_millis();
                        tracing::debug!(vm_id = %self.record.vm, step, elapsed_ms, "step done");
                        workflow.succeeded();
                    }
                    Err(error) => {
                        failure.get_or_insert((step, error));
                        workflow.failed();
                    }
                },
                Next::Undo(step, undo) => {
                    if self.take_back(step, undo).await {
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
            if !self.take_back(step, action).await {
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
