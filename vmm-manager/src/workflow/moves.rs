//! Moves a VM that runs to another host: the steps that tell two agents, and what is stored between them.
//!
//! ```text
//!   step      told                          taken back by                   afterwards, in the books
//!   reserve   –                             charge given back               on the source, charged on both
//!   prepare   destination: ReceiveVm        destination: abort
//!   move      source: SendVm                source: abort
//!   commit    –                             the source's again              on the destination, charged on both
//!   start     destination: commit           –
//!   release   source: commit                –                               on the destination, charged there only
//! ```
//!
//! The book says whose the VM is, and `commit` is the one transaction that changes it: what is told after it follows from it (MIG1). So nobody cancels any
//! more then. `start` is told until it is answered, however long that takes: only the destination knows whether it has heard it, and while it may have, the
//! source must not go on. One answer leads back: the destination has discarded its copy, or knows of none, for what it was told to start it writes down
//! before it does. Its copy never ran then, and the VM is the source's again.
//!
//! When the VM runs at the destination, a source that cannot be told holds nobody up: the VM stays charged there, and the `moves` reconciler tells it when it is
//! heard. It does the same for an end of a move that was taken back and could not be told so.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use vmm_core::id::HostId;
use vmm_core::task::Step;
use vmm_proto::v1::{
    AwaitMigration, Fault, FaultCode, MigrationStage, MigrationState, MigrationVerdict, Offered,
    ReceiveVm, Reply, Request, ReturnedDevice, SendVm, SettleMigration, VmPhase,
};

use serde::{Deserialize, Serialize};

use super::call::{BACKOFF_FIRST, Caution, Failure};
use super::record::vm_record;
use super::{Action, Job};
use crate::agents::{AgentCall, AgentError};
use crate::app::{App, store_fault};
use crate::store::{Charge, HostRecord, Moving, Put, VmRecord};

/// How long one call waits for a source that sends; then it is asked how far it is.
const SEND_SLICE: Duration = Duration::from_secs(60);
/// Beyond the deadline: what stopping, the rest and an orderly end may take.
const SEND_GRACE: Duration = Duration::from_secs(120);
/// How long an agent may take to settle: a domain is destroyed or starts.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// How long a move that is through waits for its guest's devices, to tell of them.
const DEVICES_WAIT: Duration = Duration::from_secs(10);

/// A move that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Whose, from where to where, and what it is charged on the other side.
    pub(crate) moving: Moving,
    /// What the guest had when that was decided: a request that is told twice must be the same.
    pub(crate) memory_kib: u64,
    pub(crate) vcpus_online: u32,
    pub(crate) deadline_ms: u64,
    pub(crate) downtime_ms_max: u64,
    #[serde(default)]
    pub(crate) slowdown_ms_max: Option<u64>,
    pub(crate) bandwidth_bytes_per_s: Option<u64>,
}

/// What is done at a step of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// The destination gets ready.
    Receive,
    /// It discards what it has.
    Discard,
    /// The source sends.
    Send,
    /// It lets the guest go on.
    Resume,
    /// The VM is the destination's.
    Commit,
    /// It is the source's again.
    Uncommit,
    /// The destination starts it.
    Start,
    /// The source destroys its copy.
    Release,
    /// The destination is not charged any more.
    Unreserve,
}

pub(super) fn move_steps(of: &Move) -> Vec<Step<Action>> {
    let leg = |leg| Action::Move(Box::new(of.clone()), leg);
    let step = |name, action, undo| Step { name, action, undo };
    vec![
        step("reserve", Action::Reserved, Some(leg(Leg::Unreserve))),
        step("prepare", leg(Leg::Receive), Some(leg(Leg::Discard))),
        step("move", leg(Leg::Send), Some(leg(Leg::Resume))),
        step("commit", leg(Leg::Commit), Some(leg(Leg::Uncommit))),
        step("start", leg(Leg::Start), None),
        step("release", leg(Leg::Release), None),
    ]
}

