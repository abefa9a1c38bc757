//! One VM's place on the host: what it has there so far, and the steps that change that.
//!
//! ```text
//!   shell      a domain: created, given vCPUs, limits, scheduling, ports
//!   image      a guest in it: built or restored, its tree, introduced, running
//!   disks      images opened: leases, loop devices; strangers: who else has them
//!   devices    frontends and backends: described, met, parted
//!   suspend    the guest's own suspend, and its memory in a file
//!   end        the way off the host
//! ```
//!
//! Each step is one blocking piece of work, or one wait. Steps that take something back are harmless when there is nothing, so
//! that they serve the undo of a build, the end of a VM and the search after a crash alike.

mod devices;
mod disks;
mod end;
mod image;
mod shell;
mod strangers;
mod suspend;

pub(super) use shell::{apply_scheduling, xen_kind};
pub(super) use suspend::is_suspended;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::units::Kib;
use vmm_core::vm::StopReason;
use xen_bindings::{BuiltGuest, DomId, DomainInfo, Port, Shell, VcpulessDomain, XenError};

use super::error::StepError;
use super::migration::Migration;
use super::migration::destination::Arriving;
use super::tree;
use crate::core::Core;
use crate::device::vbd::BlockTarget;
use crate::journal::{Intent, Record};
use crate::migrate::Sent;
use crate::saved::{SavedFile, Size};

use super::shells::Ready;

/// What an event channel pair, a shell and a built guest become on the way.
#[derive(Default)]
pub(super) struct Progress {
    vcpuless: Option<VcpulessDomain>,
    pub(super) shell: Option<Shell>,
    pub(super) ports: Option<(Port, Port)>,
    pub(super) built: Option<BuiltGuest>,
    /// The file that it is restored from, until it is read.
    saved: Option<SavedFile>,
    /// What the guest had when it was saved.
    saved_size: Option<Size>,
}

/// One VM's place on the host.
pub(crate) struct Site {
    pub(crate) core: Arc<Core>,
    /// As it is on disk, or will be with the next write.
    pub(crate) record: Record,
    pub(super) progress: Progress,
    /// A shell to be taken.
    spare: Option<Ready>,
    /// It comes from another host.
    pub(super) arriving: Option<Arriving>,
    /// It goes to another host.
    pub(super) leaving: Option<Arc<Migration>>,
    /// How the sending of it went, and when its guest stood still.
    pub(super) sent: Option<(Sent, Instant)>,
    /// Of the plan under way.
    pub(super) cancel: CancellationToken,
    /// What dom0 has behind each disk, by its name in the guest.
    targets: BTreeMap<String, BlockTarget>,
}

impl Site {
    pub(crate) fn new(core: Arc<Core>, record: Record) -> Self {
        let (progress, targets) = (Progress::default(), BTreeMap::new());
        Self {
            core,
            record,
            progress,
            spare: None,
            arriving: None,
            leaving: None,
            sent: None,
            cancel: CancellationToken::new(),
            targets,
        }
    }

    pub(crate) async fn write_record(&self) -> Result<(), StepError> {
        Ok(self.core.record(&self.record).await?)
    }

    /// Says on disk what comes, before it comes.
    pub(super) async fn record_intent(&mut self, intent: Intent) -> Result<(), StepError> {
        self.record.domid = None;
        self.record.images.clear();
        self.record.intent = intent;
        self.progress = Progress::default();
        self.write_record().await
    }

    pub(super) async fn record_running(&mut self) -> Result<(), StepError> {
        self.record.intent = Intent::Run;
        // Why it stopped before says nothing of its next end.
        self.record.stop = StopReason::Failed;
        self.write_record().await
    }

    /// Whatever is found from here on is half a VM again.
    pub(super) async fn record_not_running(&mut self) -> Result<(), StepError> {
        self.record.intent = Intent::Build;
        self.write_record().await
    }

    /// The file that is being written with the VM's memory, or that it goes on from: of a VM that runs, it must go.
    pub(super) async fn record_saving(&mut self, file: Option<PathBuf>) -> Result<(), StepError> {
        self.record.saved = file;
        self.write_record().await
    }

    /// What the guest has when it begins to run: as it boots, or as it was when it was saved or sent.
    fn size(&self) -> (Kib, u32) {
        match (&self.progress.saved_size, &self.arriving) {
            (Some(saved), _) => (saved.memory, saved.vcpus_online),
            (None, Some(arriving)) => (arriving.memory, arriving.vcpus_online),
            (None, None) => (self.record.spec.memory, self.record.spec.vcpus),
        }
    }

    /// The domain, once it is created.
    pub(crate) fn domid(&self) -> Result<DomId, StepError> {
        self.record.domid.ok_or(StepError::OutOfOrder("the domain"))
    }

    /// Our domain, by its number and the VM's handle; `None` when it is gone.
    pub(crate) async fn domain(&self) -> Result<Option<DomainInfo>, StepError> {
        let Some(domid) = self.record.domid else { return Ok(None) };
        let info = self.core.run(move |host| host.xen.control.info(domid)).await?;
        Ok(info.filter(|info| info.handle.0 == self.record.vm.bytes()))
    }

    /// Does xenstore know the VM's domain as such?
    pub(crate) async fn is_described(&self) -> Result<bool, StepError> {
        let (vm, domid) = (self.record.vm, self.domid()?);
        Ok(self.core.run(move |h| tree::names_owner(h.xen.store.as_ref(), vm, domid)).await?)
    }

    /// Runs one step on the shell.
    async fn with_shell<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&crate::Backend, &Shell) -> Result<T, XenError> + Send + 'static,
    ) -> Result<T, StepError> {
        let shell = self.progress.shell.take().ok_or(StepError::OutOfOrder("the shell"))?;
        let step = move |host: &crate::Backend| (work(host, &shell), shell);
        let (outcome, shell) = self.core.run(step).await;
        self.progress.shell = Some(shell);
        Ok(outcome?)
    }
}
