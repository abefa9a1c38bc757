//! Why a stream ended early.

use std::io;

use thiserror::Error;

use crate::v1::Fault;

/// Why a stream ended early. What was acknowledged is safe; the rest is to be sent again on a new connection.
#[derive(Debug, Error)]
pub enum BulkError {
    /// The other side says no, or gave up.
    #[error("{0}")]
    Fault(Fault),
    /// The connection broke, or was cut before the last frame.
    #[error("the bulk connection broke: {0}; open the stream again to go on")]
    Broken(#[from] io::Error),
    /// A frame that is not the next one of this stream: changed, out of order, or of another connection.
    #[error("the bulk stream is damaged ({what}): open it again to go on")]
    Damaged {
        /// What did not fit.
        what: &'static str,
    },
    /// The stream cannot be opened.
    #[error("the bulk stream cannot be opened: {0}")]
    Opening(String),
}
