//! Why a kernel cannot be prepared.

use std::io;
use std::path::{Path, PathBuf};

use xen_bindings::{XenError, XenErrorKind};

/// Why a kernel cannot be prepared. What this cache itself cannot do is no reason: it then answers the original.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no such file.
    #[error("kernel {0:?} is missing on the host: name a file that is there")]
    NotFound(PathBuf),
    /// It cannot be read.
    #[error("kernel {path:?} cannot be read: {detail}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Not for us, or for another reason.
        denied: bool,
        /// What Linux said.
        detail: String,
    },
    /// It is no kernel.
    #[error("kernel {path:?} is refused: {why}; use another image")]
    BadImage {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It was written to meanwhile.
    #[error("kernel {0:?} changed while it was read: try again when it is complete")]
    Changed(PathBuf),
    /// Others unpack the same kernel and do not come to an end.
    #[error("kernel {path:?} is still being unpacked after {seconds} s: try again later")]
    Busy {
        /// Which file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
}

impl KernelError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(path),
            kind => Self::Unreadable {
                path,
                denied: kind == io::ErrorKind::PermissionDenied,
                detail: error.to_string(),
            },
        }
    }
}

/// A build that fails for its kernel fails as libxenguest would have it.
impl From<KernelError> for XenError {
    fn from(error: KernelError) -> Self {
        let kind = match &error {
            KernelError::NotFound(_) => XenErrorKind::NotFound,
            KernelError::Unreadable { denied: true, .. } => XenErrorKind::PermissionDenied,
            KernelError::Unreadable { .. } | KernelError::BadImage { .. } => XenErrorKind::BadImage,
            KernelError::Changed(_) | KernelError::Busy { .. } => XenErrorKind::Busy,
        };
        XenError::new("dom_kernel_file", kind).detail(error.to_string())
    }
}
