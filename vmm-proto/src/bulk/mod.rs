//! Bulk streams: bytes by the gigabyte, doubly encrypted like everything, never in XML.
//!
//! ```text
//!   transfer (an id that both sides have agreed on by a request)
//!     ├─ stream 0 ─ TCP ─ TLS, ALPN xvmp-bulk/1 ─► frames   each stream: one connection, its own keys and numbers, its own offset
//!     ├─ stream 1 ─ …                                       several in parallel, if one core is not enough
//!     └─ …
//!
//!   sender                                           receiver
//!     │ Opening { session, transfer, stream, nonce }    │   finds the session of this principal
//!     │ ──────────────────────────────────────────────► │
//!     │ Opened { nonce }                                │   both have the keys of this connection now
//!     │ ◄────────────────────────────────────────────── │
//!     │ ACCEPT { offset } or FAULT { why }              │   sealed: what it has already, from an earlier connection
//!     │ ◄────────────────────────────────────────────── │
//!     │ DATA … DATA … END (last)                        │
//!     │ ──────────────────────────────────────────────► │
//!     │ ACK { offset } … ACK (last)                     │   what is safe with it
//!     │ ◄────────────────────────────────────────────── │
//! ```
//!
//! Either side of a session may be the sender: the one that connects says which it is. A frame is sealed by AES-256-GCM with its header as
//! associated data; numbers count up without a gap, so that nothing is lost, doubled or reordered unseen, and the last frame of each
//! direction says so, so that nothing is cut off unseen. Keys change after [`FRAMES_PER_EPOCH`] frames. Both nonces of the opening go into the
//! keys: a recorded connection cannot be played again, and a stream that is taken up again has new keys.
//!
//! Back-pressure is TCP's: who does not read is not sent more. A receiver can be taken apart, so that one half waits for bytes while the
//! other acknowledges what is safe of those that came before. A connection that breaks costs what was not acknowledged: a new one
//! begins at the offset that the receiver names.
//!
//! How it fails: [`BulkError`]. A stream that was opened goes on when its session ends, and ends with its connection. Whatever is wrong before
//! the keys are known closes the connection without a word.

mod error;
mod frame;
mod keys;
mod opening;
mod stream;

#[cfg(test)]
mod tests;

pub use error::BulkError;
pub use frame::{FRAMES_PER_EPOCH, PAYLOAD_BYTES_MAX};
pub(crate) use keys::BulkKey;
pub use opening::{BulkService, IncomingStream, StreamName, TransferId};
pub(crate) use opening::{Role, answer, open};
pub(crate) use stream::Frames;
pub use stream::{BulkAcknowledger, BulkReader, BulkReceiver, BulkSender, Received};

/// Any bytes as an opening, and as frames of a stream whose keys nobody has.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use crate::aead::{Backend, TAG_BYTES};
    use crate::envelope::Direction;

    opening::fuzz(bytes);
    let key = BulkKey::derive(&[8; 32], Direction::ClientToServer, &[9; 32]);
    let name = StreamName { transfer: [7; 16], number: 3 };
    let key = key.of_stream("000102030405060708090a0b0c0d0e0f", &name, &[[1; 16], [2; 16]]);
    let mut numbered = frame::Numbered::new(key, Backend::Portable);
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_first_chunk::<{ frame::HEADER_BYTES }>() {
        let Ok(header) = frame::Header::read(header) else { return };
        let Some((body, after)) = after.split_at_checked(header.length + TAG_BYTES) else { return };
        assert!(numbered.open(header, &mut body.to_vec()).is_err(), "a frame that nobody made");
        rest = after;
    }
}
