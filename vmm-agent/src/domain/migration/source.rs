//! The host that a VM leaves: the runner's part, and the steps in the order of [`super::super::plan::send`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vmm_core::migration::Limits;
use vmm_core::vm::{StopReason, VmState};
use vmm_proto::aead::Backend as SealBackend;
use vmm_proto::client::{CallError, CallOptions, Client};
use vmm_proto::v1::{self, Reply as Replied, Request};

use super::link;
use super::pilot::SitePilot;
use super::{Migration, Stage, Verdict};
use crate::domain::alongside::alongside;
use crate::domain::error::{ChangeError, StepError};
use crate::domain::runner::{Reply, Runner};
use crate::domain::site::{Site, apply_scheduling, xen_kind};
use crate::domain::{Answer, plan};
use crate::journal::{Moved, Moving};
use crate::migrate::lanes::Lanes;
use crate::migrate::{self, LinkError, SendError, Sending, Sent};

/// How long a source that has offered its VM waits for the manager's verdict before it asks the destination.
pub(crate) const ALONE: Duration = Duration::from_secs(10);
/// How long the destination may take from the last page until it is ready.
const READY_WAIT: Duration = Duration::from_secs(60);
/// What a link is taken to carry until it was measured, when the configuration does not say: a gigabit.
const LINK_BYTES_PER_S: u64 = 125_000_000;
/// A second look at all frames may take such a part of the downtime that is allowed.
const LOOK_SHARE: u32 = 10;
/// How long one question to the destination waits for its answer.
const ASK_WAIT: Duration = Duration::from_secs(5);
/// How long a destination that gave a migration up may take to say why.
const WHY_WAIT: Duration = Duration::from_secs(2);
/// The pause after a question that got none.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A guest that stands still, all of which is at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) sent: Sent,
    /// For so long already.
    pub(crate) stood_still: Duration,
}

/// What to send, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) migration: Arc<Migration>,
    /// Where the destination's agent listens, as `host:port`.
    pub(crate) address: String,
    pub(crate) limits: Limits,
    /// No more than this; no bound without.
    pub(crate) bandwidth_bytes_per_s: Option<u64>,
}

impl PartialEq for Send {
    fn eq(&self, other: &Self) -> bool {
        self.migration.id == other.migration.id && self.address == other.address
    }
}

impl Eq for Send {}

impl Runner {
    /// Sends the VM, and answers once the destination has all of it; then waits for the verdict.
    pub(in crate::domain) async fn migrate(&mut self, send: Send, reply: Reply) {
        let migration = send.migration.clone();
        self.site.leaving = Some(migration.clone());
        self.publish(VmState::Migrating, "");
        match self.carry_out(plan::send(send.clone())).await {
            Ok(()) => {
                migration.reach(Stage::Offered, "");
                self.publish_size();
                let answer = self.site.sent.take().map_or(Answer::Done, |(sent, stopped)| {
                    Answer::Offered(Box::new(Offer { sent, stood_still: stopped.elapsed() }))
                });
                let _ = reply.send(Ok(answer));
                self.hand_over(&migration).await;
            }
            Err(error) => {
                self.may_suspend_late = true;
                let error = self.site.explained(&send, error).await;
                migration.reach(Stage::Resumed, &error.to_string());
                self.publish(VmState::Running, "");
                let _ = reply.send(Err(error));
                self.look().await;
            }
        }
    }

    /// The destination has all of it: whoever owns it now decides. Whoever wants it destroyed waits for that.
    pub(in crate::domain) async fn hand_over(&mut self, migration: &Arc<Migration>) {
        let core = self.core().clone();
        let peer = self.site.record.moving.clone();
        let (cancel, stop) = (CancellationToken::new(), core.stop.clone());
        let done = {
            let wait = async {
                tokio::select! {
                    biased;
                    () = core.stop.cancelled() => None,
                    verdict = verdict(&core, migration, peer) => Some(verdict),
                }
            };
            alongside(&mut self.wires, None, (&cancel, stop), wait).await
        };
        self.terminators.extend(done.terminators);
        match done.value {
            // The next agent waits on.
            None => {}
            Some(Verdict::Commit) => {
                let reason = format!("it runs on host {} now", migration.peer);
                if let Some(moving) = &mut self.site.record.moving {
                    moving.stage = Moved::Gone;
                }
                self.end(StopReason::Migrated, &reason).await;
                migration.reach(Stage::Gone, "");
            }
            Some(Verdict::Abort) => self.goes_on(migration).await,
        }
    }

