//! What libxc and libxenguest say while they fail.
//!
//! A logger is C's vtable followed by our own data; libxc calls it with a pointer to the vtable, on the thread that is inside
//! libxc. Rust cannot read a `va_list`, but can pass it on to `vsnprintf`.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use xenctrl_sys::{__va_list_tag, vsnprintf};

use super::ffi;

/// Lines kept for one call. The first ones are kept: they are nearest to the cause.
const LINES_MAX: usize = 8;
/// Bytes kept of one line, with the NUL.
const LINE_BYTES_MAX: usize = 256;
/// `XTL_WARN`; what is below it is chatter.
const LEVEL_MIN: ffi::xentoollog_level = 7;

/// A logger that collects lines. `vtable` must stay the first field.
#[repr(C)]
pub(super) struct Log {
    vtable: ffi::xentoollog_logger,
    lines: Mutex<Vec<String>>,
}

impl Log {
    pub(super) fn new() -> Self {
        let vtable =
            ffi::xentoollog_logger { vmessage: Some(collect), progress: None, destroy: None };
        Self { vtable, lines: Mutex::new(Vec::new()) }
    }

    /// What libxc takes as a logger. libxc only reads the vtable; it must not outlive `self`.
    pub(super) fn as_logger(&self) -> *mut xenctrl_sys::xentoollog_logger {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Forgets what earlier calls said.
    pub(super) fn clear(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What was said since, on one line.
    pub(super) fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("; ")
    }

    fn push(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(line.trim_end().to_owned());
        }
    }
}

unsafe extern "C" fn collect(
    logger: *mut ffi::xentoollog_logger,
    level: ffi::xentoollog_level,
    _errno: c_int,
    _context: *const c_char,
    format: *const c_char,
    arguments: *mut __va_list_tag,
) {
    if level < LEVEL_MIN {
        return;
    }
    let mut buffer = [0_u8; LINE_BYTES_MAX];
    let (start, length) = (buffer.as_mut_ptr(), LINE_BYTES_MAX as std::ffi::c_ulong);
    // SAFETY: the buffer has the stated length; format and arguments belong together, as libxentoollog promises.
    unsafe { vsnprintf(start.cast(), length, format, arguments) };
    // SAFETY: libxc passes the pointer that `as_logger` gave it, whose `Log` outlives the handle.
    let log = unsafe { &*logger.cast::<Log>() };
    if let Ok(line) = CStr::from_bytes_until_nul(&buffer) {
        log.push(&line.to_string_lossy());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[link(name = "xentoollog")]
    unsafe extern "C" {
        fn xtl_log(
            logger: *mut xenctrl_sys::xentoollog_logger,
            level: ffi::xentoollog_level,
            errno: c_int,
            context: *const c_char,
            format: *const c_char,
            ...
        );
    }

    #[test]
    fn a_formatted_message_becomes_a_line_and_chatter_does_not() {
        let log = Log::new();
        for (level, number) in [(8, 7_i32), (3, 8)] {
            // SAFETY: the format takes one int.
            unsafe {
                xtl_log(log.as_logger(), level, -1, c"xc".as_ptr(), c"bad %d".as_ptr(), number)
            };
        }
        assert_eq!(log.text(), "bad 7");
        log.clear();
        assert_eq!(log.text(), "");
    }
}
