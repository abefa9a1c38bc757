//! Shared rings, through grants that dom0's backend maps already.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::{Mutex, PoisonError};

use super::{Libxc, error, ffi};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::shared_ring::{GrantRef, RingCounters, SharedRings};

const OP_OPEN: &str = "gnttab_open";
const OP_MAP: &str = "gnttab_map_grant_ref";
const PROT_READ: c_int = 1;
/// Where the counters are in the header of every ring, in words of 32 bits: requests, an event index, responses.
const REQUESTS: usize = 0;
const RESPONSES: usize = 2;

/// The connection that grants are mapped through. Opened when somebody first looks at a ring.
#[derive(Default)]
pub(super) struct GrantTable(Mutex<Option<Connection>>);

struct Connection(NonNull<ffi::xengntdev_handle>);

// SAFETY: the library ties a handle to no thread; the mutex sees to one at a time.
unsafe impl Send for Connection {}

impl Connection {
    fn open() -> Result<Self, XenError> {
        // SAFETY: no logger means standard error, no flags the usual.
        let handle = unsafe { ffi::xengnttab_open(null_mut(), 0) };
        NonNull::new(handle).map(Self).ok_or_else(|| failure(OP_OPEN))
    }

    fn counters(&self, domid: DomId, grant: GrantRef) -> Result<RingCounters, XenError> {
        let (handle, id) = (self.0.as_ptr(), u32::from(domid.get()));
        // SAFETY: plain numbers; the handle is open.
        let page = unsafe { ffi::xengnttab_map_grant_ref(handle, id, grant.0, PROT_READ) };
        let page = NonNull::new(page).ok_or_else(|| failure(OP_MAP).domain(domid))?;
        // SAFETY: a whole page is mapped, aligned as pages are. The guest may write meanwhile: each word is copied once, and not referred to.
        let word = |index: usize| unsafe { page.as_ptr().cast::<u32>().add(index).read_volatile() };
        // Responses first: what is answered in between counts as under way.
        let responses = word(RESPONSES);
        let counters = RingCounters { requests: word(REQUESTS), responses };
        // SAFETY: mapped above as one page, and unmapped once.
        unsafe { ffi::xengnttab_unmap(handle, page.as_ptr().cast::<c_void>(), 1) };
        Ok(counters)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened by us and closed once; nothing is mapped through it between calls.
        unsafe { ffi::xengnttab_close(self.0.as_ptr()) };
    }
}

impl SharedRings for Libxc {
    fn ring_counters(&self, domid: DomId, grant: GrantRef) -> Result<RingCounters, XenError> {
        let mut connection = self.grants.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match connection.take() {
            Some(open) => open,
            None => Connection::open()?,
        };
        connection.insert(open).counters(domid, grant)
    }
}

fn failure(operation: &'static str) -> XenError {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let kind = if errno == 0 { XenErrorKind::Invalid } else { error::kind(errno) };
    XenError::new(operation, kind)
}
