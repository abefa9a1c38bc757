//! errno into [`XenErrorKind`].

use crate::error::XenErrorKind;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
const ERESTART: i32 = 85;
const EOPNOTSUPP: i32 = 95;

/// The kind of failure that an errno means.
pub(super) fn kind(errno: i32) -> XenErrorKind {
    match errno {
        ESRCH => XenErrorKind::NoSuchDomain,
        EEXIST => XenErrorKind::Exists,
        ENOMEM => XenErrorKind::OutOfMemory,
        EPERM | EACCES => XenErrorKind::PermissionDenied,
        EINVAL => XenErrorKind::Invalid,
        EOPNOTSUPP | ENOSYS => XenErrorKind::Unsupported,
        ENOSPC => XenErrorKind::Exhausted,
        EBUSY | EAGAIN | ERESTART => XenErrorKind::Busy,
        ENOENT => XenErrorKind::NotFound,
        other => XenErrorKind::Other(other),
    }
}
