//! How a VM's task begins and ends its VM: the build, with whoever waits for it or wants it gone, and the way off the host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vmm_core::vm::{StopReason, VmSpec, VmState};

use super::alongside::alongside;
use super::error::StepError;
use super::migration::destination::Arriving;
use super::room::{self, Promise};
use super::runner::{Reply, Runner};
use super::shells::{self, Flavour, Ready, Shells};
use super::site::Site;
use super::{Answer, ChangeError, plan};
use crate::core::Core;
use crate::journal::Intent;

/// What is to be brought up, and when.
pub(crate) struct Construction {
    pub(crate) intent: Intent,
    /// Room for it, when it was found before.
    pub(crate) room: Option<Room>,
    /// The file that its memory is in; it boots when there is none.
    pub(crate) saved: Option<PathBuf>,
    /// It comes from another host.
    pub(crate) arriving: Option<Arriving>,
    pub(crate) when: When,
}

/// When a build begins.
pub(crate) enum When {
    Now,
    After(Duration),
    /// When it is told to, or when whoever would tell is gone.
    Told(oneshot::Receiver<()>),
}

impl Construction {
    pub(crate) fn now(intent: Intent) -> Self {
        Self { intent, room: None, saved: None, arriving: None, when: When::Now }
    }

    /// It will not be carried out.
    pub(super) fn give_back(self, core: &Core) {
        if let Some(Room::Shell(ready)) = self.room {
            core.shells.put_back(*ready);
        }
    }
}

impl Runner {
    /// Builds the VM while requests are answered; a request to destroy it cancels wait and build.
    pub(crate) async fn build(&mut self, construction: Construction) {
        let cancel = CancellationToken::new();
        let saved = construction.saved.clone();
        let done = {
            let Self { site, wires, .. } = self;
            let stop = site.core.stop.clone();
            let work = bring_up(site, construction, &cancel).boxed();
            alongside(wires, None, (&cancel, stop), work).await
        };
        match done.value {
            Ok(()) => self.is_built(saved, done.terminators).await,
            Err(error) => self.is_not_built(error, saved, done.terminators).await,
        }
    }

    async fn is_built(&mut self, saved: Option<PathBuf>, terminators: Vec<Reply>) {
        self.pace.built();
        self.has_arrived().await;
        self.publish(VmState::Running, "");
        self.open_console();
        if let Some(file) = saved {
            // What it holds is old from here on: to continue from it again would tear the guest from its disks.
            let removed = async {
                self.site.remove_saved(file).await?;
                self.site.record_saving(None).await
            };
            if let Err(error) = removed.await {
                tracing::warn!(vm_id = %self.site.record.vm, %error, "saved file not removed");
            }
        }
        self.answer_builders(&Ok(Answer::Done));
        if !terminators.is_empty() {
            // The build was done when the request came.
            self.end(StopReason::Destroyed, "").await;
        }
        for reply in terminators {
            let _ = reply.send(self.ended());
        }
    }

    async fn is_not_built(
        &mut self,
        error: ChangeError,
        saved: Option<PathBuf>,
        terminators: Vec<Reply>,
    ) {
        if self.is_rebuild_cut_short(&error) {
            self.site.record.intent = Intent::Rebuild;
            if let Err(error) = self.site.write_record().await {
                tracing::error!(vm_id = %self.site.record.vm, %error, "journal not written");
            }
            self.answer_builders(&Err(ChangeError::Stopping));
            return;
        }
        let stop = match (&saved, terminators.is_empty() || !error_is_cancel(&error)) {
            // Its memory is where it was, whoever ended this.
            (Some(_), _) => StopReason::Saved,
            (None, false) => StopReason::Destroyed,
            (None, true) => StopReason::Failed,
        };
        self.site.record.saved = saved;
        self.rest(stop, &error.to_string(), error.has_left_over()).await;
        self.has_not_arrived(&error).await;
        self.answer_builders(&Err(error));
        for reply in terminators {
            let _ = reply.send(self.ended());
        }
    }

    pub(super) fn answer_builders(&mut self, outcome: &super::Outcome) {
        for builder in self.builders.drain(..) {
            let _ = builder.send(outcome.clone());
        }
    }

