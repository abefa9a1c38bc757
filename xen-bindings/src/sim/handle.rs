//! A backend over the machine: counts, injects, refuses the dead, then acts.

use std::sync::Arc;

use super::machine::{Inner, State};
use super::ops::Op;
use super::recorder::Call;
use crate::Xen;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::store::StoreError;

/// EIO.
pub(crate) const POWER_LOST: XenErrorKind = XenErrorKind::Other(5);

#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) inner: Arc<Inner>,
    pub(crate) epoch: u64,
}

pub(crate) fn bundle(inner: &Arc<Inner>) -> Xen {
    let epoch = inner.with(|state| state.epoch);
    let handle = Arc::new(Handle { inner: Arc::clone(inner), epoch });
    Xen {
        control: handle.clone(),
        vcpu: handle.clone(),
        memory: handle.clone(),
        host: handle.clone(),
        evtchn: handle.clone(),
        image: handle.clone(),
        guest_memory: handle.clone(),
        guest_state: handle.clone(),
        rings: handle.clone(),
        store: handle,
    }
}

impl Handle {
    /// Runs one of Xen's operations.
    pub(crate) fn xen<T>(
        &self,
        op: Op,
        domid: Option<DomId>,
        work: impl FnOnce(&mut State) -> Result<T, XenErrorKind>,
    ) -> Result<T, XenError> {
        let named = |error: XenError| match domid {
            Some(domid) => error.domain(domid),
            None => error,
        };
        self.admit(op, domid, None).map_err(|fault| named(fault.into_xen(op)))?;
        self.inner
            .with(|state| if state.epoch == self.epoch { work(state) } else { Err(POWER_LOST) })
            .map_err(|kind| named(XenError::new(op.name(), kind)))
    }

    /// Runs one of xenstore's.
    pub(crate) fn store<T>(
        &self,
        op: Op,
        path: &str,
        work: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.admit(op, None, Some(path)).map_err(super::Fault::into_store)?;
        self.inner.with(|state| {
            if state.epoch == self.epoch {
                work(state)
            } else {
                Err(StoreError::Disconnected("the machine lost power".into()))
            }
        })
    }

    /// Records a call; fails when it was ordered to.
    pub(crate) fn admit(
        &self,
        op: Op,
        domid: Option<DomId>,
        path: Option<&str>,
    ) -> Result<(), super::Fault> {
        self.inner.recorder.record(Call { op, domid, path: path.map(str::to_owned) });
        match self.inner.faults.take(op) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }
}