/// What a source said of its sending, when it was asked.
enum Stands {
    /// It sends.
    On,
    /// All is there.
    Offered,
    /// It came to nothing.
    Over(Fault),
    /// It knows nothing of it.
    Unknown(String),
    /// It was asked for as long as an outcome may stay unknown, and never said.
    Silent(String),
}

impl Job {
    /// Carries a leg out, either way.
    pub(super) async fn go(&mut self, app: &App, of: &Move, leg: Leg) -> Result<(), Fault> {
        match leg {
            Leg::Receive => self.receive(app, of).await,
            Leg::Send => self.send(app, of).await,
            Leg::Commit => self.hand_over(app, of, of.moving.destination),
            Leg::Uncommit => self.hand_over(app, of, of.moving.source),
            Leg::Start => self.start(app, of).await,
            Leg::Release => {
                self.release(app, of).await?;
                self.tell_devices(app, of).await;
                Ok(())
            }
            Leg::Discard => self.abort(app, of, of.moving.destination).await,
            Leg::Resume => self.abort(app, of, of.moving.source).await,
            Leg::Unreserve => self.unreserve(app, of),
        }
    }

    /// Is the VM the other host's already?
    pub(super) fn is_handed_over(&self) -> bool {
        let (done, _) = self.flow.progress();
        let done = self.flow.steps().iter().take(done);
        done.into_iter().any(|step| matches!(step.action, Action::Move(_, Leg::Commit)))
    }

    async fn receive(&mut self, app: &App, of: &Move) -> Result<(), Fault> {
        let (spec, from, to) = {
            let state = app.lock();
            let name = |host| state.host_name(host);
            let spec = vm_record(&state, self.vm)?.spec;
            (spec, name(of.moving.source), name(of.moving.destination))
        };
        app.log_task(self.task, &format!("from host {from} to host {to}"));
        let request = Request::ReceiveVm(ReceiveVm {
            vm: self.vm.to_string(),
            migration: of.moving.migration.clone(),
            source: from,
            memory_kib: of.memory_kib,
            vcpus_online: of.vcpus_online,
            spec,
        });
        let deadline = app.config.build_wait + app.config.call_margin;
        let call = AgentCall { request, deadline, key: self.key("prepare") };
        let caution = Caution { patience: app.config.unknown_wait, cancel: Some(&self.cancel) };
        let outcome = app.call_until_known(of.moving.destination, call, caution).await;
        self.unresolved = matches!(outcome, Err(Failure::Unknown(_)));
        outcome.map(drop).map_err(Failure::into_fault)
    }

