//! What a key-value store may answer instead.

use std::error::Error;

use thiserror::Error;

use super::{LeaseId, Revision};

/// Why it was not done, or why that is not known.
#[derive(Debug, Error)]
pub(crate) enum KvError {
    /// A condition does not hold.
    #[error("{key} was changed by somebody else")]
    Conflict { key: String },
    /// Two operations of one transaction have the same key.
    #[error("a transaction changes {key} twice")]
    Twice { key: String },
    /// A transaction has too many operations.
    #[error("a transaction has {count} operations, {most} at most")]
    TooLarge { count: usize, most: usize },
    /// The lease has ended.
    #[error("lease {} has ended", lease.0)]
    LeaseGone { lease: LeaseId },
    /// What changed since then is not remembered any more.
    #[error("changes up to revision {} are forgotten: read again", forgotten.0)]
    Compacted { forgotten: Revision },
    /// It was closed.
    #[error("the store is closed")]
    Closed,
    /// The database failed.
    #[error("{doing} failed: check the disk's free space and health")]
    Failed {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}
