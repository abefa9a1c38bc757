//! Event channels of other domains.

use xenctrl_sys as xc;

use super::Libxc;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::evtchn::{EventChannels, Port};

impl EventChannels for Libxc {
    fn alloc_unbound(&self, domid: DomId, remote: DomId) -> Result<Port, XenError> {
        const OPERATION: &str = "evtchn_alloc_unbound";
        let port = self.call_domain(OPERATION, domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_evtchn_alloc_unbound(xch, domid, remote.get().into()) }
        })?;
        let port = u32::try_from(port)
            .map_err(|_| XenError::new(OPERATION, XenErrorKind::Other(0)).domain(domid))?;
        Ok(Port(port))
    }
}
