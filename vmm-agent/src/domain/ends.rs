//! How a VM's task begins and ends its VM: the build, with whoever waits for it or wants it gone, and the way off the host.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vmm_core::units::Kib;
use vmm_core::vm::admission::{Admission, admit};
use vmm_core::vm::{StopReason, VmState, overhead};

use super::error::StepError;
use super::room::{self, Promise};
use super::runner::{Command, Reply, Runner, request_of};
use super::site::Site;
use super::{Answer, ChangeError};
use crate::journal::Intent;

impl Runner {
    /// Builds the VM, after a delay, while requests are answered; a request to destroy it cancels delay and build.
    pub(crate) async fn build(
        &mut self,
        intent: Intent,
        promise: Option<Promise>,
        delay: Duration,
    ) {
        let cancel = CancellationToken::new();
        let mut terminators = Vec::new();
        let state = self.state();
        let outcome = {
            let Self { site, wires, .. } = self;
            let stop = site.core.stop.clone();
            let build = async {
                wait(delay, &cancel).await?;
                start(site, intent, promise, &cancel).await
            };
            tokio::pin!(build);
            loop {
                tokio::select! {
                    biased;
                    Some(reply) = wires.terminate.recv() => {
                        terminators.push(reply);
                        cancel.cancel();
                    }
                    () = stop.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
                    outcome = &mut build => break outcome,
                    Some(command) = wires.changes.recv() => refuse(state, command),
                }
            }
        };
        self.built(outcome, terminators).await;
    }

    async fn built(&mut self, outcome: Result<(), ChangeError>, terminators: Vec<Reply>) {
        let answer = match outcome {
            Ok(()) => {
                self.pace.built();
                self.publish(VmState::Running, "");
                self.open_console();
                Ok(Answer::Done)
            }
            Err(error) if self.is_rebuild_cut_short(&error) => {
                self.site.record.intent = Intent::Rebuild;
                if let Err(error) = self.site.write_record().await {
                    tracing::error!(vm_id = %self.site.record.vm, %error, "journal not written");
                }
                Err(ChangeError::Stopping)
            }
            Err(error) => {
                let destroyed = !terminators.is_empty() && error_is_cancel(&error);
                let stop = if destroyed { StopReason::Destroyed } else { StopReason::Failed };
                let left_over =
                    matches!(&error, ChangeError::Step { left_over, .. } if !left_over.is_empty());
                self.rest(stop, &error.to_string(), left_over).await;
                Err(error)
            }
        };
        for builder in self.builders.drain(..) {
            let _ = builder.send(answer.clone());
        }
        for reply in terminators {
            // The build may have been done when the request came.
            if self.state().has_domain() {
                self.end(StopReason::Destroyed, "").await;
            }
            let _ = reply.send(Ok(Answer::Done));
        }
    }

    /// The agent stops while a guest reboots: the next agent goes on.
    fn is_rebuild_cut_short(&self, error: &ChangeError) -> bool {
        let core = self.core();
        self.state() == VmState::Rebooting && core.stop.is_cancelled() && error_is_cancel(error)
    }

    /// Takes the VM off the host.
    pub(crate) async fn end(&mut self, stop: StopReason, reason: &str) {
        self.console = None;
        self.site.record.intent = Intent::Remove;
        self.site.record.stop = stop;
        reason.clone_into(&mut self.site.record.reason);
        if let Err(error) = self.site.write_record().await {
            tracing::error!(vm_id = %self.site.record.vm, %error, "journal not written");
        }
        let left_over = self.site.end().await;
        let mut reason = reason.to_owned();
        if !left_over.is_empty() {
            if !reason.is_empty() {
                reason.push_str("; ");
            }
            reason.push_str(&format!("left over on the host: {}", left_over.join(", ")));
            tracing::error!(vm_id = %self.site.record.vm, ?left_over, "VM not taken off the host");
        }
        self.rest(stop, &reason, !left_over.is_empty()).await;
    }

    /// The VM is stopped: on disk, then for everybody.
    pub(super) async fn rest(&mut self, stop: StopReason, reason: &str, left_over: bool) {
        self.site.record.stop = stop;
        reason.clone_into(&mut self.site.record.reason);
        if left_over {
            self.site.record.intent = Intent::Remove;
        } else {
            self.site.record.intent = Intent::Rest;
            (self.site.record.domid, self.site.record.loop_index) = (None, None);
        }
        if let Err(error) = self.site.write_record().await {
            tracing::error!(vm_id = %self.site.record.vm, %error, "journal not written");
        }
        self.wires.view.send_modify(|view| view.left_over = left_over);
        self.publish(VmState::Stopped(stop), reason);
    }
}

async fn wait(delay: Duration, cancel: &CancellationToken) -> Result<(), ChangeError> {
    tokio::select! {
        biased;
        () = cancel.cancelled(), if !delay.is_zero() => {
            Err(ChangeError::step("wait-before-rebuild", StepError::Cancelled))
        }
        () = tokio::time::sleep(delay) => Ok(()),
    }
}

/// The whole of a build: room for it, then its steps.
async fn start(
    site: &mut Site,
    intent: Intent,
    promise: Option<Promise>,
    cancel: &CancellationToken,
) -> Result<(), ChangeError> {
    let promise = match promise {
        Some(promise) => promise,
        None => {
            let spec = &site.record.spec;
            let needed = spec.memory + overhead(spec);
            room::promise(&site.core, site.record.vm, needed, Kib::ZERO).await?
        }
    };
    let outcome = site.start(intent, cancel).await;
    drop(promise);
    outcome
}

fn refuse(state: VmState, command: Command) {
    let outcome = match admit(state, request_of(&command.change)) {
        Admission::Ignore => Ok(Answer::Done),
        Admission::Deny(denied) => Err(denied.into()),
        Admission::Accept => Err(ChangeError::Busy),
    };
    let _ = command.reply.send(outcome);
}

fn error_is_cancel(error: &ChangeError) -> bool {
    matches!(error, ChangeError::Step { source, .. } if source.is_cancel())
}