    async fn goes_on(&mut self, migration: &Migration) {
        let vm_id = self.site.record.vm;
        match self.site.go_on().await {
            Ok(()) => self.publish(VmState::Running, ""),
            Err(error) => {
                tracing::error!(%vm_id, %error, "the guest was not resumed");
                self.publish(VmState::Suspended, "it was not resumed after a migration; resume it");
            }
        }
        if let Err(error) = self.site.record_not_sending().await {
            tracing::error!(%vm_id, %error, "what the migration changed is not all as before");
        }
        migration.reach(Stage::Resumed, "");
        self.look().await;
    }

    /// An agent died while it sent the VM, or while it waited for the verdict.
    pub(in crate::domain) async fn settle_migration(&mut self, moving: Moving) {
        let (vm, core) = (self.site.record.vm, self.core().clone());
        match moving.stage {
            Moved::Sending => {
                tracing::info!(vm_id = %vm, "interrupted migration found: the guest goes on here");
                let quiet = self.site.leave_no_trace().await;
                let gone_on = match quiet {
                    Ok(()) => self.site.go_on().await,
                    Err(error) => Err(error),
                };
                self.may_suspend_late = true;
                let settled = match gone_on {
                    Ok(()) => self.site.record_not_sending().await,
                    Err(error) => Err(error),
                };
                match settled {
                    Ok(()) if self.state() == VmState::Suspended => {
                        self.publish(VmState::Running, "");
                    }
                    Ok(()) => {}
                    Err(error) => tracing::error!(vm_id = %vm, %error, "migration not taken back"),
                }
            }
            Moved::Offered => {
                if let Some(migration) = core.migrations.get(vm, moving.migration) {
                    self.hand_over(&migration).await;
                }
            }
            Moved::Arriving | Moved::Arrived | Moved::Gone => {}
        }
    }
}

/// The manager's verdict, or what the destination says when none comes.
async fn verdict(
    core: &Arc<crate::core::Core>,
    migration: &Migration,
    moving: Option<Moving>,
) -> Verdict {
    let told = migration.verdict();
    tokio::pin!(told);
    loop {
        tokio::select! {
            biased;
            verdict = &mut told => return verdict,
            () = sleep(ALONE) => {}
        }
        let Some(moving) = &moving else { continue };
        tokio::select! {
            biased;
            verdict = &mut told => return verdict,
            answer = ask_destination(core, migration, moving) => match answer {
                Some(verdict) => return verdict,
                None => tracing::warn!(vm_id = %migration.vm, peer = migration.peer, "neither the manager nor the destination says who owns the VM; it stands still"),
            }
        }
    }
}

/// Who owns it, as the destination says: it is asked to discard a copy that it has not started.
async fn ask_destination(
    core: &crate::core::Core,
    migration: &Migration,
    moving: &Moving,
) -> Option<Verdict> {
    let client = core.env.peers.as_ref()?.client(&moving.peer, moving.address.as_ref()?);
    let (vm, id) = (migration.vm.to_string(), migration.id.to_string());
    let ask = v1::AwaitMigration {
        vm: vm.clone(),
        migration: id.clone(),
        wait_ms_max: 0,
        devices: false,
    };
    let options = CallOptions { deadline: Some(ASK_WAIT), idempotency_key: None };
    let answer = client.call(Request::AwaitMigration(ask), options).await;
    match answer {
        Ok(Replied::MigrationState(state)) => match state.stage {
            v1::MigrationStage::Started => return Some(Verdict::Commit),
            v1::MigrationStage::Discarded => return Some(Verdict::Abort),
            _ => {}
        },
        // An agent that does not know it may have run it, seen its end and forgotten it: only the manager can tell.
        Ok(_) | Err(_) => return None,
    }
    let settle =
        v1::SettleMigration { vm, migration: id.clone(), verdict: v1::MigrationVerdict::Abort };
    let options = CallOptions {
        deadline: Some(ASK_WAIT),
        idempotency_key: Some(format!("{id}.source.abort")),
    };
    match client.call(Request::SettleMigration(settle), options).await {
        Ok(_) => Some(Verdict::Abort),
        // It has started meanwhile, or nobody knows: the next question tells.
        Err(_) => None,
    }
}

