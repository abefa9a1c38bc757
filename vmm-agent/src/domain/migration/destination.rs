//! The host that a VM comes to: its steps, in the order of [`super::super::plan::receive`].

use std::sync::Arc;

use tokio::time::Instant;
use vmm_core::units::Kib;
use vmm_core::vm::MAXMEM_SLACK;
use vmm_proto::bulk::IncomingStream;
use xen_bindings::RestoreSpec;

use super::{Migration, Stage, Verdict};
use crate::cpu;
use crate::domain::error::StepError;
use crate::domain::runner::Runner;
use crate::domain::site::Site;
use crate::domain::{ChangeError, registry};
use crate::journal::{Intent, Moved, Moving};
use crate::migrate::lanes::{Inbound, LaneError};
use crate::migrate::{self, Arrival, ArrivalError, Bounds};

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// A VM that is to come.
#[derive(Clone)]
pub(crate) struct Arriving {
    pub(crate) migration: Arc<Migration>,
    /// What the guest holds on its source.
    pub(crate) memory: Kib,
    /// What it uses there.
    pub(crate) vcpus_online: u32,
}

impl Arriving {
    /// As it stands in the journal, until it was committed.
    pub(crate) fn moving(&self) -> Moving {
        let Migration { id, peer, .. } = &*self.migration;
        Moving {
            migration: *id,
            peer: peer.clone(),
            address: None,
            stage: Moved::Arriving,
            target_kib: None,
        }
    }
}

impl Runner {
    /// It runs here.
    pub(in crate::domain) async fn has_arrived(&mut self) {
        let Some(arriving) = self.site.arriving.take() else { return };
        let since = Instant::now();
        // An agent that finds it arrived starts it once more, which changes nothing.
        if let Err(error) = self.site.record_running().await {
            tracing::warn!(vm_id = %self.site.record.vm, %error, "journal not written");
        }
        self.site.watch_reattach(Arc::clone(&arriving.migration), since);
        arriving.migration.reach(Stage::Started, "");
    }

    /// Nothing of it is here, unless something was left over: it is as if it had never been here.
    pub(in crate::domain) async fn has_not_arrived(&mut self, error: &ChangeError) {
        let Some(arriving) = self.site.arriving.take() else { return };
        if !error.has_left_over() {
            registry::forget_arrival(self.core(), self.site.record.vm).await;
        }
        arriving.migration.reach(Stage::Discarded, &error.to_string());
    }
}

impl Site {
    fn arriving(&self) -> Result<Arriving, StepError> {
        self.arriving.clone().ok_or(StepError::OutOfOrder("a migration"))
    }

    /// Takes the guest in, from its first page to its last, into the shell.
    pub(in crate::domain) async fn receive_image(&mut self) -> Result<(), StepError> {
        let Arriving { migration, .. } = self.arriving()?;
        let streams = migration.incoming().ok_or(StepError::OutOfOrder("a stream"))?;
        let mut lanes = Inbound::new(streams);
        migration.reach(Stage::Receiving, "");
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(StepError::Cancelled),
            verdict = migration.verdict() => return Err(settled(verdict)),
            come = lanes.first() => come.map_err(broken)?,
        }
        let mut arrival = self.begin_arrival().await?;
        let pumped = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(StepError::Cancelled),
            verdict = migration.verdict() => Err(settled(verdict)),
            pumped = pump(&mut lanes, &mut arrival) => pumped,
        };
        // Whatever came of it, the restore has ended before the domain may, and what read for it before that.
        let finished = match pumped {
            Ok(()) => {
                arrival.finish().await.map_err(|failed| (refused(failed.error), failed.shell))
            }
            Err(error) => {
                lanes.end().await;
                Err((error, arrival.abandon().await))
            }
        };
        let (built, arrived) = match finished {
            Ok((built, shell, arrived)) => {
                self.progress.shell = Some(shell);
                (built, arrived)
            }
            Err((error, shell)) => {
                self.progress.shell = Some(shell);
                return Err(error);
            }
        };
        lanes.finish().await.map_err(broken)?;
        tracing::info!(vm_id = %self.record.vm, ?arrived, "VM received");
        self.progress.built = Some(built);
        Ok(())
    }

    async fn begin_arrival(&mut self) -> Result<Arrival, StepError> {
        let (store_port, console_port) =
            self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let memory = self.record.spec.memory_max.max(self.arriving()?.memory);
        let features = cpu::of_host(&self.core).await?;
        let shell = self.progress.shell.take().ok_or(StepError::OutOfOrder("the shell"))?;
        let (host, blocking) = (&self.core.backend, self.core.env.blocking);
        let spec = RestoreSpec { store_port, console_port };
        let bytes = (memory + MAXMEM_SLACK).0.saturating_mul(1024);
        let copies_bytes_max = migrate::COPIES_BYTES as u64;
        let bounds = Bounds { frames_max: bytes / PAGE_BYTES, copies_bytes_max, features };
        Arrival::begin(host, blocking, shell, spec, bounds).map_err(|failed| {
            self.progress.shell = Some(failed.shell);
            refused(failed.error)
        })
    }

    /// All of it is here. It runs when the manager says so, and only then.
    pub(in crate::domain) async fn await_verdict(&self) -> Result<(), StepError> {
        let Arriving { migration, .. } = self.arriving()?;
        migration.reach(Stage::Ready, "");
        match migration.verdict().await {
            Verdict::Commit => Ok(()),
            verdict @ Verdict::Abort => Err(settled(verdict)),
        }
    }

    /// On disk before it runs: an agent that finds this starts it.
    pub(in crate::domain) async fn record_arrived(&mut self) -> Result<(), StepError> {
        self.record.intent = Intent::Arrive;
        if let Some(moving) = &mut self.record.moving {
            moving.stage = Moved::Arrived;
        }
        self.write_record().await
    }

    /// It could not be started after all.
    pub(in crate::domain) async fn record_not_arrived(&mut self) -> Result<(), StepError> {
        self.record.intent = Intent::Build;
        if let Some(moving) = &mut self.record.moving {
            moving.stage = Moved::Arriving;
        }
        self.write_record().await
    }
}

async fn pump(
    lanes: &mut Inbound<Box<IncomingStream>>,
    arrival: &mut Arrival,
) -> Result<(), StepError> {
    while let Some(bytes) = lanes.next().await.map_err(broken)? {
        arrival.take(bytes).await.map_err(refused)?;
        if arrival.is_acknowledgement_due() {
            lanes.acknowledge().await.map_err(broken)?;
        }
    }
    Ok(())
}

fn broken(error: LaneError) -> StepError {
    StepError::Transfer(error.to_string())
}

fn refused(error: ArrivalError) -> StepError {
    StepError::Transfer(error.to_string())
}

/// Before it was ready, a verdict can only take it back.
fn settled(verdict: Verdict) -> StepError {
    match verdict {
        Verdict::Abort => StepError::Discarded,
        Verdict::Commit => StepError::Transfer("it was committed before all of it was here".into()),
    }
}
