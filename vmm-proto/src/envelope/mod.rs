//! The inner encryption: one message, one key.
//!
//! W3C XML Encryption with AES-256-GCM has no associated data, so the header cannot be
//! authenticated beside the ciphertext. It is bound through the key instead: every message has its
//! own, derived from the session's key of that direction and from every field of the header. A
//! flipped bit in the header gives another key and thereby a bad tag.
//!
//! ```text
//!   k1, k2 (Noise split)        h (handshake hash)
//!      └─ HKDF ──────────────────┘
//!   DirectionKey (c2s, s2c)     Header {session, direction, seq, id}, method, path, content type
//!      └─ HKDF ──────────────────┘
//!   message key ── AES-256-GCM, random 96-bit IV ──► base64(IV | ciphertext | tag)
//! ```
//!
//! [`seal()`] writes the outer document, [`Sealed::parse`] reads it without a key, and
//! [`Sealed::open`] tries the one key that the header names. The decoder knows exactly one shape:
//! one `EncryptedData` with one algorithm, compared as bytes before any key work, no nested keys,
//! no references, no transforms. [`replay::Window`] says whether a sequence number was seen; it is
//! marked after the tag was verified and by one caller only.
//!
//! Failures are all [`EnvelopeError`]; a server answers each of them with the same bytes.

mod decode;
mod error;
mod header;
mod keys;
mod open;
mod own;
pub mod replay;
mod seal;

pub use error::EnvelopeError;
pub(crate) use header::canonical_u64;
pub use header::{Direction, Header, ID_BYTES_MAX, SESSION_CHARACTERS};
pub use keys::DirectionKey;
pub(crate) use keys::{expand, push_prefixed};
pub use open::Sealed;
pub use seal::seal;

#[cfg(test)]
mod interop;
#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;

/// The namespace of XML Encryption 1.0: the elements.
const XENC: &str = "http://www.w3.org/2001/04/xmlenc#";

/// The namespace of XML Signature: `KeyInfo` and `KeyName`.
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// The one algorithm.
const AES256_GCM: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";

/// What `Type` says if it is there: the plaintext is an element.
const ELEMENT: &str = "http://www.w3.org/2001/04/xmlenc#Element";

/// Bytes of an initialisation vector.
const IV_BYTES: usize = 12;

/// Bytes of an authentication tag. Never fewer.
const TAG_BYTES: usize = 16;