impl Site {
    /// On disk before anything is touched: the next agent lets the guest go on.
    pub(in crate::domain) async fn record_sending(&mut self, send: &Send) -> Result<(), StepError> {
        let target = self.target().await?;
        self.record.moving = Some(Moving {
            migration: send.migration.id,
            peer: send.migration.peer.clone(),
            address: Some(send.address.clone()),
            stage: Moved::Sending,
            target_kib: target.map(|target| target.0),
        });
        self.write_record().await
    }

    /// It stays here; its balloon is as before.
    pub(in crate::domain) async fn record_not_sending(&mut self) -> Result<(), StepError> {
        self.restore_target().await?;
        self.record.moving = None;
        self.write_record().await
    }

    /// On disk before anybody is told: from here on the guest goes on only by a verdict.
    pub(in crate::domain) async fn record_offered(&mut self) -> Result<(), StepError> {
        if let Some(moving) = &mut self.record.moving {
            moving.stage = Moved::Offered;
        }
        self.write_record().await
    }

    fn destination(&self, send: &Send) -> Result<(Client, SealBackend), StepError> {
        let peers = self.core.env.peers.as_ref();
        let peers =
            peers.ok_or_else(|| StepError::Transfer("this agent calls no others".into()))?;
        Ok((peers.client(&send.migration.peer, &send.address), peers.seal))
    }

    /// Copies the guest while it runs, and the rest once it stands still; done once the destination has restored it.
    pub(in crate::domain) async fn send_guest(&mut self, send: Send) -> Result<(), StepError> {
        let migration = self.leaving.clone().ok_or(StepError::OutOfOrder("a migration"))?;
        let (client, seal) = self.destination(&send)?;
        let (transfer, lanes) = (send.migration.id.transfer(), self.core.config.migration_streams);
        let failed = |error: LinkError| StepError::Transfer(error.to_string());
        let opening = link::open(&client, transfer, lanes, seal);
        let mut link = self.unless_settled(&migration, opening).await?.map_err(failed)?;
        let began = Instant::now();
        let sent = self.copy_guest(&send, &mut link, &migration).await?;
        tracing::info!(vm_id = %self.record.vm, ?sent, "VM sent");
        self.sent = Some((sent, began + sent.stopped_at));
        // The destination opens its disks once the stream has ended.
        self.unless_settled(&migration, self.settle_disks()).await??;
        self.unless_settled(&migration, link.finish()).await?.map_err(failed)
    }

    /// All that a source sees is that its stream broke; the destination knows why. Asked once the guest goes on.
    async fn explained(&self, send: &Send, error: ChangeError) -> ChangeError {
        let ChangeError::Step { step, source: StepError::Transfer(seen), left_over } = error else {
            return error;
        };
        let reason = self.ask_why(send).await.unwrap_or(seen);
        ChangeError::Step { step, source: StepError::Transfer(reason), left_over }
    }

    async fn ask_why(&self, send: &Send) -> Option<String> {
        let (client, _) = self.destination(send).ok()?;
        let ask = v1::AwaitMigration {
            vm: self.record.vm.to_string(),
            migration: send.migration.id.to_string(),
            wait_ms_max: u64::try_from(WHY_WAIT.as_millis()).unwrap_or(u64::MAX),
            devices: false,
        };
        let options = CallOptions { deadline: Some(WHY_WAIT * 2), idempotency_key: None };
        match client.call(Request::AwaitMigration(ask), options).await {
            Ok(Replied::MigrationState(state))
                if state.stage == v1::MigrationStage::Discarded && !state.reason.is_empty() =>
            {
                Some(format!("host {} gave it up: {}", send.migration.peer, state.reason))
            }
            _ => None,
        }
    }

