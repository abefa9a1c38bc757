//! The header of a message: in clear outside, and bound into the key.

use std::fmt;

use super::EnvelopeError;

/// Characters of a session's id: 128 bits in lower-case hexadecimal.
pub const SESSION_CHARACTERS: usize = 32;

/// Longest id of a message.
pub const ID_BYTES_MAX: usize = 128;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client, who opened the session.
    ClientToServer,
    /// From the server.
    ServerToClient,
}

impl Direction {
    /// As written in documents and key derivations.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::ClientToServer => "c2s",
            Direction::ServerToClient => "s2c",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Direction, EnvelopeError> {
        match text {
            "c2s" => Ok(Direction::ClientToServer),
            "s2c" => Ok(Direction::ServerToClient),
            _ => Err(EnvelopeError::Header { field: "dir" }),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fields of a header. Whoever reads them before the tag verified may route by them and
/// nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The session, [`SESSION_CHARACTERS`] of `0-9a-f`.
    pub session: String,
    /// The direction.
    pub direction: Direction,
    /// The sender's count within session and direction. Never used twice.
    pub seq: u64,
    /// The request's id; the answer carries the same. 1 to [`ID_BYTES_MAX`] of
    /// `A-Z a-z 0-9 . _ : -`.
    pub id: String,
}

impl Header {
    /// Whether every field is within its letters and length.
    ///
    /// # Errors
    /// [`EnvelopeError::Header`] names the field.
    pub fn check(&self) -> Result<(), EnvelopeError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if self.session.len() != SESSION_CHARACTERS || !self.session.bytes().all(hex) {
            return Err(EnvelopeError::Header { field: "session" });
        }
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let length = 1..=ID_BYTES_MAX;
        if !length.contains(&self.id.len()) || !self.id.bytes().all(letter) {
            return Err(EnvelopeError::Header { field: "id" });
        }
        Ok(())
    }

    /// What stands in `KeyName`.
    pub(super) fn key_name(&self) -> String {
        format!("{}/{}/{}", self.session, self.direction, self.seq)
    }
}

/// Reads a canonical decimal number: no sign, no space, no leading zero.
pub(crate) fn canonical_u64(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(number)
}
