//! Xen's log of the frames that a domain writes to.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{NonNull, null_mut};
use std::slice;

use xenctrl_sys as xc;

use super::handle::Handle;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Gfn;
use crate::gfn_set::GfnSet;
use crate::log_dirty::{DirtyCounts, DirtyLogDriver, Leftover, ReadLog};

const OPERATION: &str = "log_dirty";
const BITS_PER_PAGE: u64 = 8 * 4096;
/// `HYPERCALL_BUFFER_INIT_NO_BOUNCE`: the buffer is Xen's own and copied from nowhere.
const NO_BOUNCE: *mut c_void = std::ptr::without_provenance_mut(usize::MAX);

/// A log that is on, with a handle of its own: its buffer belongs to that.
pub(super) struct Log {
    domid: DomId,
    /// Before the handle, which it needs to go.
    bitmap: Option<Bitmap>,
    handle: std::cell::RefCell<Handle>,
}

/// Switches off whatever log is on.
pub(super) fn end(domid: DomId) -> Result<(), XenError> {
    let log = Log { domid, bitmap: None, handle: Handle::open()?.into() };
    match log.control(xc::XEN_DOMCTL_SHADOW_OP_OFF) {
        Err(error) if error.kind() == XenErrorKind::NoSuchDomain => Err(error),
        // Each kind of guest has its own word for a log that was not on.
        _ => Ok(()),
    }
}

impl Log {
    pub(super) fn begin(domid: DomId, leftover: Leftover) -> Result<Self, XenError> {
        let log = Self { domid, bitmap: None, handle: Handle::open()?.into() };
        if leftover == Leftover::Replace {
            // When none was on, that is no matter.
            let _ = log.control(xc::XEN_DOMCTL_SHADOW_OP_OFF);
        }
        log.control(xc::XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY)?;
        Ok(log)
    }

    fn call(
        &self,
        work: impl FnOnce(*mut xc::xc_interface, u32) -> c_int,
    ) -> Result<c_int, XenError> {
        let domid = u32::from(self.domid.get());
        let mut handle = self.handle.borrow_mut();
        handle.call(OPERATION, |xch| work(xch, domid)).map_err(|error| error.domain(self.domid))
    }

    fn control(&self, operation: c_uint) -> Result<(), XenError> {
        self.call(|xch, domid| {
            // SAFETY: plain integers; these operations want no size of a pool.
            unsafe { xc::xc_shadow_control(xch, domid, operation, null_mut(), 0) }
        })?;
        Ok(())
    }

    /// Xen answers about a domain that ends as if nothing was ever written.
    fn require_alive(&self) -> Result<(), XenError> {
        let mut raw = xc::xc_domaininfo_t::default();
        let found = self.call(|xch, domid| {
            // SAFETY: room for one entry, which lives through the call.
            unsafe { xc::xc_domain_getinfolist(xch, domid, 1, &raw mut raw) }
        })?;
        let same = found == 1 && raw.domain == self.domid.get();
        if same && raw.flags & xc::XEN_DOMINF_dying == 0 {
            return Ok(());
        }
        Err(XenError::new(OPERATION, XenErrorKind::NoSuchDomain).domain(self.domid))
    }

    fn gfn_end(&self) -> Result<u64, XenError> {
        let mut end = 0;
        self.call(|xch, domid| {
            // SAFETY: the out-parameter lives through the call.
            unsafe { xc::xc_domain_nr_gpfns(xch, domid, &raw mut end) }
        })?;
        Ok(end)
    }

    /// One reading, into `bitmap` or of the counts alone.
    fn ask(
        &self,
        operation: c_uint,
        mode: c_uint,
        bitmap: Option<(&Bitmap, u64)>,
    ) -> Result<DirtyCounts, XenError> {
        let mut counts = xc::xc_shadow_op_stats_t::default();
        let mut buffer = bitmap.map_or_else(no_buffer, |(bitmap, _)| bitmap.raw);
        let pages = bitmap.map_or(0, |(_, end)| end);
        let mut covered = 0;
        self.call(|xch, domid| {
            let (buffer, counts) = (&raw mut buffer, &raw mut counts);
            // SAFETY: the buffer has a bit for each of `pages` or, for none, is empty; both parameters live through the call.
            covered = unsafe {
                xc::xc_logdirty_control(xch, domid, operation, buffer, pages, mode, counts)
            };
            if covered < 0 { -1 } else { 0 }
        })?;
        if u64::try_from(covered) != Ok(pages) {
            let detail = format!("it covers {covered} of {pages} frames");
            let error = XenError::new(OPERATION, XenErrorKind::Other(0)).domain(self.domid);
            return Err(error.detail(detail));
        }
        Ok(DirtyCounts { faults: counts.fault_count, dirty: counts.dirty_count })
    }

