//! What the agent does to dom0's Linux, as one trait: loop devices, counters of the block backend, console terminals, the clock.
//!
//! ```text
//!   Dom0 ── linux   the real one: ioctls of the loop driver, sysfs, a pty (feature `libxc`)
//!        └─ sim     a table in memory; touches no device
//! ```
//!
//! Everything blocks for a short time and is called where [`crate::Blocking`] says, but for [`ConsoleSource`], which is
//! asynchronous. Failures are [`Dom0Error`]: the operation, what it was about, and what Linux said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use vmm_core::stats::DiskCounters;
use xen_bindings::DomId;

#[cfg(feature = "libxc")]
pub mod linux;
pub mod sim;

/// A loop device's number: `/dev/loopN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoopIndex(pub u32);

/// The block major of loop devices.
const LOOP_MAJOR: u32 = 7;

impl LoopIndex {
    /// Its device node.
    #[must_use]
    pub fn path(self) -> String {
        format!("/dev/loop{}", self.0)
    }

    /// As blkback wants it: hexadecimal `major:minor`.
    #[must_use]
    pub fn physical_device(self) -> String {
        format!("{LOOP_MAJOR:x}:{:x}", self.0)
    }
}

/// A loop device with a file behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedLoop {
    /// Which device.
    pub index: LoopIndex,
    /// The file.
    pub backing_file: PathBuf,
}

/// What went wrong, for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dom0ErrorKind {
    /// A file is missing.
    NotFound,
    /// Something is in use.
    Busy,
    /// Anything else.
    Other,
}

/// An operation on dom0 that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {operation} {subject}: {detail}")]
pub struct Dom0Error {
    /// Such as `attach a loop device to`.
    pub operation: &'static str,
    /// The file or device.
    pub subject: String,
    /// For decisions.
    pub kind: Dom0ErrorKind,
    /// What Linux said.
    pub detail: String,
}

impl Dom0Error {
    /// From what Linux said.
    #[must_use]
    pub fn io(operation: &'static str, subject: &Path, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Dom0ErrorKind::NotFound,
            std::io::ErrorKind::ResourceBusy => Dom0ErrorKind::Busy,
            _ => Dom0ErrorKind::Other,
        };
        let subject = subject.display().to_string();
        Self { operation, subject, kind, detail: error.to_string() }
    }
}

/// A guest's console, as it comes out of xenconsoled.
pub trait ConsoleSource: Send {
    /// Waits for output. An empty answer means that nothing will come any more.
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>>;

    /// What there is now, without waiting: a guest's last words.
    fn rest(&mut self) -> Vec<u8>;
}

/// dom0's Linux.
pub trait Dom0: Send + Sync {
    /// Puts a loop device over an image file.
    ///
    /// # Errors
    /// `NotFound` when the image is missing, `Busy` when no loop device is free.
    fn attach_loop(&self, image: &Path, read_only: bool) -> Result<LoopIndex, Dom0Error>;

    /// Takes the file away from a loop device. One without a file is success. A device that is still open goes when the last
    /// user closes it.
    ///
    /// # Errors
    /// `Busy`, `Other`.
    fn detach_loop(&self, index: LoopIndex) -> Result<(), Dom0Error>;

    /// All loop devices with a file, in order of number.
    ///
    /// # Errors
    /// `Other`.
    fn loops(&self) -> Result<Vec<AttachedLoop>, Dom0Error>;

    /// What the block backend counted for a disk; `None` when it has no such disk.
    ///
    /// # Errors
    /// `Other`.
    fn vbd_counters(&self, domid: DomId, devid: u32) -> Result<Option<DiskCounters>, Dom0Error>;

    /// Opens the terminal that xenconsoled named in xenstore. Called inside the runtime; must not block for long.
    ///
    /// # Errors
    /// `NotFound`, `Other`.
    fn open_console(&self, domid: DomId, tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error>;

    /// The host's monotonic clock.
    fn now(&self) -> Duration;
}