    /// The agent stops while a guest reboots: the next agent goes on.
    fn is_rebuild_cut_short(&self, error: &ChangeError) -> bool {
        let core = self.core();
        self.site.record.intent == Intent::Rebuild
            && core.stop.is_cancelled()
            && error_is_cancel(error)
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
            reason = also(&reason, &format!("left over on the host: {}", left_over.join(", ")));
            tracing::error!(vm_id = %self.site.record.vm, ?left_over, "VM not taken off the host");
        }
        self.rest(stop, &reason, !left_over.is_empty()).await;
    }

    /// What is told to whoever wanted the VM to end: what is left of it may still write to its disks.
    pub(super) fn ended(&self) -> super::Outcome {
        let view = self.wires.view.borrow();
        match view.left_over {
            true => Err(ChangeError::LeftOver(view.reason.clone())),
            false => Ok(Answer::Done),
        }
    }

    /// The VM is stopped: on disk, then for everybody. One whose record says something else is left over: the next agent would
    /// look for it, or start it with its host.
    pub(super) async fn rest(&mut self, stop: StopReason, reason: &str, left_over: bool) {
        self.site.record.stop = stop;
        reason.clone_into(&mut self.site.record.reason);
        if left_over {
            self.site.record.intent = Intent::Remove;
        } else {
            self.site.record.intent = Intent::Rest;
            self.site.record.domid = None;
        }
        let recorded = self.site.write_record().await;
        self.wires.view.send_modify(|view| view.left_over = left_over || recorded.is_err());
        match recorded {
            Ok(()) => self.publish(VmState::Stopped(stop), reason),
            Err(error) => {
                tracing::error!(vm_id = %self.site.record.vm, %error, "journal not written");
                let reason = also(reason, &format!("its end is not on disk: {error}"));
                self.publish(VmState::Stopped(stop), &reason);
            }
        }
    }
}

/// Two reasons in one.
fn also(reason: &str, more: &str) -> String {
    if reason.is_empty() { more.to_owned() } else { format!("{reason}; {more}") }
}

impl When {
    async fn wait(self, cancel: &CancellationToken) -> Result<(), ChangeError> {
        let time = async {
            match self {
                Self::Now => {}
                Self::After(delay) => tokio::time::sleep(delay).await,
                Self::Told(told) => {
                    let _ = told.await;
                }
            }
        };
        tokio::select! {
            biased;
            () = time => Ok(()),
            () = cancel.cancelled() => Err(ChangeError::step("wait", StepError::Cancelled)),
        }
    }
}

/// The whole of a build: its time, room for it, its steps.
async fn bring_up(
    site: &mut Site,
    construction: Construction,
    cancel: &CancellationToken,
) -> Result<(), ChangeError> {
    let Construction { intent, room, saved, arriving, when } = construction;
    when.wait(cancel).await?;
    let _busy = Shells::build_begins(&site.core);
    let spec = site.record.spec.clone();
    site.arriving = arriving;
    let flavour = flavour(&site.core, &spec, saved.is_some() || site.arriving.is_some()).await;
    let room = match room {
        Some(room) => room,
        None => match shell(&site.core, flavour.as_ref()).await {
            Some(shell) => shell,
            None => {
                let need = room::Need::to_build(site.record.vm, &spec);
                Room::Promise(room::promise(&site.core, need, cancel).await?)
            }
        },
    };
    let outcome = match (room, &saved) {
        (Room::Shell(ready), _) => {
            site.hand_over(*ready);
            site.perform(plan::from_shell(&spec, intent), cancel).await
        }
        (Room::Promise(_held), Some(file)) => {
            site.perform(plan::restore(&spec, file), cancel).await
        }
        (Room::Promise(_held), None) if site.arriving.is_some() => {
            site.perform(plan::receive(&spec), cancel).await
        }
        (Room::Promise(_held), None) => site.perform(plan::start(&spec, intent), cancel).await,
    };
    if let Some(unused) = site.spare() {
        site.core.shells.put_back(unused);
    }
    if let (Ok(()), Some(flavour)) = (&outcome, flavour) {
        site.core.shells.note(flavour, &spec);
    }
    outcome
}

/// Which shells fit; `None` when none can.
pub(super) async fn flavour(core: &Core, spec: &VmSpec, restores: bool) -> Option<Flavour> {
    if restores || core.config.shells.per_flavour == 0 {
        return None;
    }
    let spec = spec.clone();
    core.env.blocking.run(move || Flavour::of(&spec)).await.ok()
}

/// Where a guest's memory comes from.
pub(crate) enum Room {
    /// From what is free.
    Promise(Promise),
    /// It is there, with the guest in it.
    Shell(Box<Ready>),
}

/// A shell of the flavour that is still there.
pub(super) async fn shell(core: &Arc<Core>, flavour: Option<&Flavour>) -> Option<Room> {
    while let Some(ready) = core.shells.take(flavour?) {
        let domid = ready.parts.domid;
        let info = core.run(move |host| host.xen.control.info(domid)).await;
        let own = ready.record.vm.bytes();
        if info.is_ok_and(|info| info.is_some_and(|info| info.handle.0 == own && info.paused)) {
            return Some(Room::Shell(Box::new(ready)));
        }
        // Somebody else has ended it.
        shells::remove(core, ready).await;
    }
    None
}

fn error_is_cancel(error: &ChangeError) -> bool {
    matches!(error, ChangeError::Step { source, .. } if source.is_cancel())
}
