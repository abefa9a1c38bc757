//! Handles of libxc. Each is used by one thread at a time; a pool stands behind `&self`.

use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use xenctrl_sys::{xc_interface, xc_interface_close, xc_interface_open};

use super::log::Log;
use super::{STEPS, error, ffi};
use crate::error::XenError;

/// Idle handles that are kept open; more may be out at once, one for each calling thread.
const IDLE_MAX: usize = 8;

/// An open `xc_interface` with its own log.
pub(super) struct Handle {
    xch: NonNull<xc_interface>,
    log: Box<Log>,
}

// SAFETY: libxc ties a handle to no particular thread, it only forbids use by two at once; `&mut self` sees to that.
unsafe impl Send for Handle {}

impl Handle {
    pub(super) fn open() -> Result<Self, XenError> {
        const OPERATION: &str = "xc_interface_open";
        let log = Box::new(Log::new());
        clear_errno();
        // SAFETY: the logger lives in a box that is dropped after the handle is closed.
        let xch = unsafe { xc_interface_open(log.as_logger(), log.as_logger(), 0) };
        match NonNull::new(xch) {
            Some(xch) => Ok(Self { xch, log }),
            None => Err(failure(OPERATION, &io::Error::last_os_error(), &log)),
        }
    }

    /// Runs one libxc call; a negative result is a failure, told by errno and by what the library logged.
    pub(super) fn call(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(*mut xc_interface) -> c_int,
    ) -> Result<c_int, XenError> {
        self.log.clear();
        clear_errno();
        let start = Instant::now();
        let result = work(self.xch.as_ptr());
        // errno is read before anything else may change it.
        let errno = io::Error::last_os_error();
        told(operation, start);
        if result < 0 { Err(failure(operation, &errno, &self.log)) } else { Ok(result) }
    }

    /// As [`Handle::call`], for what answers a pointer.
    pub(super) fn call_pointer<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(*mut xc_interface) -> *mut T,
    ) -> Result<NonNull<T>, XenError> {
        let mut answer = None;
        self.call(operation, |xch| {
            answer = NonNull::new(work(xch));
            if answer.is_some() { 0 } else { -1 }
        })?;
        answer.ok_or_else(|| failure(operation, &io::Error::last_os_error(), &self.log))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: opened by us and closed once; nobody else has the pointer.
        unsafe { xc_interface_close(self.xch.as_ptr()) };
    }
}

/// Tells the subscriber of [`STEPS`], if there is one, how long a step took.
pub(super) fn told(operation: &'static str, start: Instant) {
    let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::trace!(target: STEPS, operation, elapsed_us, "step");
}

fn clear_errno() {
    // SAFETY: libc's own pointer to this thread's errno.
    unsafe { *ffi::__errno_location() = 0 };
}

fn failure(operation: &'static str, errno: &io::Error, log: &Log) -> XenError {
    let errno = errno.raw_os_error().unwrap_or(0);
    XenError::new(operation, error::kind(errno)).detail(log.text())
}

/// A pool of handles.
pub(super) struct Handles {
    idle: Mutex<Vec<Handle>>,
}

impl Handles {
    /// Opens the first handle, so that a host without Xen is told at once.
    pub(super) fn open() -> Result<Self, XenError> {
        Ok(Self { idle: Mutex::new(vec![Handle::open()?]) })
    }

    /// Lends a handle to one piece of work.
    pub(super) fn lend<T>(&self, work: impl FnOnce(&mut Handle) -> T) -> Result<T, XenError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut handle = match idle {
            Some(handle) => handle,
            None => Handle::open()?,
        };
        let result = work(&mut handle);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(handle);
        }
        Ok(result)
    }
}