    /// Before it is offered, a verdict can only take it back.
    async fn unless_settled<T>(
        &self,
        migration: &Migration,
        work: impl Future<Output = T>,
    ) -> Result<T, StepError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(StepError::Cancelled),
            _ = migration.verdict() => Err(StepError::Discarded),
            done = work => Ok(done),
        }
    }

    async fn copy_guest(
        &self,
        send: &Send,
        link: &mut Lanes,
        migration: &Migration,
    ) -> Result<Sent, StepError> {
        let core = &self.core;
        let pilot = SitePilot::new(self)?;
        let used = pilot.used().await.map_err(|error| StepError::Transfer(error.to_string()))?;
        let sending = Sending {
            backend: core.backend.clone(),
            blocking: core.env.blocking,
            domid: self.domid()?,
            kind: xen_kind(self.record.spec.kind),
            limits: send.limits,
            options: migrate::options(),
            bandwidth: send.bandwidth_bytes_per_s,
            used,
            floor: self.record.spec.memory_min,
            link_bytes_per_s: core.config.network.map_or(LINK_BYTES_PER_S, |rate| rate.0),
            look_max: send.limits.downtime_max / LOOK_SHARE,
            seed: (core.env.random)(),
        };
        let (progress, cancel) = (migration.progress.clone(), self.cancel.child_token());
        let mut copy = migrate::send(sending, link, pilot, progress, &cancel).boxed();
        let sent = tokio::select! {
            biased;
            // It ends by itself, so that nothing stays switched on.
            _ = migration.verdict() => {
                cancel.cancel();
                copy.await
            }
            sent = &mut copy => sent,
        };
        sent.map_err(|error| match error {
            SendError::Cancelled if self.cancel.is_cancelled() => StepError::Cancelled,
            SendError::Cancelled => StepError::Discarded,
            lost @ (SendError::Link(_) | SendError::Stalled { .. }) => {
                StepError::Transfer(lost.to_string())
            }
            own => StepError::NotSent(own.to_string()),
        })
    }

    /// The destination has restored it.
    pub(in crate::domain) async fn await_ready(&self, send: &Send) -> Result<(), StepError> {
        let migration = self.leaving.clone().ok_or(StepError::OutOfOrder("a migration"))?;
        self.unless_settled(&migration, self.ask_until_ready(send)).await?
    }

    async fn ask_until_ready(&self, send: &Send) -> Result<(), StepError> {
        let (client, _) = self.destination(send)?;
        let deadline = Instant::now() + READY_WAIT;
        let ask = v1::AwaitMigration {
            vm: self.record.vm.to_string(),
            migration: send.migration.id.to_string(),
            wait_ms_max: u64::try_from(ASK_WAIT.as_millis()).unwrap_or(u64::MAX),
            devices: false,
        };
        loop {
            let options = CallOptions { deadline: Some(ASK_WAIT * 2), idempotency_key: None };
            let answer = client.call(Request::AwaitMigration(ask.clone()), options).await;
            match answer {
                Ok(Replied::MigrationState(state)) => match state.stage {
                    v1::MigrationStage::Ready => return Ok(()),
                    v1::MigrationStage::Receiving => {}
                    _ => {
                        let why = format!("the destination has discarded it: {}", state.reason);
                        return Err(StepError::Transfer(why));
                    }
                },
                Ok(_) => return Err(StepError::Transfer("an answer to another question".into())),
                Err(error @ CallError::Fault(_)) => {
                    return Err(StepError::Transfer(error.to_string()));
                }
                // It has all of the guest: whether it is busy or gone, the next question may tell.
                Err(error) if Instant::now() >= deadline => {
                    return Err(StepError::Transfer(error.to_string()));
                }
                Err(_) => sleep(ASK_AGAIN).await,
            }
            if Instant::now() >= deadline {
                let what = "the destination's restore".into();
                return Err(StepError::Waited { what, limit: READY_WAIT });
            }
        }
    }

    /// What a dead agent may have left on: the log of writes, the brake.
    async fn leave_no_trace(&self) -> Result<(), StepError> {
        let domid = self.domid()?;
        let (vcpus_max, scheduling) =
            (self.record.spec.vcpus_max, self.record.spec.scheduling.clone());
        let quiet = move |host: &crate::Backend| -> Result<(), StepError> {
            host.xen.guest_memory.end_log(domid)?;
            Ok(apply_scheduling(host, domid, vcpus_max, &scheduling)?)
        };
        self.core.run(quiet).await
    }
}
