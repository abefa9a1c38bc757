//! What a Xen operation can fail with. Callers decide by [`XenErrorKind`]; people read the rest.

use std::borrow::Cow;
use std::fmt;

use crate::domid::DomId;

/// The kind of failure, after errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XenErrorKind {
    /// ESRCH: no such domain (or vCPU).
    NoSuchDomain,
    /// EEXIST: the domain id is in use.
    Exists,
    /// ENOMEM, or EBUSY while populating: the host has not got the memory.
    OutOfMemory,
    /// EPERM, EACCES: not for this caller.
    PermissionDenied,
    /// EINVAL: Xen refuses the arguments or their order.
    Invalid,
    /// EOPNOTSUPP, ENOSYS: this Xen cannot do it.
    Unsupported,
    /// ENOSPC: a table of this domain is full (event channels, grant frames).
    Exhausted,
    /// EBUSY, EAGAIN, ERESTART: try again.
    Busy,
    /// A kernel, initramfs or other file cannot be used; `detail` says why.
    BadImage,
    /// ENOENT: a file or node is missing.
    NotFound,
    /// Anything else: the errno, 0 when the library gave none.
    Other(i32),
}

/// A Xen operation that failed.
#[derive(Clone, Debug)]
pub struct XenError {
    operation: Cow<'static, str>,
    domid: Option<DomId>,
    kind: XenErrorKind,
    detail: String,
}

impl XenError {
    /// `operation` is Xen's own name for it, such as `domain_create`.
    #[must_use]
    pub fn new(operation: impl Into<Cow<'static, str>>, kind: XenErrorKind) -> Self {
        Self { operation: operation.into(), domid: None, kind, detail: String::new() }
    }

    /// Names the domain.
    #[must_use]
    pub fn domain(mut self, domid: DomId) -> Self {
        self.domid = Some(domid);
        self
    }

    /// Adds what the library or the hypervisor said.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same failure as another kind: the caller knows what the errno means for this operation.
    #[must_use]
    pub fn with_kind(mut self, kind: XenErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The kind to decide by.
    #[must_use]
    pub fn kind(&self) -> XenErrorKind {
        self.kind
    }

    /// Which operation failed.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// What the library or the hypervisor said; empty when it said nothing.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.detail
    }

    /// Which domain it was about, when it was about one.
    #[must_use]
    pub fn domid(&self) -> Option<DomId> {
        self.domid
    }
}

impl fmt::Display for XenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.operation)?;
        if let Some(domid) = self.domid {
            write!(f, " for domain {domid}")?;
        }
        write!(f, ": {}", describe(self.kind))?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for XenError {}

fn describe(kind: XenErrorKind) -> String {
    match kind {
        XenErrorKind::NoSuchDomain => "no such domain".into(),
        XenErrorKind::Exists => "the domain id is in use".into(),
        XenErrorKind::OutOfMemory => "the host has not enough free memory".into(),
        XenErrorKind::PermissionDenied => "permission denied".into(),
        XenErrorKind::Invalid => "invalid arguments".into(),
        XenErrorKind::Unsupported => "not supported by this hypervisor".into(),
        XenErrorKind::Exhausted => "a table of the domain is full".into(),
        XenErrorKind::Busy => "busy".into(),
        XenErrorKind::BadImage => "the guest image cannot be used".into(),
        XenErrorKind::NotFound => "not found".into(),
        XenErrorKind::Other(errno) => format!("errno {errno}"),
    }
}
