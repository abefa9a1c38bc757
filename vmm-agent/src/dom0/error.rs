//! What can go wrong in dom0: the operation, what it was about, and what Linux said.

use std::io;
use std::path::Path;

/// What went wrong, for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dom0ErrorKind {
    /// A file, a bridge or an interface is missing; the subject names it.
    NotFound,
    /// Something is in use.
    Busy,
    /// It is there, but it is no such thing: a directory as a disk, a physical interface as a bridge.
    WrongKind,
    /// Another file has its name than when it was looked at.
    Replaced,
    /// The file system is full, or its quota.
    NoSpace,
    /// A file would have become smaller.
    Shrinks {
        /// What it has.
        bytes: u64,
    },
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
    /// From what Linux said of a file or device node.
    #[must_use]
    pub fn io(operation: &'static str, subject: &Path, error: &io::Error) -> Self {
        Self::said(operation, subject.display().to_string(), error)
    }

    /// From what Linux said of anything.
    #[must_use]
    pub fn said(operation: &'static str, subject: String, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Dom0ErrorKind::NotFound,
            io::ErrorKind::ResourceBusy => Dom0ErrorKind::Busy,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Dom0ErrorKind::NoSpace,
            _ => Dom0ErrorKind::Other,
        };
        Self { operation, subject, kind, detail: error.to_string() }
    }

    /// What Linux did not have to be asked for.
    pub(super) fn own(
        operation: &'static str,
        subject: impl Into<String>,
        kind: Dom0ErrorKind,
        detail: impl Into<String>,
    ) -> Self {
        Self { operation, subject: subject.into(), kind, detail: detail.into() }
    }
}