    /// A bitmap with a bit for each frame below `end`, cleared.
    fn prepare(&mut self, end: u64) -> Result<&Bitmap, XenError> {
        let pages = end.div_ceil(BITS_PER_PAGE).max(1);
        let fits = self.bitmap.as_ref().is_some_and(|bitmap| bitmap.pages >= pages);
        if !fits {
            self.release_bitmap();
            let mut handle = self.handle.borrow_mut();
            let allocated = Bitmap::allocate(&mut handle, pages);
            self.bitmap = Some(allocated.map_err(|error| error.domain(self.domid))?);
        }
        let missing = || XenError::new(OPERATION, XenErrorKind::OutOfMemory).domain(self.domid);
        let bitmap = self.bitmap.as_mut().ok_or_else(missing)?;
        bitmap.words_mut().fill(0);
        Ok(bitmap)
    }

    fn release_bitmap(&mut self) {
        if let Some(bitmap) = self.bitmap.take() {
            bitmap.free(self.handle.get_mut());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.release_bitmap();
    }
}

impl DirtyLogDriver for Log {
    fn read(&mut self, how: ReadLog, frames: &mut GfnSet) -> Result<DirtyCounts, XenError> {
        let (operation, mode) = match how {
            ReadLog::Clean => (xc::XEN_DOMCTL_SHADOW_OP_CLEAN, 0),
            ReadLog::CleanFinal => {
                (xc::XEN_DOMCTL_SHADOW_OP_CLEAN, xc::XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL)
            }
            ReadLog::Peek => (xc::XEN_DOMCTL_SHADOW_OP_PEEK, 0),
        };
        // Asked each time: memory may have been plugged in at the top.
        let end = self.gfn_end()?;
        self.prepare(end)?;
        let bitmap = self.bitmap.as_ref();
        let counts = self.ask(operation, mode, bitmap.map(|bitmap| (bitmap, end)))?;
        // Afterwards: what was said of a domain that had begun to end by then is not used.
        self.require_alive()?;
        frames.copy_from(bitmap.map_or(&[], Bitmap::words), Gfn(end));
        Ok(counts)
    }

    fn counts(&self) -> Result<DirtyCounts, XenError> {
        let counts = self.ask(xc::XEN_DOMCTL_SHADOW_OP_PEEK, 0, None)?;
        self.require_alive()?;
        Ok(counts)
    }

    fn is_on(&self) -> Result<bool, XenError> {
        self.require_alive()?;
        // The only question that Xen has for it: to begin a log that is on is refused.
        match self.control(xc::XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY) {
            Err(error) if error.kind() == XenErrorKind::Invalid => Ok(true),
            Err(error) => Err(error),
            Ok(()) => {
                self.control(xc::XEN_DOMCTL_SHADOW_OP_OFF)?;
                Ok(false)
            }
        }
    }

    fn off(&mut self) -> Result<(), XenError> {
        self.control(xc::XEN_DOMCTL_SHADOW_OP_OFF)
    }
}

/// A bitmap that Xen writes to: memory that stays where it is.
struct Bitmap {
    raw: xc::xc_hypercall_buffer_t,
    start: NonNull<u64>,
    pages: u64,
}

// SAFETY: memory of this process that nobody else has, freed through the handle that it goes along with.
unsafe impl Send for Bitmap {}

impl Bitmap {
    fn allocate(handle: &mut Handle, pages: u64) -> Result<Self, XenError> {
        let too_many = |_| XenError::new(OPERATION, XenErrorKind::OutOfMemory);
        let count = c_int::try_from(pages).map_err(too_many)?;
        let mut raw = no_buffer();
        let start = handle.call_pointer("hypercall_buffer_alloc_pages", |xch| {
            // SAFETY: the description is filled in by the call and kept by us.
            unsafe { xc::xc__hypercall_buffer_alloc_pages(xch, &raw mut raw, count) }
        })?;
        Ok(Self { raw, start: start.cast(), pages })
    }

    fn words(&self) -> &[u64] {
        // SAFETY: so many pages, aligned to a page, ours alone: Xen writes only within a call that borrows `self` as well.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len()) }
    }

    fn len(&self) -> usize {
        usize::try_from(self.pages * (BITS_PER_PAGE / u64::from(u64::BITS))).unwrap_or(0)
    }

    fn free(mut self, handle: &mut Handle) {
        let pages = c_int::try_from(self.pages).unwrap_or(0);
        // It answers nothing that could be told.
        let _ = handle.call("hypercall_buffer_free_pages", |xch| {
            // SAFETY: allocated by us through this handle, with as many pages, and freed once.
            unsafe { xc::xc__hypercall_buffer_free_pages(xch, &raw mut self.raw, pages) };
            0
        });
    }
}

fn no_buffer() -> xc::xc_hypercall_buffer_t {
    xc::xc_hypercall_buffer_t { ubuf: NO_BOUNCE, ..Default::default() }
}
