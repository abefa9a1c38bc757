//! What xenstored answers, as a closed set.

/// A xenstore operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// ENOENT.
    #[error("no such xenstore node")]
    NotFound,
    /// EEXIST.
    #[error("the xenstore node exists already")]
    Exists,
    /// EACCES, EPERM.
    #[error("xenstore denies access")]
    Access,
    /// EINVAL: a path, a value or an argument that the daemon refuses.
    #[error("xenstore refuses the request as invalid: {0}")]
    Invalid(String),
    /// E2BIG, or longer than a message may be.
    #[error("too large for a xenstore message")]
    TooLarge,
    /// ENOSPC, EDQUOT: the owner's quota is used up.
    #[error("the xenstore quota is used up")]
    Quota,
    /// EAGAIN: another write won; nothing of this transaction is visible.
    #[error("the xenstore transaction lost a race")]
    Conflict,
    /// EISCONN, EBUSY and the like.
    #[error("xenstore is busy with this domain: {0}")]
    Busy(String),
    /// The daemon is gone; dom0 must be looked at, since xenstored cannot be restarted on its own.
    #[error("the connection to xenstored is lost: {0}")]
    Disconnected(String),
    /// An answer that this client does not know.
    #[error("xenstored answered {0}")]
    Other(String),
}
