//! A PVH guest's frames.

use std::ffi::{c_int, c_uint};
use std::sync::{Arc, PoisonError};

use xenctrl_sys as xc;
use xenctrl_sys::{xc_interface, xen_pfn_t};

use super::Libxc;
use super::foreign::ForeignMemory;
use super::log_dirty::{self, Log};
use crate::control::{DomainControl, GuestKind, RunState};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Gfn;
use crate::gfn_set::GfnBatch;
use crate::guest_memory::{GuestMemory, MappedPages};
use crate::log_dirty::{DirtyLog, Leftover};
use crate::page_type::PageType;

const OP_TYPES: &str = "get_pfn_type_batch";
const OP_RELEASE: &str = "domain_decrease_reservation_exact";
const OP_LOG: &str = "log_dirty";

#[link(name = "xenctrl")]
unsafe extern "C" {
    /// Exported, but declared in no public header. `frames` are numbers on the way in and types on the way out.
    fn xc_get_pfn_type_batch(
        xch: *mut xc_interface,
        domid: u32,
        count: c_uint,
        frames: *mut xen_pfn_t,
    ) -> c_int;
}

impl GuestMemory for Libxc {
    fn gfn_end(&self, domid: DomId) -> Result<Gfn, XenError> {
        const OPERATION: &str = "domain_nr_gpfns";
        self.require_pvh(OPERATION, domid)?;
        let mut end = 0;
        self.call_domain(OPERATION, domid, |xch, domid| {
            // SAFETY: the out-parameter lives through the call.
            unsafe { xc::xc_domain_nr_gpfns(xch, domid, &raw mut end) }
        })?;
        Ok(Gfn(end))
    }

    fn page_types(&self, domid: DomId, gfns: &GfnBatch) -> Result<Vec<PageType>, XenError> {
        self.require_pvh(OP_TYPES, domid)?;
        let mut frames: Vec<xen_pfn_t> = gfns.gfns().iter().map(|gfn| gfn.0).collect();
        // A batch has at most 1024.
        let count = c_uint::try_from(frames.len()).unwrap_or(c_uint::MAX);
        self.call_domain(OP_TYPES, domid, |xch, domid| {
            // SAFETY: the array has `count` entries, which are overwritten in place.
            unsafe { xc_get_pfn_type_batch(xch, domid, count, frames.as_mut_ptr()) }
        })?;
        frames.into_iter().map(page_type).collect::<Result<_, _>>().map_err(|e| e.domain(domid))
    }

    fn map(&self, domid: DomId, gfns: &GfnBatch) -> Result<Box<dyn MappedPages>, XenError> {
        self.require_pvh("foreignmemory_map", domid)?;
        Ok(Box::new(self.memory()?.map(domid, gfns)?))
    }

    fn release(&self, domid: DomId, gfns: &GfnBatch) -> Result<(), XenError> {
        self.require_pvh(OP_RELEASE, domid)?;
        let mut frames: Vec<xen_pfn_t> = gfns.gfns().iter().map(|gfn| gfn.0).collect();
        let (count, order) = (frames.len() as u64, 0);
        self.call_domain(OP_RELEASE, domid, |xch, domid| {
            // SAFETY: the array has `count` entries and lives through the call.
            unsafe {
                let frames = frames.as_mut_ptr();
                xc::xc_domain_decrease_reservation_exact(xch, domid, count, order, frames)
            }
        })
        .map_err(|error| match error.kind() {
            // Which of them Xen says depends on what the hole was before.
            XenErrorKind::NotFound => error.with_kind(XenErrorKind::Invalid),
            _ => error,
        })?;
        Ok(())
    }

    fn log_dirty(&self, domid: DomId, leftover: Leftover) -> Result<DirtyLog, XenError> {
        self.require_pvh(OP_LOG, domid)?;
        Ok(DirtyLog::new(Box::new(Log::begin(domid, leftover)?)))
    }

    fn end_log(&self, domid: DomId) -> Result<(), XenError> {
        if self.info(domid)?.is_none() {
            return Err(XenError::new(OP_LOG, XenErrorKind::NoSuchDomain).domain(domid));
        }
        log_dirty::end(domid)
    }
}

impl Libxc {
    /// Xen would answer about a PV guest's frames as well, but they are other frames; and of a domain that ends it answers nonsense.
    pub(super) fn require_pvh(
        &self,
        operation: &'static str,
        domid: DomId,
    ) -> Result<(), XenError> {
        let refused = |kind| Err(XenError::new(operation, kind).domain(domid));
        match self.info(domid)? {
            None => refused(XenErrorKind::NoSuchDomain),
            Some(info) if info.state == RunState::Dying => refused(XenErrorKind::NoSuchDomain),
            Some(info) if info.kind == GuestKind::Pv => refused(XenErrorKind::Unsupported),
            Some(_) => Ok(()),
        }
    }

    /// Opened when it is first needed: most processes map nothing.
    fn memory(&self) -> Result<Arc<ForeignMemory>, XenError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = memory.as_ref() {
            return Ok(Arc::clone(memory));
        }
        let opened = Arc::new(ForeignMemory::open()?);
        *memory = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

/// The four bits of a type stand above the frame's lowest 28.
fn page_type(word: xen_pfn_t) -> Result<PageType, XenError> {
    let bits = u8::try_from(word >> xc::XEN_DOMCTL_PFINFO_LTAB_SHIFT & 0xf).unwrap_or(u8::MAX);
    PageType::from_bits(bits).filter(|kind| *kind != PageType::AllocOnly).ok_or_else(|| {
        XenError::new(OP_TYPES, XenErrorKind::Other(0)).detail(format!("type {bits:#x}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_xens_constants() {
        for (word, expect) in [
            (xc::XEN_DOMCTL_PFINFO_NOTAB, Some(PageType::Normal)),
            (xc::XEN_DOMCTL_PFINFO_XTAB, Some(PageType::Absent)),
            (xc::XEN_DOMCTL_PFINFO_BROKEN, Some(PageType::Broken)),
            (xc::XEN_DOMCTL_PFINFO_XALLOC, None),
            (0x5000_0000, None),
        ] {
            assert_eq!(page_type(word.into()).ok(), expect, "{word:#x}");
        }
    }
}
