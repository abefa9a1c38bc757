//! Carries actions out.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vmm_core::vm::VmState;
use vmm_proto::v1::{self, Fault, FaultCode, Reply, Request};

#[cfg(test)]
use super::Moment;
use super::call::{Caution, Failure};
use super::{Action, Job};
use crate::agents::AgentCall;
use crate::app::{App, Observed};

/// How long an agent may take to destroy a VM.
const DESTROY_WAIT: Duration = Duration::from_secs(30);

impl Job {
    /// Carries out what a step does.
    pub(super) async fn act(
        &mut self,
        app: &App,
        name: &'static str,
        action: Action,
    ) -> Result<(), Fault> {
        #[cfg(test)]
        if action.may_fail() {
            app.fail_if_told(name)?;
        }
        // What was decided is stored before it is acted on, and where the task stands, too.
        app.until_stored().await;
        #[cfg(test)]
        app.halts.at(name, Moment::Before).await;
        let done = self.do_it(app, name, action).await;
        #[cfg(test)]
        app.halts.at(name, Moment::After).await;
        done
    }

    async fn do_it(&mut self, app: &App, name: &'static str, action: Action) -> Result<(), Fault> {
        match action {
            Action::Build(restore_from) => self.build(app, name, restore_from).await,
            Action::Adopt => self.adopt(app).await,
            Action::Tell(request, wait) => self.tell(app, name, *request, wait).await,
            Action::Move(of, leg) => self.go(app, &of, leg).await,
            other => self.record(app, other),
        }
    }

    /// Carries out what takes a step back.
    pub(super) async fn act_back(
        &mut self,
        app: &App,
        name: &'static str,
        action: Action,
    ) -> Result<(), Fault> {
        app.until_stored().await;
        #[cfg(test)]
        app.halts.at(name, Moment::BeforeUndo).await;
        let done = self.undo_it(app, name, action).await;
        #[cfg(test)]
        app.halts.at(name, Moment::AfterUndo).await;
        done
    }

    async fn undo_it(
        &mut self,
        app: &App,
        name: &'static str,
        action: Action,
    ) -> Result<(), Fault> {
        match action {
            Action::Unbuild => self.unbuild(app).await,
            Action::Unrestore => self.unrestore(app),
            Action::Tell(request, wait) => self.untell(app, name, *request, wait).await,
            Action::TellBack(requests, wait) => self.tell_back(app, name, *requests, wait).await,
            Action::Move(of, leg) => self.go(app, &of, leg).await,
            other => self.record(app, other),
        }
    }

    pub(super) fn key(&self, step: &str) -> Option<String> {
        Some(format!("{}.{step}", self.task))
    }

    async fn build(
        &mut self,
        app: &App,
        name: &'static str,
        restore_from: Option<String>,
    ) -> Result<(), Fault> {
        let reading = restore_from.as_ref().map_or(Duration::ZERO, |_| app.config.transfer_wait);
        let spec = app.lock().vms.get(&self.vm).map(|vm| vm.record.spec.clone());
        let spec = spec.ok_or_else(|| Fault::new(FaultCode::UnknownVm, "the VM was deleted"))?;
        let call = AgentCall {
            request: Request::BuildVm(v1::BuildVm { vm: self.vm.to_string(), restore_from, spec }),
            deadline: app.config.build_wait + reading + app.config.call_margin,
            key: self.key(name),
        };
        let caution = Caution { patience: app.config.unknown_wait, cancel: Some(&self.cancel) };
        let outcome = app.call_until_known(self.host, call, caution).await;
        self.built = outcome.is_ok();
        match outcome {
            Ok(_) => Ok(()),
            // An agent that lost its memory of the key still has the VM.
            Err(Failure::No { fault, repeated: true }) if fault.code == FaultCode::Conflict => {
                // Only reports that are younger than this answer are evidence.
                let since = app.lock().next_sequence();
                self.wait_until_built(app, since, fault).await
            }
            Err(Failure::Unknown(fault)) => {
                self.unresolved = true;
                Err(fault)
            }
            Err(failure) => Err(failure.into_fault()),
        }
    }

    /// After a restart: the host's report decides.
    async fn adopt(&mut self, app: &App) -> Result<(), Fault> {
        let message =
            "the manager was restarted before the VM was built; it was taken back, ask again";
        self.wait_until_built(app, 0, Fault::new(FaultCode::TimedOut, message)).await
    }

    /// Looks at reports to polls sent after `since`, until one decides.
    async fn wait_until_built(&mut self, app: &App, since: u64, no: Fault) -> Result<(), Fault> {
        let end = Instant::now() + app.config.unknown_wait.max(app.config.build_wait);
        let mut changes = app.changes();
        loop {
            match app.observation(self.host, self.vm, since) {
                Some(Observed::Phase(v1::VmPhase::Starting)) | None => {}
                Some(Observed::Phase(phase)) if VmState::from(phase).has_domain() => {
                    self.built = true;
                    return Ok(());
                }
                Some(_) => return Err(no),
            }
            let cancelled = self.cancel.cancelled();
            let news = async {
                tokio::select! { _ = changes.changed() => true, () = cancelled => false }
            };
            if !matches!(timeout_at(end, news).await, Ok(true)) {
                self.unresolved = true;
                return Err(app.no_reply(self.host, "it was not heard in time"));
            }
        }
    }

