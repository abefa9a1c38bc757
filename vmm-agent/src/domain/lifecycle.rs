//! Pause, unpause, the requests to shut down and to reboot, and what the runner makes of a domain that has shut down.
//!
//! A guest is asked through `control/shutdown`, which it empties to say that it has heard. What it does then is seen in Xen's
//! list alone. A guest that does not go down in time runs on, and its request is taken back if it was not heard.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use vmm_core::vm::{EventAction, StopReason, VmState};
use xen_bindings::store::{read_text, transact};
use xen_bindings::{DomainInfo, RunState, ShutdownReason, StoreError, StorePath};

use super::error::StepError;
use super::pending::{DownWait, Pending, Wish};
use super::runner::{Reply, Runner};
use super::{Answer, Change, ChangeError, Outcome};

/// The longest wait for a guest that anybody can ask for.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// A deadline that somebody asked for, within reason.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.min(WAIT_MAX)
}

impl Runner {
    /// Begins a change that was admitted.
    pub(crate) async fn begin(&mut self, change: Change, reply: Reply) {
        match change {
            Change::Shutdown { wait } => self.ask_down(Wish::Poweroff, wait, reply).boxed().await,
            Change::Reboot { wait } => self.ask_down(Wish::Reboot, wait, reply).boxed().await,
            _ if self.pending.is_some() => {
                let _ = reply.send(Err(ChangeError::Busy));
            }
            Change::Pause => {
                let outcome = self.pause().boxed().await;
                let _ = reply.send(outcome);
            }
            Change::Unpause => {
                let outcome = self.unpause().boxed().await;
                let _ = reply.send(outcome);
            }
            Change::SetVcpus { vcpus, wait } => {
                self.set_vcpus(vcpus, bounded(wait), reply).boxed().await
            }
            Change::Balloon { target } => {
                let outcome = self.balloon(target).boxed().await;
                let _ = reply.send(outcome);
            }
            Change::SetMemory { memory, wait } => {
                self.set_memory(memory, bounded(wait), reply).boxed().await;
            }
            Change::Suspend { wait } => self.suspend(wait, reply).boxed().await,
            Change::Migrate(send) => self.migrate(*send, reply).boxed().await,
            Change::Save { file, format, wait } => {
                self.save(file, format, wait, reply).boxed().await;
            }
            Change::Attach { device, wait } => self.attach(device, wait, reply).boxed().await,
            Change::Detach { device, patience } => {
                self.detach(device, patience, reply).boxed().await
            }
            Change::Resume => {
                let outcome = self.resume().boxed().await;
                let _ = reply.send(outcome);
            }
            Change::ResizeDisk { device, bytes, wait } => {
                let outcome = self.resize_disk(&device, bytes, wait).boxed().await;
                let _ = reply.send(outcome);
            }
            Change::Rename(name) => {
                let outcome = self.rename(name).boxed().await;
                let _ = reply.send(outcome);
            }
            Change::Configure(knobs) => {
                let outcome = self.configure(knobs).boxed().await;
                let _ = reply.send(outcome);
            }
        }
    }

    async fn pause(&mut self) -> Outcome {
        let domid = self.site.domid().map_err(|e| ChangeError::step("pause", e))?;
        let paused = self.core().run(move |host| host.xen.control.pause(domid)).await;
        paused.map_err(|error| ChangeError::step("pause", error))?;
        self.publish(VmState::Paused, "");
        Ok(Answer::Done)
    }

    async fn unpause(&mut self) -> Outcome {
        let domid = self.site.domid().map_err(|e| ChangeError::step("unpause", e))?;
        let runs = self.core().run(move |host| host.xen.control.unpause(domid)).await;
        runs.map_err(|error| ChangeError::step("unpause", error))?;
        self.publish(VmState::Running, "");
        Ok(Answer::Done)
    }

    async fn ask_down(&mut self, wish: Wish, wait: Duration, reply: Reply) {
        if let Err(error) = self.write_wish(wish).await {
            let _ = reply.send(Err(ChangeError::step("ask-guest", error)));
            return;
        }
        self.abandon_growth().await;
        if let Some(pending) = self.pending.take() {
            let why = ChangeError::Superseded("the guest was asked to go down");
            pending.answer(Err(why));
        }
        let wait = bounded(wait);
        let deadline = Instant::now() + wait;
        self.pending = Some(Pending::Down(DownWait::new(wish, wait, deadline, reply)));
        self.publish(
            match wish {
                Wish::Poweroff => VmState::ShuttingDown,
                Wish::Reboot => VmState::Rebooting,
            },
            "",
        );
    }

    fn wish_path(&self) -> Result<StorePath, StepError> {
        Ok(StorePath::domain(self.site.domid()?).join("control/shutdown")?)
    }

    async fn write_wish(&self, wish: Wish) -> Result<(), StepError> {
        let path = self.wish_path()?;
        let word = wish.word().as_bytes();
        Ok(self.core().run(move |host| host.xen.store.write(&path, word)).await?)
    }

    /// Empties the wish unless the guest did; true when the guest did.
    async fn withdraw_wish(&self, wish: Wish) -> Result<bool, StepError> {
        let path = self.wish_path()?;
        let withdraw = move |host: &crate::Backend| -> Result<bool, StoreError> {
            transact(host.xen.store.as_ref(), |transaction| {
                let heard = read_text(transaction, &path)?.as_deref() != Some(wish.word());
                if !heard {
                    transaction.write(&path, b"")?;
                }
                Ok(heard)
            })
        };
        Ok(self.core().run(withdraw).await?)
    }

