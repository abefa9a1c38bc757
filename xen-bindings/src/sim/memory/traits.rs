//! The traits of a guest's memory and state on the machine.

use std::sync::Arc;
use std::time::Duration;

use super::ram::Ram;
use crate::control::GuestKind;
use crate::cpu_policy::CpuPolicy;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Gfn;
use crate::gfn_set::{GfnBatch, GfnSet};
use crate::guest_memory::{GuestMemory, MappedPages};
use crate::guest_state::GuestState;
use crate::log_dirty::{DirtyCounts, DirtyLog, DirtyLogDriver, Leftover, ReadLog};
use crate::page_type::PageType;
use crate::sim::handle::Handle;
use crate::sim::machine::State;
use crate::sim::ops::Op;
use crate::sim::saved::Zeros;
use crate::sim::timeline::Event;
use crate::stream::image::{HvmParam, PageBytes, TscInfo};

/// The memory of a PVH guest that is there.
fn ram(state: &mut State, domid: DomId) -> Result<&mut Ram, XenErrorKind> {
    let domain = state.hypervisor.get_mut(domid)?;
    match domain.kind {
        _ if domain.dying => Err(XenErrorKind::NoSuchDomain),
        GuestKind::Pv => Err(XenErrorKind::Unsupported),
        GuestKind::Pvh => Ok(&mut domain.ram),
    }
}

impl GuestMemory for Handle {
    fn gfn_end(&self, domid: DomId) -> Result<Gfn, XenError> {
        self.xen(Op::MemoryGfnEnd, Some(domid), |state| Ok(Gfn(ram(state, domid)?.gfn_end())))
    }

    fn page_types(&self, domid: DomId, gfns: &GfnBatch) -> Result<Vec<PageType>, XenError> {
        self.xen(Op::MemoryPageTypes, Some(domid), |state| {
            let ram = ram(state, domid)?;
            let kind = |gfn: &Gfn| if ram.has(gfn.0) { PageType::Normal } else { PageType::Absent };
            Ok(gfns.gfns().iter().map(kind).collect())
        })
    }

    fn map(&self, domid: DomId, gfns: &GfnBatch) -> Result<Box<dyn MappedPages>, XenError> {
        self.xen(Op::MemoryMap, Some(domid), |state| {
            ram(state, domid)?;
            if gfns.is_empty() {
                return Err(XenErrorKind::Invalid);
            }
            state.hypervisor.get_mut(domid)?.mappings += 1;
            Ok(())
        })?;
        Ok(Box::new(Mapped { handle: self.clone(), domid, gfns: gfns.gfns().to_vec() }))
    }

    fn release(&self, domid: DomId, gfns: &GfnBatch) -> Result<(), XenError> {
        self.xen(Op::MemoryRelease, Some(domid), |state| {
            ram(state, domid)?;
            for gfn in gfns.gfns() {
                if !state.hypervisor.release(domid, gfn.0)? {
                    return Err(XenErrorKind::Invalid);
                }
            }
            Ok(())
        })
    }

    fn log_dirty(&self, domid: DomId, leftover: Leftover) -> Result<DirtyLog, XenError> {
        self.xen(Op::LogBegin, Some(domid), |state| {
            if state.hypervisor.get(domid)?.vcpus.is_empty() {
                return Err(XenErrorKind::Invalid);
            }
            let ram = ram(state, domid)?;
            if leftover == Leftover::Replace {
                ram.log_off();
            }
            if ram.log_on() { Ok(()) } else { Err(XenErrorKind::Invalid) }
        })?;
        Ok(DirtyLog::new(Box::new(Log { handle: Arc::new(self.clone()), domid })))
    }

    fn end_log(&self, domid: DomId) -> Result<(), XenError> {
        self.xen(Op::LogEnd, Some(domid), |state| {
            state.hypervisor.get_mut(domid)?.ram.log_off();
            Ok(())
        })
    }
}

struct Mapped {
    handle: Handle,
    domid: DomId,
    gfns: Vec<Gfn>,
}

impl MappedPages for Mapped {
    fn count(&self) -> usize {
        self.gfns.len()
    }

    fn copy(&self, index: usize, into: &mut PageBytes) -> bool {
        let Some(gfn) = self.gfns.get(index) else { return false };
        self.handle.inner.with(|state| {
            let same = state.epoch == self.handle.epoch;
            let domain = state.hypervisor.get_mut(self.domid).ok().filter(|_| same);
            domain.is_some_and(|domain| domain.ram.frames().copy(gfn.0, into))
        })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.handle.inner.with(|state| {
            if state.epoch != self.handle.epoch {
                return;
            }
            let Ok(domain) = state.hypervisor.get_mut(self.domid) else { return };
            domain.mappings = domain.mappings.saturating_sub(1);
            if domain.dying && domain.mappings == 0 {
                state.schedule_in(Event::Release(self.domid.get()), Duration::ZERO);
            }
        });
    }
}

struct Log {
    handle: Arc<Handle>,
    domid: DomId,
}

impl DirtyLogDriver for Log {
    fn read(&mut self, how: ReadLog, frames: &mut GfnSet) -> Result<DirtyCounts, XenError> {
        let domid = self.domid;
        self.handle.xen(Op::LogRead, Some(domid), |state| {
            let ram = ram(state, domid)?;
            let end = Gfn(ram.gfn_end());
            let read = ram.read_log(how);
            *frames = GfnSet::new(end);
            // What was written to and is gone since lies above the end.
            for gfn in read.gfns {
                let _ = frames.insert(Gfn(gfn));
            }
            Ok(read.counts)
        })
    }

    fn counts(&self) -> Result<DirtyCounts, XenError> {
        let domid = self.domid;
        self.handle.xen(Op::LogCounts, Some(domid), |state| {
            Ok(ram(state, domid)?.read_log(ReadLog::Peek).counts)
        })
    }

    fn is_on(&self) -> Result<bool, XenError> {
        let domid = self.domid;
        self.handle.xen(Op::LogRead, Some(domid), |state| Ok(ram(state, domid)?.log_is_on()))
    }

    fn off(&mut self) -> Result<(), XenError> {
        let domid = self.domid;
        self.handle.xen(Op::LogEnd, Some(domid), |state| {
            ram(state, domid)?.log_off();
            Ok(())
        })
    }
}

impl GuestState for Handle {
    fn cpu_policy(&self, domid: DomId) -> Result<CpuPolicy, XenError> {
        self.xen(Op::StateCpuPolicy, Some(domid), |state| state.cpu_policy(domid))
    }

    fn cpu_policy_max(&self) -> Result<CpuPolicy, XenError> {
        self.xen(Op::CpuPolicyMax, None, |state| Ok(state.host_policy()))
    }

    fn tsc(&self, domid: DomId) -> Result<TscInfo, XenError> {
        self.xen(Op::StateTsc, Some(domid), |state| state.tsc(domid))
    }

    fn hvm_context(&self, domid: DomId) -> Result<Vec<u8>, XenError> {
        self.xen(Op::StateHvmContext, Some(domid), |state| {
            ram(state, domid)?;
            state.settle_guest(domid.get());
            state.context(domid, Zeros::Sent)
        })
    }

    fn hvm_params(&self, domid: DomId) -> Result<Vec<HvmParam>, XenError> {
        self.xen(Op::StateHvmParams, Some(domid), |state| {
            ram(state, domid)?;
            state.hvm_params(domid)
        })
    }
}