    async fn unbuild(&mut self, app: &App) -> Result<(), Fault> {
        let call = AgentCall {
            request: Request::DestroyVm(v1::DestroyVm { vm: self.vm.to_string() }),
            deadline: DESTROY_WAIT + app.config.call_margin,
            key: self.key("build.undo"),
        };
        // A host that was silent all along gets one short chance.
        let patience =
            if self.unresolved { app.config.call_margin } else { app.config.unknown_wait };
        let outcome =
            app.call_until_known(self.host, call, Caution { patience, cancel: None }).await;
        let gone = match &outcome {
            Ok(_) => true,
            Err(Failure::No { fault, .. }) => fault.code == FaultCode::UnknownVm,
            Err(Failure::Unknown(_)) => false,
        };
        self.unresolved = !gone;
        if gone { Ok(()) } else { outcome.map(drop).map_err(Failure::into_fault) }
    }

    fn unrestore(&mut self, app: &App) -> Result<(), Fault> {
        self.unresolved |= self.built;
        if !self.unresolved {
            return Ok(());
        }
        Err(app.no_reply(self.host, "the guest may have gone on, so it is left where it is"))
    }

    async fn tell(
        &mut self,
        app: &App,
        name: &'static str,
        request: Request,
        wait: Duration,
    ) -> Result<(), Fault> {
        let call = AgentCall {
            request: request.clone(),
            deadline: wait + app.config.call_margin,
            key: self.key(name),
        };
        let caution = Caution { patience: app.config.unknown_wait, cancel: Some(&self.cancel) };
        let told_before = std::mem::take(&mut self.unresolved);
        match app.call_until_known(self.host, call, caution).await {
            Ok(reply) => self.record_told(app, &request, reply),
            Err(Failure::No { fault, .. })
                if fault.code == FaultCode::UnknownVm
                    && matches!(request, Request::DestroyVm(_)) =>
            {
                self.record_told(app, &request, Reply::Done(v1::Done {}))
            }
            // An agent that lost its memory of the key may have done it the first time.
            Err(Failure::No { fault, repeated }) => {
                self.unresolved = repeated || told_before;
                Err(fault)
            }
            Err(Failure::Unknown(fault)) => {
                self.unresolved = true;
                Err(fault)
            }
        }
    }

    /// A change of a definition that was refused has nothing to take back; one whose outcome is not known has.
    async fn tell_back(
        &mut self,
        app: &App,
        name: &'static str,
        (told, back): (Request, Request),
        wait: Duration,
    ) -> Result<(), Fault> {
        if !self.unresolved {
            return Ok(());
        }
        let call = AgentCall {
            request: back,
            deadline: wait + app.config.call_margin,
            key: self.key(&format!("{name}.undo")),
        };
        let caution = Caution { patience: app.config.call_margin, cancel: None };
        let outcome = app.call_until_known(self.host, call, caution).await;
        self.unresolved = matches!(outcome, Err(Failure::Unknown(_)));
        match outcome {
            Err(Failure::Unknown(fault)) => Err(fault),
            // The guest does not go along: so it was done, and stays.
            Err(Failure::No { fault, .. }) if fault.code == FaultCode::TimedOut => {
                self.record_told(app, &told, Reply::Done(v1::Done {}))?;
                Err(fault)
            }
            // Any other refusal: there is nothing to take back.
            Ok(_) | Err(Failure::No { .. }) => Ok(()),
        }
    }

    /// Tells the guest to be as it was. A VM that cannot be told is not resized either.
    async fn untell(
        &mut self,
        app: &App,
        name: &'static str,
        request: Request,
        wait: Duration,
    ) -> Result<(), Fault> {
        let aim_kib = match &request {
            Request::SetMemory(asked) => Some(asked.memory_kib),
            _ => None,
        };
        let call = AgentCall {
            request,
            deadline: wait + app.config.call_margin,
            key: self.key(&format!("{name}.undo")),
        };
        let caution = Caution { patience: app.config.call_margin, cancel: None };
        match app.call_until_known(self.host, call, caution).await {
            Err(Failure::Unknown(fault)) => {
                self.unresolved = true;
                Err(fault)
            }
            // The guest still holds more than it was charged for before: it goes on being charged.
            Ok(Reply::Memory(memory)) if aim_kib.is_some_and(|aim| memory.reached_kib > aim) => {
                self.unresolved = true;
                Ok(())
            }
            Ok(_) => {
                self.unresolved = false;
                Ok(())
            }
            // A refusal proves that nothing was resized only when it was not in doubt before, or there is no VM.
            Err(Failure::No { fault, .. }) => {
                self.unresolved &= fault.code != FaultCode::UnknownVm;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
impl App {
    fn fail_if_told(&self, name: &'static str) -> Result<(), Fault> {
        let failing = *self.failing_step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if failing == Some(name) {
            return Err(Fault::new(FaultCode::HostFailed, "this step was told to fail"));
        }
        Ok(())
    }
}