    /// Told again and again with one key, which does it once; between two calls the source is asked how far it is.
    async fn send(&mut self, app: &App, of: &Move) -> Result<(), Fault> {
        let source = of.moving.source;
        let call = self.send_call(app, of);
        let end = Instant::now() + Duration::from_millis(of.deadline_ms) + SEND_GRACE;
        let mut unknown_since = None;
        loop {
            let outcome = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(super::job::cancelled()),
                outcome = app.call_once(source, call.clone()) => outcome,
            };
            let last = match outcome {
                Ok(Reply::Offered(offered)) => {
                    app.log_task(self.task, &in_words(&offered));
                    return Ok(());
                }
                Ok(_) => {
                    return Err(Fault::new(FaultCode::Internal, "the source gave another reply"));
                }
                Err(error) => error,
            };
            // What was told before may be under way, although an agent that lost its memory of the key refuses it now.
            let is_final = !leaves_open(&last);
            match (self.stands(app, of, &last).await, last) {
                (Stands::On, _) => unknown_since = None,
                (Stands::Offered, _) => return Ok(()),
                (_, AgentError::Fault(fault)) if is_final => return Err(fault),
                (Stands::Over(fault), _) => return Err(fault),
                (Stands::Silent(detail), _) => return Err(app.no_reply(source, &detail)),
                (Stands::Unknown(detail), _) => {
                    let since = *unknown_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= app.config.unknown_wait {
                        return Err(app.no_reply(source, &detail));
                    }
                }
            }
            if Instant::now() >= end {
                let message = "the source neither ended the move nor gave it up by its deadline";
                return Err(Fault::new(FaultCode::TimedOut, message));
            }
            self.pause(app, BACKOFF_FIRST).await;
        }
    }

    fn send_call(&self, app: &App, of: &Move) -> AgentCall {
        let state = app.lock();
        let record = state.hosts.get(&of.moving.destination).map(|host| &host.record);
        let reached = |record: &HostRecord| {
            let said = record.facts.as_ref().and_then(|facts| facts.migration_address.clone());
            said.unwrap_or_else(|| record.address.clone())
        };
        let request = Request::SendVm(SendVm {
            vm: self.vm.to_string(),
            migration: of.moving.migration.clone(),
            destination: state.host_name(of.moving.destination),
            address: record.map(reached).unwrap_or_default(),
            deadline_ms: of.deadline_ms,
            downtime_ms_max: of.downtime_ms_max,
            slowdown_ms_max: of.slowdown_ms_max,
            bandwidth_bytes_per_s: of.bandwidth_bytes_per_s,
        });
        let deadline = SEND_SLICE + app.config.call_margin;
        AgentCall { request, deadline, key: self.key("move") }
    }

    async fn stands(&self, app: &App, of: &Move, last: &AgentError) -> Stands {
        let request = Request::AwaitMigration(AwaitMigration {
            vm: self.vm.to_string(),
            migration: of.moving.migration.clone(),
            wait_ms_max: 0,
            devices: false,
        });
        let call = AgentCall { request, deadline: app.config.call_margin, key: None };
        let said_over = match last {
            AgentError::Fault(fault) if fault.code == FaultCode::TimedOut => Some(fault.clone()),
            _ => None,
        };
        match self.ask(app, of.moving.source, call).await {
            Ok(Reply::MigrationState(state)) => match state.stage {
                MigrationStage::Sending => Stands::On,
                MigrationStage::Offered | MigrationStage::Gone => Stands::Offered,
                _ => Stands::Over(said_over.unwrap_or_else(|| gone_on(&state.reason))),
            },
            // It was under way, and is not any more; what it said last is why.
            Err(AgentError::Fault(fault)) if fault.code == FaultCode::UnknownVm => {
                said_over.map_or_else(|| Stands::Unknown(fault.message), Stands::Over)
            }
            Ok(_) => Stands::Unknown("it gave another reply".into()),
            Err(AgentError::Fault(fault)) => Stands::Unknown(fault.to_string()),
            Err(AgentError::NoReply(detail)) => Stands::Silent(detail),
        }
    }

    /// A host that copies a guest's memory is hard to hear: it is asked again until it answers. Whoever cancels does not wait for that.
    async fn ask(&self, app: &App, host: HostId, call: AgentCall) -> Result<Reply, AgentError> {
        let end = Instant::now() + app.config.unknown_wait;
        loop {
            let answer = app.call_once(host, call.clone()).await;
            let is_heard = !matches!(answer, Err(AgentError::NoReply(_)));
            if is_heard || self.cancel.is_cancelled() || Instant::now() >= end {
                return answer;
            }
            self.pause(app, BACKOFF_FIRST).await;
        }
    }

    async fn pause(&self, app: &App, backoff: Duration) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = sleep(app.jittered(backoff)) => {}
        }
    }

    /// The point of no return, and the way back from it: whose the VM is, and which side is charged beside.
    fn hand_over(&self, app: &App, of: &Move, to: HostId) -> Result<(), Fault> {
        let mut state = app.lock();
        let before = vm_record(&state, self.vm)?;
        // It has ended meanwhile, or has changed hands already.
        if before.host.is_none() || before.host == Some(to) {
            return match before.host {
                Some(_) => Ok(()),
                None => Err(Fault::new(FaultCode::BadState, "the VM has ended meanwhile")),
            };
        }
        let moving = Moving {
            committed: to == of.moving.destination,
            charge: before.charge.unwrap_or(of.moving.charge),
            ..of.moving.clone()
        };
        let after = VmRecord {
            host: Some(to),
            last_host: Some(to),
            charge: before.moving.as_ref().map(|moving| moving.charge).or(before.charge),
            moving: Some(moving),
            ..before
        };
        state.commit(vec![Put::Vm(Box::new(after))]).map_err(|error| store_fault(&error))
    }

    /// Until it is known whether it was started.
    async fn start(&mut self, app: &App, of: &Move) -> Result<(), Fault> {
        let told = self.settle(app, of, (of.moving.destination, MigrationVerdict::Commit), None);
        if let Err(failure) = told.await {
            let fault = failure.into_fault();
            app.log_task(self.task, &format!("start: {fault}; the VM is the source's again"));
            return Err(fault);
        }
        let moved_ms = Some(app.lock().date_ms(Instant::now()));
        self.change(app, |before| VmRecord {
            phase: VmPhase::Running,
            reason: String::new(),
            moved_ms,
            charge: before.charge.map(|charge| Charge { running: true, ..charge }),
            ..before
        })
    }

    /// A source that is not heard holds nobody up: it stays charged, and is told when it is heard.
    async fn release(&mut self, app: &App, of: &Move) -> Result<(), Fault> {
        let source = of.moving.source;
        let patience = Some(app.config.unknown_wait);
        let told = self.settle(app, of, (source, MigrationVerdict::Commit), patience).await;
        match told {
            Ok(()) => {}
            Err(Failure::No { fault, .. }) if fault.code == FaultCode::UnknownVm => {}
            Err(failure) => {
                let fault = failure.into_fault();
                tracing::warn!(task_id = %self.task, host_id = %source, %fault, "the source of a move has not destroyed its copy yet");
                let line =
                    format!("{fault}; its copy stands still, and is destroyed when it is heard");
                app.log_task(self.task, &line);
                return Ok(());
            }
        }
        self.change(app, |before| VmRecord { moving: None, ..before })
    }

    /// Waits, not for long, until the guest uses its devices again, and tells how long that took: the part of the silence that is its own.
    /// The VM has moved, whatever comes of this.
    async fn tell_devices(&self, app: &App, of: &Move) {
        let request = Request::AwaitMigration(AwaitMigration {
            vm: self.vm.to_string(),
            migration: of.moving.migration.clone(),
            wait_ms_max: u64::try_from(DEVICES_WAIT.as_millis()).unwrap_or(u64::MAX),
            devices: true,
        });
        let call =
            AgentCall { request, deadline: DEVICES_WAIT + app.config.call_margin, key: None };
        let answer = tokio::select! {
            answer = app.call_once(of.moving.destination, call) => answer,
            () = self.cancel.cancelled() => return,
        };
        if let Ok(Reply::MigrationState(state)) = answer
            && let Some(line) = devices_in_words(&state)
        {
            app.log_task(self.task, &line);
        }
    }

    /// Back to where it was. Whoever knows nothing of it has nothing to take back.
    async fn abort(&mut self, app: &App, of: &Move, host: HostId) -> Result<(), Fault> {
        let config = &app.config;
        let patience = if self.unresolved { config.call_margin } else { config.unknown_wait };
        let told = self.settle(app, of, (host, MigrationVerdict::Abort), Some(patience)).await;
        let is_clean = match &told {
            Ok(()) => true,
            Err(Failure::No { fault, .. }) => fault.code == FaultCode::UnknownVm,
            Err(Failure::Unknown(_)) => false,
        };
        self.built |= !is_clean;
        if is_clean { Ok(()) } else { told.map_err(Failure::into_fault) }
    }

    /// Tells an agent the verdict until it says yes, or no; or for so long. Each refusal that says neither is told anew.
    async fn settle(
        &self,
        app: &App,
        of: &Move,
        (host, verdict): (HostId, MigrationVerdict),
        patience: Option<Duration>,
    ) -> Result<(), Failure> {
        let end = patience.map(|patience| Instant::now() + patience);
        let (mut backoff, mut number, mut said) = (BACKOFF_FIRST, 0_u64, String::new());
        loop {
            let call = AgentCall {
                request: Request::SettleMigration(SettleMigration {
                    vm: self.vm.to_string(),
                    migration: of.moving.migration.clone(),
                    verdict,
                }),
                deadline: SETTLE_WAIT + app.config.call_margin,
                key: self.key(&format!("{verdict:?}.{host}.{number}")),
            };
            let fault = match app.call_once(host, call).await {
                Ok(_) => return Ok(()),
                Err(AgentError::Fault(fault)) if is_definite(&fault) => {
                    return Err(Failure::No { fault, repeated: number > 0 });
                }
                Err(AgentError::Fault(fault)) => {
                    number += 1;
                    fault
                }
                Err(AgentError::NoReply(detail)) => app.no_reply(host, &detail),
            };
            if said != fault.message {
                app.log_task(self.task, &fault.to_string());
                said.clone_from(&fault.message);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Err(Failure::Unknown(fault));
            }
            sleep(app.jittered(backoff)).await;
            backoff = (backoff * 2).min(app.config.backoff_max);
        }
    }

    /// The destination goes on being charged when it may still hold memory: the reconciler gives that back.
    fn unreserve(&self, app: &App, of: &Move) -> Result<(), Fault> {
        let is_open = self.built;
        self.change(app, |before| {
            let is_there = before.host == Some(of.moving.source);
            let phase = if is_there && !is_open { VmPhase::Running } else { before.phase };
            let moving = before.moving.clone().filter(|_| is_open);
            VmRecord { phase, moving, ..before }
        })
    }

    fn change(&self, app: &App, change: impl FnOnce(VmRecord) -> VmRecord) -> Result<(), Fault> {
        let mut state = app.lock();
        let before = vm_record(&state, self.vm)?;
        let after = change(before);
        state.commit(vec![Put::Vm(Box::new(after))]).map_err(|error| store_fault(&error))
    }
}

