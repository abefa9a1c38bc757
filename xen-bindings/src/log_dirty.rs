//! Which frames a guest writes to.
//!
//! ```text
//!   log_dirty ─► DirtyLog ─ clean ─ clean ─ … ─ guest suspends ─ clean_final ─► end (or dropped: it is off either way)
//! ```
//!
//! Xen's own operations can be misused without a word: reading a log that is not on answers that nothing was written, and so does one
//! that somebody else has switched off. A [`DirtyLog`] exists only while the log is on, [`DirtyLog::clean_final`] finds out whether it
//! was on all the time, and a set of frames is always as large as the guest is then.
//!
//! What no log tells: memory that the guest was given or gave back meanwhile (its balloon, hot-plugged memory). Whoever copies a guest
//! looks again at which frames there are once it is suspended ([`crate::guest_memory::populated`]).

use crate::error::{XenError, XenErrorKind};
use crate::gfn_set::GfnSet;

/// What to do when a domain's log is on already: that of another toolstack, or one that a dead process has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Refuse, with `Invalid`.
    Refuse,
    /// Switch it off first. Whoever had it on loses what was written since: only for a domain that is ours.
    Replace,
}

/// What Xen counted since the log was cleaned. For trends only: the set of frames is exact, this count may be higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirtyCounts {
    /// Writes that Xen had to look at.
    pub faults: u32,
    /// Frames written to.
    pub dirty: u32,
}

/// A backend's side of a log. Behind [`DirtyLog`] only.
pub trait DirtyLogDriver: Send {
    /// Fills the set with the frames written to since the last clean.
    ///
    /// # Errors
    /// What the hypercall says.
    fn read(&mut self, how: ReadLog, frames: &mut GfnSet) -> Result<DirtyCounts, XenError>;

    /// Counts alone.
    ///
    /// # Errors
    /// What the hypercall says.
    fn counts(&self) -> Result<DirtyCounts, XenError>;

    /// Is the log still on? Leaves it as it is if it is.
    ///
    /// # Errors
    /// What the hypercall says.
    fn is_on(&self) -> Result<bool, XenError>;

    /// Switches it off.
    ///
    /// # Errors
    /// What the hypercall says.
    fn off(&mut self) -> Result<(), XenError>;
}

/// How a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLog {
    /// And cleaned.
    Clean,
    /// And cleaned, with the frames that Xen itself has mapped and writes to.
    CleanFinal,
    /// And left as it is.
    Peek,
}

/// A domain's log that is on. It is switched off when this goes.
pub struct DirtyLog {
    driver: Box<dyn DirtyLogDriver>,
    on: bool,
}

impl DirtyLog {
    pub(crate) fn new(driver: Box<dyn DirtyLogDriver>) -> Self {
        Self { driver, on: true }
    }

    /// Fills `frames` with those written to since the last clean, and begins anew. Stops the guest for a moment (32 KiB of bits for
    /// each GiB): not more often than every 50 ms.
    ///
    /// # Errors
    /// `NoSuchDomain` when the domain is gone or ends; `Busy` while somebody else reads it.
    pub fn clean(&mut self, frames: &mut GfnSet) -> Result<DirtyCounts, XenError> {
        self.driver.read(ReadLog::Clean, frames)
    }

    /// As [`DirtyLog::clean`], once the guest is suspended: with the frames that Xen itself has mapped and writes to, which no other
    /// reading tells.
    ///
    /// # Errors
    /// As [`DirtyLog::clean`], and `Invalid` when the log was switched off meanwhile: all memory must be sent again then.
    pub fn clean_final(&mut self, frames: &mut GfnSet) -> Result<DirtyCounts, XenError> {
        if !self.driver.is_on()? {
            self.on = false;
            return Err(XenError::new("log_dirty", XenErrorKind::Invalid)
                .detail("somebody else has switched it off: what was written since is not known"));
        }
        self.driver.read(ReadLog::CleanFinal, frames)
    }

    /// As [`DirtyLog::clean`], and leaves the log as it is.
    ///
    /// # Errors
    /// As [`DirtyLog::clean`].
    pub fn peek(&mut self, frames: &mut GfnSet) -> Result<DirtyCounts, XenError> {
        self.driver.read(ReadLog::Peek, frames)
    }

    /// How much was written, without saying where. Cheap, stops nobody for long, disturbs no other reader.
    ///
    /// # Errors
    /// As [`DirtyLog::clean`].
    pub fn counts(&self) -> Result<DirtyCounts, XenError> {
        self.driver.counts()
    }

    /// Switches it off.
    ///
    /// # Errors
    /// `NoSuchDomain` when the domain is gone.
    pub fn end(mut self) -> Result<(), XenError> {
        self.on = false;
        self.driver.off()
    }
}

impl Drop for DirtyLog {
    fn drop(&mut self) {
        if !self.on {
            return;
        }
        match self.driver.off() {
            // A domain that is gone logs nothing.
            Ok(()) => {}
            Err(error) if error.kind() == XenErrorKind::NoSuchDomain => {}
            Err(error) => tracing::warn!(%error, "a domain's log of writes stays on"),
        }
    }
}
