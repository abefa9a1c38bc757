//! The way off the host.

use std::time::Duration;

use tokio::time::Instant;
use xen_bindings::XenErrorKind;

use super::Site;
use crate::domain::error::StepError;
use crate::domain::tree;

/// How long a destroyed domain may stay listed: until its last page is back.
const GONE_WAIT: Duration = Duration::from_secs(30);
/// How often a dying domain is looked at.
const GONE_POLL: Duration = Duration::from_millis(20);

impl Site {
    /// Tells Xen to end the domain, if it is there and ours.
    pub(in crate::domain) async fn kill(&mut self) -> Result<(), StepError> {
        let Some(domain) = self.domain().await? else { return Ok(()) };
        match self.core.run(move |host| host.xen.control.destroy(domain.domid)).await {
            Err(error) if error.kind() != XenErrorKind::NoSuchDomain => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits until a destroyed domain has given back its last page.
    pub(in crate::domain) async fn await_gone(&mut self) -> Result<(), StepError> {
        let deadline = Instant::now() + GONE_WAIT;
        while self.domain().await?.is_some() {
            if Instant::now() >= deadline {
                let what = "the end of the destroyed domain (does a backend hold its pages?)";
                return Err(StepError::Waited { what: what.into(), limit: GONE_WAIT });
            }
            tokio::time::sleep(GONE_POLL).await;
        }
        Ok(())
    }

    pub(in crate::domain) async fn remove_tree(&mut self) -> Result<(), StepError> {
        let (vm, domid) = (self.record.vm, self.record.domid);
        Ok(self.core.run(move |host| tree::remove(host.xen.store.as_ref(), vm, domid)).await?)
    }
}