/// The verdict cannot be carried out, now or ever: it was carried out otherwise, or there is nothing.
fn is_definite(fault: &Fault) -> bool {
    matches!(fault.code, FaultCode::Conflict | FaultCode::UnknownVm | FaultCode::UnknownHost)
}

/// It may be under way all the same.
fn leaves_open(error: &AgentError) -> bool {
    match error {
        AgentError::Fault(fault) => matches!(fault.code, FaultCode::TimedOut | FaultCode::Busy),
        AgentError::NoReply(_) => true,
    }
}

fn gone_on(reason: &str) -> Fault {
    let why = if reason.is_empty() { "the source does not say why" } else { reason };
    Fault::new(FaultCode::HostFailed, format!("the VM goes on where it was: {why}"))
}

fn in_words(offered: &Offered) -> String {
    format!(
        "all is there: {} MiB sent for {} MiB of memory, {} rounds, {} ms, {} ms slowed down; the guest stands still, {} ms so far",
        offered.sent_bytes >> 20,
        offered.ram_bytes >> 20,
        offered.rounds,
        offered.elapsed_ms,
        offered.lost_ms,
        offered.downtime_ms
    )
}

/// Nothing of an agent that does not tell.
fn devices_in_words(state: &MigrationState) -> Option<String> {
    let device = |device: &ReturnedDevice| {
        let ReturnedDevice { name, used_ms, heard_ms } = device;
        let used =
            used_ms.map_or("not used again yet".into(), |ms| format!("used again after {ms} ms"));
        let heard =
            heard_ms.map_or(String::new(), |ms| format!(", heard on its network after {ms} ms"));
        format!("; {name} {used}{heard}")
    };
    let started_ms = state.started_ms?;
    let devices: String = state.devices.iter().map(device).collect();
    Some(format!("it runs, {started_ms} ms after all was there{devices}"))
}
