//! The guest's own suspend, and its memory in a file.
//!
//! A guest is asked through `control/shutdown`; that it has suspended is seen in Xen's list alone. Its devices stay as they are:
//! a guest that goes on in the same domain finds them connected.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use vmm_core::vm::StopReason;
use vmm_proto::v1::SavedFormat;
use xen_bindings::store::{read_text, transact};
use xen_bindings::{
    DomainInfo, RestoreSpec, RunState, Shell, ShutdownReason, StoreError, StorePath, XenError,
};

use super::Site;
use crate::domain::error::StepError;
use crate::journal::Intent;
use crate::saved::{Control, Restore, Save};

/// The word in `control/shutdown`.
const SUSPEND: &str = "suspend";
/// How often a guest that was asked is looked at.
const POLL: Duration = Duration::from_millis(5);

/// It has suspended itself.
pub(in crate::domain) fn is_suspended(domain: &DomainInfo) -> bool {
    domain.state == RunState::Shutdown(ShutdownReason::Suspend)
}

impl Site {
    pub(in crate::domain) async fn ask_suspend(&self) -> Result<(), StepError> {
        let path = StorePath::domain(self.domid()?).join("control/shutdown")?;
        let ask = move |host: &crate::Backend| host.xen.store.write(&path, SUSPEND.as_bytes());
        Ok(self.core.run(ask).await?)
    }

    pub(in crate::domain) async fn await_suspended(
        &self,
        limit: Duration,
    ) -> Result<(), StepError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.domain().await? {
                Some(domain) if is_suspended(&domain) => return Ok(()),
                Some(domain)
                    if !matches!(domain.state, RunState::Dying | RunState::Shutdown(_)) => {}
                _ => return Err(StepError::GuestEnded),
            }
            if Instant::now() >= deadline {
                let (what, note) = ("suspend".into(), "it runs on");
                return Err(StepError::GuestDidNot { what, limit, note });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets a guest run on: one that has suspended is resumed, one that has not heard the request is not asked any more.
    pub(in crate::domain) async fn go_on(&self) -> Result<(), StepError> {
        let Some(domain) = self.domain().await? else { return Ok(()) };
        let domid = domain.domid;
        let path = StorePath::domain(domid).join("control/shutdown")?;
        let go_on = move |host: &crate::Backend| -> Result<(), StepError> {
            if is_suspended(&domain) {
                host.xen.control.resume(domid)?;
                return Ok(host.xen.store.resume(domid)?);
            }
            let withdraw = transact(host.xen.store.as_ref(), |transaction| {
                match read_text(transaction, &path)?.as_deref() {
                    Some(SUSPEND) => transaction.write(&path, b""),
                    _ => Ok(()),
                }
            });
            match withdraw {
                Err(StoreError::NotFound) => Ok(()),
                outcome => Ok(outcome?),
            }
        };
        self.core.run(go_on).await
    }

    /// What is there already stays: told before anything is asked of the guest.
    pub(in crate::domain) async fn check_file(&self, file: PathBuf) -> Result<(), StepError> {
        let saved = self.core.saved.clone();
        Ok(self.core.run(move |_| saved.check_free(&file)).await?)
    }

    /// Writes the suspended guest's memory; the file has its name only once it is whole.
    pub(in crate::domain) async fn write_saved(
        &self,
        path: PathBuf,
        format: SavedFormat,
    ) -> Result<(), StepError> {
        let saved_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let save = Save {
            vm: self.record.vm,
            spec: self.record.spec.clone(),
            domid: self.domid()?,
            path,
            format,
            saved_at: saved_at.unwrap_or_default(),
        };
        let (saved, control) = (self.core.saved.clone(), self.control());
        let begun = Instant::now();
        let bytes = self.core.run(move |host| saved.save(host, &save, &control)).await?;
        let elapsed_ms = begun.elapsed().as_millis();
        tracing::info!(vm_id = %self.record.vm, bytes, elapsed_ms, "VM saved");
        Ok(())
    }

    /// The VM is in its file, and comes off the host.
    pub(in crate::domain) async fn record_saved(&mut self) -> Result<(), StepError> {
        self.record.intent = Intent::Remove;
        self.record.stop = StopReason::Saved;
        self.record.reason.clear();
        self.write_record().await
    }

    /// Looks at the file first of all: what cannot be restored is told before a domain is made.
    pub(in crate::domain) async fn open_saved(&mut self, file: PathBuf) -> Result<(), StepError> {
        let (saved, vm) = (self.core.saved.clone(), self.record.vm);
        let spec = self.record.spec.clone();
        let open = move |_: &crate::Backend| {
            let file = saved.open(&file, vm)?;
            file.require(&spec).map(|()| file)
        };
        let file = self.core.run(open).await?;
        self.progress.saved_size = Some(file.size());
        self.progress.saved = Some(file);
        Ok(())
    }

    pub(in crate::domain) async fn restore_image(&mut self) -> Result<(), StepError> {
        let (store_port, console_port) =
            self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let file = self.progress.saved.take().ok_or(StepError::OutOfOrder("an open file"))?;
        let (saved, control) = (self.core.saved.clone(), self.control());
        let spec = RestoreSpec { store_port, console_port };
        let restore = move |host: &crate::Backend, shell: &Shell| {
            let into = Restore { shell, spec: &spec };
            saved.restore(host, file, &into, &control).map_err(XenError::from)
        };
        self.progress.built = Some(self.with_shell(restore).await?);
        Ok(())
    }

    /// Ends a transfer when the plan is cancelled.
    fn control(&self) -> Arc<Control> {
        Arc::new(Control::new(self.cancel.clone()))
    }

    /// The file of a VM that ends, unless it is in it: it may have gone on from there, and to go on from there again would tear the
    /// guest from its disks.
    pub(in crate::domain) async fn remove_used(&mut self) -> Result<(), StepError> {
        let file = self.record.saved.clone().filter(|_| self.record.stop != StopReason::Saved);
        let Some(file) = file else { return Ok(()) };
        self.remove_saved(file).await?;
        self.record_saving(None).await
    }

    /// The VM's file, and what an interrupted save has left; another file of that name stays.
    pub(in crate::domain) async fn remove_saved(&self, file: PathBuf) -> Result<(), StepError> {
        let (saved, vm) = (self.core.saved.clone(), self.record.vm);
        Ok(self.core.run(move |_| saved.remove(&file, vm)).await?)
    }
}