    /// Looks at the domain and acts on what it is.
    pub(crate) async fn look(&mut self) {
        let Ok(domid) = self.site.domid() else { return };
        let info = match self.core().run(move |host| host.xen.control.info(domid)).await {
            Ok(info) => info.filter(|info| info.handle.0 == self.site.record.vm.bytes()),
            Err(error) => {
                // The next look, after the next sample at the latest, will tell.
                tracing::warn!(vm_id = %self.site.record.vm, %error, "domain not looked at");
                return;
            }
        };
        match info.map(|info: DomainInfo| info.state) {
            None | Some(RunState::Dying) => {
                self.stopped(StopReason::Lost, "its domain was destroyed by somebody else").await;
            }
            Some(RunState::Shutdown(_)) if self.state() == VmState::Preserved => {}
            Some(RunState::Shutdown(ShutdownReason::Suspend)) => self.is_suspended().await,
            Some(RunState::Shutdown(reason)) => self.shut_down(reason).await,
            Some(RunState::Paused | RunState::Running | RunState::Blocked) => {}
        }
    }

    /// The guest has ended by itself, or because it was asked to. An end that was asked for is no event.
    async fn shut_down(&mut self, reason: ShutdownReason) {
        let wish = self.pending.as_ref().and_then(Pending::wish);
        let on_event = self.site.record.spec.on_event;
        match (reason, wish) {
            (ShutdownReason::Reboot | ShutdownReason::SoftReset, Some(Wish::Reboot)) => {
                self.reboot().await;
            }
            (
                ShutdownReason::Poweroff | ShutdownReason::Reboot | ShutdownReason::SoftReset,
                Some(Wish::Poweroff),
            ) => self.stopped(StopReason::Poweroff, "").await,
            (ShutdownReason::Reboot | ShutdownReason::SoftReset, None) => {
                self.act(on_event.reboot, StopReason::Poweroff, "the guest rebooted").await;
            }
            (ShutdownReason::Poweroff, _) => {
                self.act(on_event.poweroff, StopReason::Poweroff, "").await;
            }
            (ShutdownReason::Crash, _) => {
                let text = "the guest's kernel crashed; its console says why";
                self.act(on_event.crash, StopReason::Crash, text).await;
            }
            (ShutdownReason::Watchdog, _) => {
                self.act(on_event.crash, StopReason::Crash, "the guest's watchdog fired").await;
            }
            (ShutdownReason::Suspend, _) => self.is_suspended().await,
            (ShutdownReason::Unknown(code), _) => {
                let text = format!("the guest shut down with the unknown code {code}");
                self.act(on_event.crash, StopReason::Crash, &text).await;
            }
        }
    }

    /// Does what the VM's specification says about this end.
    async fn act(&mut self, action: EventAction, stop: StopReason, reason: &str) {
        match action {
            EventAction::Destroy => self.stopped(stop, reason).await,
            EventAction::Restart => self.reboot().await,
            EventAction::Preserve => {
                let what = if reason.is_empty() { "the guest powered itself off" } else { reason };
                if let Some(pending) = self.pending.take() {
                    pending.answer(Err(ChangeError::Stopped(what.into())));
                }
                self.close_console().await;
                self.publish(VmState::Preserved, what);
            }
        }
    }

    /// A guest that was not asked, or that was asked too long ago: then it was told that it runs on, and so it does.
    async fn is_suspended(&mut self) {
        if self.state() == VmState::Suspended {
            return;
        }
        if std::mem::take(&mut self.may_suspend_late) {
            match self.site.go_on().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(vm_id = %self.site.record.vm, %error, "not resumed");
                }
            }
        }
        if let Some(pending) = self.pending.take() {
            pending.answer(Err(ChangeError::Superseded("the guest suspended itself")));
        }
        self.publish(VmState::Suspended, "the guest suspended itself; resume it");
    }

    /// The guest has stopped by itself, or because it was asked to.
    async fn stopped(&mut self, stop: StopReason, reason: &str) {
        let pending = self.pending.take();
        self.close_console().await;
        self.end(stop, reason).await;
        let Some(pending) = pending else { return };
        let wanted = pending.wish() == Some(Wish::Poweroff) && stop == StopReason::Poweroff;
        pending.answer(if wanted {
            self.ended()
        } else if stop == StopReason::Poweroff {
            Err(ChangeError::Stopped("the guest powered itself off".into()))
        } else {
            Err(ChangeError::Stopped(reason.into()))
        });
    }

    /// The timer of the pending change has rung.
    pub(crate) async fn timer(&mut self) {
        // What has happened unseen comes first.
        self.look().await;
        if !self.state().has_domain() {
            return;
        }
        match self.pending.take() {
            Some(Pending::Down(wait)) if Instant::now() >= wait.deadline => {
                self.not_down(wait).await;
            }
            Some(Pending::Vcpus(wait)) => self.check_vcpus(wait).await,
            Some(Pending::Memory(wait)) => self.check_memory(wait).await,
            pending => self.pending = pending,
        }
    }

    async fn not_down(&mut self, wait: DownWait) {
        let seconds = wait.wait.as_secs_f32();
        let heard = match self.withdraw_wish(wait.wish).await {
            Ok(true) => "it has heard the request and may still go down",
            Ok(false) => "it has not heard the request, which is withdrawn",
            Err(error) => {
                tracing::warn!(vm_id = %self.site.record.vm, %error, "wish not withdrawn");
                "whether it has heard the request is not known"
            }
        };
        let what = wait.wish.word();
        let text = format!(
            "the guest did not {what} within {seconds} s and runs on: {heard}; try again, or destroy the VM"
        );
        self.publish(VmState::Running, "");
        Pending::Down(wait).answer(Err(ChangeError::TimedOut(text)));
    }
}
