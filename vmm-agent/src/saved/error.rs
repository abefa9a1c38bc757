//! Why a VM is not saved to a file, or not restored from one.

use std::io;
use std::path::{Path, PathBuf};

use vmm_core::id::VmId;
use xen_bindings::{XenError, XenErrorKind};

/// Why a saved VM's file cannot be written or used.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SavedError {
    #[error("path {0:?} is refused: name the file by its absolute path, without ..")]
    Path(PathBuf),
    #[error("{0:?} is there already, and nothing is overwritten: name another file, or remove it")]
    Exists(PathBuf),
    #[error("{0:?} is being written by another save")]
    Busy(PathBuf),
    #[error("{0:?} is missing on the host: name a file that is there")]
    NotFound(PathBuf),
    #[error("cannot {operation} {path:?}: {detail}")]
    Io { operation: &'static str, path: PathBuf, detail: String },
    #[error("the host's key {0:?} has not 32 bytes: files saved with another key cannot be read")]
    Key(PathBuf),
    #[error("{0:?} is not a saved VM")]
    NotSaved(PathBuf),
    #[error(
        "{path:?} has version {version}, and this agent knows none above 2: use the agent that wrote it"
    )]
    Version { path: PathBuf, version: u32 },
    #[error("{0:?} was saved on another host: restore it there")]
    OtherHost(PathBuf),
    #[error("{path:?} holds VM {holds}, not VM {asked}")]
    OtherVm { path: PathBuf, holds: VmId, asked: VmId },
    #[error("{0:?} was saved with other disks: restore it with those that it had")]
    OtherDisks(PathBuf),
    #[error("{path:?} holds {what}: restore it as a VM that is defined like it")]
    Unlike { path: PathBuf, what: String },
    #[error("{0:?} does not say whose memory it is: save the guest again with its configuration")]
    Nameless(PathBuf),
    #[error("{path:?} is damaged or was tampered with: {what} does not verify; use another copy")]
    Damaged { path: PathBuf, what: String },
    #[error("{path:?} is cut off after {bytes} bytes: use another copy")]
    Truncated { path: PathBuf, bytes: u64 },
    #[error("{0:?} has something behind its end: use another copy")]
    Trailing(PathBuf),
    #[error("the description of a VM is too large to be saved")]
    TooLarge,
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Xen(#[from] XenError),
}

const ECANCELED: i32 = 125;

impl SavedError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(path),
            _ => Self::Io { operation, path, detail: error.to_string() },
        }
    }

    /// A file was read, and is not what it should be.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::NotSaved(_)
                | Self::Version { .. }
                | Self::OtherHost(_)
                | Self::OtherVm { .. }
                | Self::Nameless(_)
                | Self::Damaged { .. }
                | Self::Truncated { .. }
        )
    }
}

/// For callers that know Xen's errors only.
impl From<SavedError> for XenError {
    fn from(error: SavedError) -> Self {
        let kind = match &error {
            SavedError::Xen(error) => return error.clone(),
            SavedError::Path(_)
            | SavedError::OtherVm { .. }
            | SavedError::OtherDisks(_)
            | SavedError::Unlike { .. }
            | SavedError::TooLarge => XenErrorKind::Invalid,
            SavedError::Exists(_) => XenErrorKind::Exists,
            SavedError::Busy(_) => XenErrorKind::Busy,
            SavedError::NotFound(_) => XenErrorKind::NotFound,
            SavedError::NotSaved(_)
            | SavedError::Version { .. }
            | SavedError::OtherHost(_)
            | SavedError::Nameless(_)
            | SavedError::Damaged { .. }
            | SavedError::Truncated { .. }
            | SavedError::Trailing(_) => XenErrorKind::BadImage,
            SavedError::Cancelled => XenErrorKind::Other(ECANCELED),
            SavedError::Io { .. } | SavedError::Key(_) => XenErrorKind::Other(0),
        };
        XenError::new("saved_file", kind).detail(error.to_string())
    }
}
