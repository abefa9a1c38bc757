//! What can be wrong with a message. For the log of whoever received it, never for its sender.

use thiserror::Error;

use crate::xml::GateError;

/// Why a message could not be sealed, read or opened.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// Not well-formed, or over a limit.
    #[error("the message is refused: {0}")]
    Gate(#[from] GateError),
    /// Not the one shape that a message has.
    #[error("expected {expected} in the message")]
    Shape {
        /// What should stand there.
        expected: &'static str,
    },
    /// A header field outside its letters, length or range.
    #[error("the header field {field} is not valid")]
    Header {
        /// The field.
        field: &'static str,
    },
    /// Another algorithm than aes256-gcm, or other parameters.
    #[error("only {} is spoken here", super::AES256_GCM)]
    Algorithm,
    /// The cipher value is no base64 of at least an IV and a tag.
    #[error("the cipher value is not base64 of at least 28 bytes")]
    CipherValue,
    /// Altered, or sealed for another session, direction, sequence number, id or path.
    #[error("the tag does not verify: the message was altered or belongs elsewhere")]
    Tag,
    /// Too large to be sealed into one message.
    #[error("the message would be larger than one may be: send less at once")]
    TooLarge,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}
