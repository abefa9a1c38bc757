//! The guest's own suspend, and its memory in a file.
//!
//! A guest is asked through `control/shutdown`; that it has suspended is seen in Xen's list alone. Its devices stay as they are:
//! a guest that goes on in the same domain finds them connected.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use xen_bindings::store::{read_text, transact};
use xen_bindings::{DomainInfo, RunState, ShutdownReason, StoreError, StorePath};

use super::Site;
use crate::domain::error::StepError;

/// The word in `control/shutdown`.
const SUSPEND: &str = "suspend";
/// How often a guest that was asked is looked at.
const POLL: Duration = Duration::from_millis(20);

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

    /// Writes the suspended guest's memory; the file has its name only once it is whole.
    pub(in crate::domain) async fn write_saved(&self, file: PathBuf) -> Result<(), StepError> {
        let domid = self.domid()?;
        let _ = (domid, file);
        Err(StepError::Unsupported("saving a VM"))
    }

    pub(in crate::domain) async fn restore_image(&mut self, _: PathBuf) -> Result<(), StepError> {
        Err(StepError::Unsupported("restoring a VM"))
    }

    pub(in crate::domain) async fn remove_saved(&self, _: PathBuf) -> Result<(), StepError> {
        Ok(())
    }
}
