//! A guest's frames mapped into this process.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::{self, NonNull, null_mut};
use std::sync::{Arc, Mutex, PoisonError};

use xenctrl_sys::{xen_pfn_t, xenforeignmemory_handle};

use super::{error, ffi};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::gfn_set::GfnBatch;
use crate::guest_memory::MappedPages;
use crate::stream::image::PageBytes;

const OP_OPEN: &str = "foreignmemory_open";
const OP_MAP: &str = "foreignmemory_map";
const PROT_READ: c_int = 1;
const PAGE_BYTES: usize = size_of::<PageBytes>();

/// The connection that mappings are made through.
pub(super) struct ForeignMemory(Mutex<NonNull<xenforeignmemory_handle>>);

// SAFETY: the library ties a handle to no thread; the mutex sees to one at a time.
unsafe impl Send for ForeignMemory {}
// SAFETY: as above.
unsafe impl Sync for ForeignMemory {}

impl ForeignMemory {
    pub(super) fn open() -> Result<Self, XenError> {
        // SAFETY: no logger means standard error, no flags the usual.
        let handle = unsafe { ffi::xenforeignmemory_open(null_mut(), 0) };
        NonNull::new(handle).map(|handle| Self(Mutex::new(handle))).ok_or_else(|| failure(OP_OPEN))
    }

    /// Maps a batch to read it; frames that cannot be mapped are left out and noted.
    pub(super) fn map(
        self: &Arc<Self>,
        domid: DomId,
        gfns: &GfnBatch,
    ) -> Result<Mapping, XenError> {
        if gfns.is_empty() {
            let empty = XenError::new(OP_MAP, XenErrorKind::Invalid).detail("no frame");
            return Err(empty.domain(domid));
        }
        let list: Vec<xen_pfn_t> = gfns.gfns().iter().map(|gfn| gfn.0).collect();
        let mut errors: Vec<c_int> = vec![0; list.len()];
        let (count, id) = (list.len(), u32::from(domid.get()));
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: both arrays have `count` entries and live through the call.
        let start = unsafe {
            let errors = errors.as_mut_ptr();
            ffi::xenforeignmemory_map(handle.as_ptr(), id, PROT_READ, count, list.as_ptr(), errors)
        };
        // Before anything else may change errno.
        let start = NonNull::new(start).ok_or_else(|| failure(OP_MAP).domain(domid));
        drop(handle);
        Ok(Mapping { memory: Arc::clone(self), start: start?, errors })
    }
}

impl Drop for ForeignMemory {
    fn drop(&mut self) {
        let handle = *self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: opened by us and closed once; mappings keep it open until they are gone.
        unsafe { ffi::xenforeignmemory_close(handle.as_ptr()) };
    }
}

/// Mapped frames. Unmapped when this goes.
pub(super) struct Mapping {
    memory: Arc<ForeignMemory>,
    start: NonNull<c_void>,
    /// 0 for each frame that is mapped.
    errors: Vec<c_int>,
}

// SAFETY: memory that is only read, and unmapped once, by whoever has it last.
unsafe impl Send for Mapping {}

impl MappedPages for Mapping {
    fn count(&self) -> usize {
        self.errors.len()
    }

    fn copy(&self, index: usize, into: &mut PageBytes) -> bool {
        if self.errors.get(index) != Some(&0) {
            return false;
        }
        // SAFETY: the mapping has a page for each entry of `errors`, and `into` is a page of our own. The guest may write meanwhile:
        // the bytes are copied as they come and never referred to where they lie, and a torn page is logged as written to.
        unsafe {
            let page = self.start.as_ptr().cast::<u8>().add(index * PAGE_BYTES);
            ptr::copy_nonoverlapping(page, into.as_mut_ptr(), PAGE_BYTES);
        }
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let handle = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: mapped by us with as many pages, and unmapped once.
        unsafe {
            ffi::xenforeignmemory_unmap(handle.as_ptr(), self.start.as_ptr(), self.errors.len())
        };
    }
}

fn failure(operation: &'static str) -> XenError {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    XenError::new(operation, error::kind(errno))
}
