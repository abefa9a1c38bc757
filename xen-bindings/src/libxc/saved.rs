//! A suspended guest into a stream, and out of one: libxenguest's own save and restore.
//!
//! The stream is read and written by C: the caller gives a blocking descriptor, and runs a restore of what it does not trust
//! where an abort of the process harms nobody. Devices are not in the stream; they are plugged again.

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use super::{Libxc, ffi};
use crate::control::{DomainControl, GuestKind};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Gfn;
use crate::guest_image::{BuiltGuest, GIVEN_UP, Next, Precopy, RestoreSpec, SavePilot};
use crate::host::HostInfo;
use crate::vcpu::Shell;

const OP_SAVE: &str = "domain_save";
const OP_RESTORE: &str = "domain_restore";
const PLAIN: ffi::xc_stream_type_t = ffi::xc_stream_type_t_XC_STREAM_PLAIN;
/// Plain streams go one way.
const NO_CHANNEL: c_int = -1;
/// Neither live nor verified: the guest is suspended.
const NO_FLAGS: u32 = 0;
/// `XCFLAGS_LIVE`.
const LIVE: u32 = 1;
/// `XGS_POLICY_CONTINUE_PRECOPY`, `XGS_POLICY_STOP_AND_COPY`, `XGS_POLICY_ABORT`.
const POLICY: [c_int; 3] = [0, 1, -1];
const DOM0: u32 = 0;

const ENOSPC: i32 = 28;
/// EIO, EBADF, EISDIR, EPIPE, ECONNRESET, ETIMEDOUT: the stream itself could not be read.
const UNREADABLE: [i32; 6] = [5, 9, 21, 32, 104, 110];

