//! Frames: sealed one by one, numbered, the last one marked.
//!
//! ```text
//!   type 1 | flags 1 | zero 2 | length 4 | number 8   header: associated data, in clear inside TLS
//!   ciphertext of `length` bytes | tag 16
//! ```

use super::BulkError;
use super::keys::{SALT_BYTES, StreamKey};
use crate::aead::{Aead, Backend, NONCE_BYTES, TAG_BYTES};

/// Longest payload of a frame.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// Frames under one key: of full ones 64 GiB, which are 2^32 blocks of AES.
pub const FRAMES_PER_EPOCH: u64 = 1 << 18;
pub(super) const HEADER_BYTES: usize = 16;

const LAST: u8 = 1;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of the stream.
    Data,
    /// An offset: the receiver keeps what comes before it.
    Ack,
    /// An offset: the sender begins there.
    Accept,
    /// The sender has sent everything.
    End,
    /// A fault in XML; nothing comes behind it.
    Fault,
}

const KINDS: [(Kind, u8); 5] =
    [(Kind::Data, 1), (Kind::Ack, 2), (Kind::Accept, 3), (Kind::End, 4), (Kind::Fault, 5)];

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) is_last: bool,
    pub(super) length: usize,
    number: u64,
}

impl Header {
    fn write(self) -> [u8; HEADER_BYTES] {
        let code = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or(0, |(_, code)| *code);
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = code;
        bytes[1] = if self.is_last { LAST } else { 0 };
        let length = u32::try_from(self.length).expect("a payload is short");
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Reads a header; the tag behind its payload says whether it is authentic.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Header, BulkError> {
        let [code, flags, zero_high, zero_low, rest @ ..] = bytes;
        let kind = KINDS.iter().find(|(_, known)| known == code).map(|(kind, _)| *kind);
        let (length, number) = rest.split_at(4);
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let number = number.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let is_odd = *flags > LAST || (zero_high, zero_low) != (&0, &0);
        match kind {
            Some(kind) if !is_odd && length <= PAYLOAD_BYTES_MAX => {
                Ok(Header { kind, is_last: *flags == LAST, length, number })
            }
            _ => Err(BulkError::Damaged { what: "header" }),
        }
    }
}

/// One direction of a connection: the next number, and the key of its epoch.
pub(super) struct Numbered {
    key: StreamKey,
    backend: Backend,
    frames_per_epoch: u64,
    next: u64,
    cipher: Box<dyn Aead>,
    salt: [u8; SALT_BYTES],
    is_over: bool,
}

impl Numbered {
    pub(super) fn new(key: StreamKey, backend: Backend) -> Numbered {
        Self::with_epochs(key, backend, FRAMES_PER_EPOCH)
    }

    pub(super) fn with_epochs(key: StreamKey, backend: Backend, frames_per_epoch: u64) -> Numbered {
        let (first, salt) = key.epoch(0);
        let cipher = backend.cipher(&first);
        Numbered { key, backend, frames_per_epoch, next: 0, cipher, salt, is_over: false }
    }

    /// The nonce of the next frame. No number comes twice, and none behind the last frame.
    fn advance(&mut self) -> Result<(u64, [u8; NONCE_BYTES]), BulkError> {
        if self.is_over || self.next == u64::MAX {
            return Err(BulkError::Damaged { what: "a frame behind the last one" });
        }
        let number = self.next;
        if number > 0 && number.is_multiple_of(self.frames_per_epoch) {
            let (key, salt) = self.key.epoch(number / self.frames_per_epoch);
            (self.cipher, self.salt) = (self.backend.cipher(&key), salt);
        }
        self.next += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..SALT_BYTES].copy_from_slice(&self.salt);
        nonce[SALT_BYTES..].copy_from_slice(&number.to_be_bytes());
        Ok((number, nonce))
    }

    /// Appends the next frame to `out`.
    pub(super) fn seal(
        &mut self,
        kind: Kind,
        is_last: bool,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), BulkError> {
        let (number, nonce) = self.advance()?;
        self.is_over = is_last;
        let header = Header { kind, is_last, length: payload.len(), number }.write();
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(payload);
        let tag = self.cipher.seal(&nonce, &header, &mut out[start..]);
        let tag = tag.map_err(|_| BulkError::Damaged { what: "a payload too long" })?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens the next frame, ciphertext and tag, where it stands.
    pub(super) fn open<'b>(
        &mut self,
        header: Header,
        body: &'b mut [u8],
    ) -> Result<&'b [u8], BulkError> {
        let (number, nonce) = self.advance()?;
        if header.number != number || body.len() != header.length + TAG_BYTES {
            return Err(BulkError::Damaged { what: "order" });
        }
        let opened = self.cipher.open(&nonce, &header.write(), body);
        self.is_over = header.is_last;
        opened.map_err(|_| BulkError::Damaged { what: "tag" })
    }
}
