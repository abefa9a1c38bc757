//! vCPUs, memory, disks and NICs of a running guest: ask, wait, and report what the guest really did.
//!
//! ```text
//!   set_*   check, raise Xen's limits where needed, ask through xenstore ─► Pending
//!   check_* what Xen sees now: reached ─► answer;  out of time ─► settle what was asked on what is so, answer with a note
//! ```
//!
//! Disks and NICs are plugged by plans ([`devices`]). For vCPUs and memory, a guest that does nothing fails no request: the answer says what is so. After a growth that did not happen, the question is
//! withdrawn, so that the guest cannot take later what nobody reserves for it any more.

mod devices;
mod memory;
mod vcpus;

pub(crate) use memory::{MemoryAct, MemoryWait};
pub(crate) use vcpus::VcpuWait;

use std::time::Duration;

use xen_bindings::{DomainInfo, XenErrorKind};

use super::error::StepError;
use super::runner::Runner;

/// How often a guest is looked at while something is waited for.
const POLL: Duration = Duration::from_millis(200);

impl Runner {
    /// The domain now.
    async fn info(&self) -> Result<DomainInfo, StepError> {
        let domid = self.site.domid()?;
        let info = self.core().run(move |host| host.xen.control.info(domid)).await?;
        info.ok_or_else(|| {
            xen_bindings::XenError::new("domain_info", XenErrorKind::NoSuchDomain)
                .domain(domid)
                .into()
        })
    }
}