impl Libxc {
    pub(super) fn save_guest(&self, domid: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError> {
        self.require_suspended(OP_SAVE, domid)?;
        self.save_with(domid, stream, NO_FLAGS, save_callbacks())
    }

    pub(super) fn save_live_guest(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        let refuse = |kind| XenError::new(OP_SAVE, kind).domain(domid);
        let info = self.info(domid)?.ok_or_else(|| refuse(XenErrorKind::NoSuchDomain))?;
        // libxenguest would say that an argument is invalid, once it has begun to write.
        if info.kind == GuestKind::Pv && !self.physinfo()?.shadow {
            return Err(refuse(XenErrorKind::Unsupported)
                .detail("this Xen has no shadow paging: what a PV guest writes is not logged"));
        }
        let mut steered = Steered { pilot, has_given_up: false };
        let data = (&raw mut steered).cast();
        let callbacks = ffi::save_callbacks {
            suspend: Some(suspend),
            precopy_policy: Some(next),
            data,
            ..save_callbacks()
        };
        let saved = self.save_with(domid, stream, LIVE, callbacks);
        // libxenguest has no errno for it.
        saved.map_err(|error| if steered.has_given_up { error.with_kind(GIVEN_UP) } else { error })
    }

    /// What the callbacks take as data lives through the call.
    fn save_with(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        flags: u32,
        mut callbacks: ffi::save_callbacks,
    ) -> Result<(), XenError> {
        let descriptor = stream.as_raw_fd();
        self.call_domain(OP_SAVE, domid, |xch, domid| {
            let callbacks = &raw mut callbacks;
            // SAFETY: the descriptor, the callbacks and what they take as data live through the call.
            unsafe {
                #[rustfmt::skip]
                let result = ffi::xc_domain_save(xch, descriptor, domid, flags, callbacks, PLAIN, NO_CHANNEL);
                result
            }
        })
        .map_err(|error| match error.kind() {
            // The file system is full, not a table of the domain.
            XenErrorKind::Exhausted => error.with_kind(XenErrorKind::Other(ENOSPC)),
            _ => error,
        })?;
        Ok(())
    }

    pub(super) fn restore_guest(
        &self,
        shell: &Shell,
        stream: BorrowedFd<'_>,
        spec: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError> {
        // The stream brings the time stamp counter, but not the timer mode.
        self.set_clocks(shell)?;
        let domid = shell.domid();
        let (mut store, mut console) = (0, 0);
        let mut callbacks = restore_callbacks();
        let descriptor = stream.as_raw_fd();
        let (store_port, console_port) = (spec.store_port.0, spec.console_port.0);
        self.call_domain(OP_RESTORE, domid, |xch, domid| {
            let (store, console, callbacks) = (&raw mut store, &raw mut console, &raw mut callbacks);
            // SAFETY: the descriptor, the out-parameters and the callbacks live through the call; the callbacks take no data.
            unsafe {
                #[rustfmt::skip]
                let result = ffi::xc_domain_restore(
                    xch, descriptor, domid, store_port, store, DOM0, console_port, console, DOM0, PLAIN, callbacks,
                    NO_CHANNEL,
                );
                result
            }
        })
        .map_err(|error| self.explain_restore(error, domid))?;
        if store == 0 || console == 0 {
            return Err(XenError::new(OP_RESTORE, XenErrorKind::BadImage)
                .domain(domid)
                .detail("the stream names no rings"));
        }
        Ok(BuiltGuest { store_gfn: Gfn(store), console_gfn: Gfn(console) })
    }

    /// Whose fault it is. Populating fails with EBUSY for a full host and for a full shell alike.
    fn explain_restore(&self, error: XenError, domid: DomId) -> XenError {
        if error.kind() != XenErrorKind::Busy {
            return blame_stream(error);
        }
        let full = |info: &crate::DomainInfo| info.pages.kib() >= info.memory_max_kib;
        match self.info(domid) {
            Ok(Some(info)) if full(&info) => error.with_kind(XenErrorKind::BadImage),
            _ => error.with_kind(XenErrorKind::OutOfMemory),
        }
    }
}

/// libxenguest gives no errno for a stream that ends early, and Xen's EINVAL and others mean contents that do not fit.
fn blame_stream(error: XenError) -> XenError {
    match error.kind() {
        XenErrorKind::OutOfMemory
        | XenErrorKind::PermissionDenied
        | XenErrorKind::NoSuchDomain
        | XenErrorKind::Busy => error,
        XenErrorKind::Other(errno) if UNREADABLE.contains(&errno) => error,
        _ => error.with_kind(XenErrorKind::BadImage),
    }
}

/// Of a guest that is suspended already.
fn save_callbacks() -> ffi::save_callbacks {
    ffi::save_callbacks {
        suspend: Some(is_suspended),
        precopy_policy: None,
        postcopy: None,
        checkpoint: None,
        wait_checkpoint: None,
        // Asserted by libxenguest for every HVM container, PVH too.
        switch_qemu_logdirty: Some(no_device_model),
        data: null_mut(),
    }
}

/// What the callbacks of a live save take as data.
struct Steered<'a> {
    pilot: &'a mut dyn SavePilot,
    has_given_up: bool,
}

fn restore_callbacks() -> ffi::restore_callbacks {
    ffi::restore_callbacks {
        static_data_done: Some(has_cpu_policy),
        suspend: None,
        postcopy: None,
        checkpoint: None,
        wait_checkpoint: None,
        restore_results: None,
        data: null_mut(),
    }
}

// Nothing below may panic: C calls it. A panic of a pilot's ends the process.

unsafe extern "C" fn next(stats: ffi::precopy_stats, data: *mut c_void) -> c_int {
    // SAFETY: `save_live_guest` gives it, and waits for the save; libxenguest asks on its caller's thread, one question at a time.
    let steered = unsafe { &mut *data.cast::<Steered<'_>>() };
    let next = steered.pilot.next(precopy(stats));
    steered.has_given_up |= next == Next::GiveUp;
    let [another, stop, abort] = POLICY;
    match next {
        Next::Round => another,
        Next::Stop => stop,
        Next::GiveUp => abort,
    }
}

fn precopy(stats: ffi::precopy_stats) -> Precopy {
    Precopy {
        rounds: stats.iteration,
        sent_pages: stats.total_written,
        // -1 when it is not known.
        dirty_pages: u64::try_from(stats.dirty_count).ok(),
    }
}

/// Not 0 once it is suspended.
unsafe extern "C" fn suspend(data: *mut c_void) -> c_int {
    // SAFETY: as in `next`.
    let steered = unsafe { &mut *data.cast::<Steered<'_>>() };
    let is_suspended = steered.pilot.suspend();
    steered.has_given_up |= !is_suspended;
    c_int::from(is_suspended)
}

/// Not 0: the guest is suspended, which libxenguest then checks by itself.
unsafe extern "C" fn is_suspended(_: *mut c_void) -> c_int {
    1
}

unsafe extern "C" fn no_device_model(_: u32, _: c_uint, _: *mut c_void) -> c_int {
    0
}

/// Streams of Xen 4.14 and later carry CPUID and MSR policies; a guest without them would meet another processor.
unsafe extern "C" fn has_cpu_policy(missing: c_uint, _: *mut c_void) -> c_int {
    if missing == 0 { 0 } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restore_fails_with_names_the_culprit() {
        for (kind, told) in [
            (XenErrorKind::Other(0), XenErrorKind::BadImage),
            (XenErrorKind::Invalid, XenErrorKind::BadImage),
            (XenErrorKind::Other(7), XenErrorKind::BadImage),
            (XenErrorKind::Other(5), XenErrorKind::Other(5)),
            (XenErrorKind::OutOfMemory, XenErrorKind::OutOfMemory),
            (XenErrorKind::NoSuchDomain, XenErrorKind::NoSuchDomain),
        ] {
            assert_eq!(blame_stream(XenError::new(OP_RESTORE, kind)).kind(), told, "{kind:?}");
        }
    }

    #[test]
    fn a_pilot_is_asked_with_what_is_known_and_its_answers_are_libxenguests() {
        struct Script(Vec<Next>, Vec<Precopy>);

        impl SavePilot for Script {
            fn next(&mut self, at: Precopy) -> Next {
                self.1.push(at);
                self.0.remove(0)
            }

            fn suspend(&mut self) -> bool {
                self.0.is_empty()
            }
        }

        let mut script = Script(vec![Next::Round, Next::Stop, Next::GiveUp], Vec::new());
        let mut steered = Steered { pilot: &mut script, has_given_up: false };
        let data: *mut c_void = (&raw mut steered).cast();
        for (dirty_count, answer) in [(7, 0), (-1, 1), (0, -1)] {
            let stats = ffi::precopy_stats { iteration: 2, total_written: 9, dirty_count };
            // SAFETY: the data is what the callback takes.
            assert_eq!(unsafe { next(stats, data) }, answer);
        }
        // SAFETY: as above.
        assert_eq!(unsafe { suspend(data) }, 1);
        assert!(steered.has_given_up);
        let dirty: Vec<_> = script.1.iter().map(|at| at.dirty_pages).collect();
        assert_eq!(dirty, [Some(7), None, Some(0)]);
        assert!(script.1.iter().all(|at| (at.rounds, at.sent_pages) == (2, 9)));
    }

    #[test]
    fn a_stream_without_cpu_policies_is_refused() {
        for (missing, answer) in [(0, 0), (1, -1), (2, -1), (3, -1)] {
            // SAFETY: the data is not used.
            assert_eq!(unsafe { has_cpu_policy(missing, null_mut()) }, answer);
        }
    }
}
