//! What can go wrong with a session. For the log, and for the client that opened it.

use thiserror::Error;

use crate::xml::{ReadError, WriteError};

/// Why a session could not be opened or used.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A document of the handshake cannot be read.
    #[error("the handshake's document is refused: {0}")]
    Document(#[from] ReadError),
    /// A document of the handshake cannot be written.
    #[error("the handshake's document cannot be written: {0}")]
    Write(#[from] WriteError),
    /// Not base64.
    #[error("the handshake's message is not base64")]
    Base64,
    /// The handshake failed: another key, another certificate, or altered on the way.
    #[error(
        "the handshake of the inner layer failed ({0}): a proxy that ends TLS stands between, or \
         the two sides hold credentials of different issues"
    )]
    Noise(#[from] snow::Error),
    /// The inner key is not the one in the certificate.
    #[error("the inner key is not the one that the certificate of {principal} binds")]
    InnerKey {
        /// Whose certificate.
        principal: String,
    },
    /// A key that shares no secret.
    #[error("a key of the handshake is a point of low order: nothing would be secret")]
    LowOrder,
    /// No common version.
    #[error("the peer speaks minor versions {min} to {max}, this side only 0: update the older")]
    Version {
        /// Its lowest.
        min: u32,
        /// Its highest.
        max: u32,
    },
    /// The table is full of other principals' sessions.
    #[error("the server holds too many sessions: try again later")]
    TooMany,
    /// Used up.
    #[error("the session has ended: open a new one")]
    Ended,
    /// A message was seen before.
    #[error("sequence number {seq} was seen before")]
    Replayed {
        /// The number.
        seq: u64,
    },
    /// A message that cannot be sealed or opened.
    #[error(transparent)]
    Envelope(#[from] crate::envelope::EnvelopeError),
    /// A message that belongs to another session or request.
    #[error("the message belongs elsewhere: its {field} differs")]
    Elsewhere {
        /// What differs.
        field: &'static str,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}
