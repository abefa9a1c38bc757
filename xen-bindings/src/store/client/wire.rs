//! Messages: a header of four native-endian words (type, req_id, tx_id, length), then the payload.

use std::io::{self, Read};

use super::super::StoreError;

/// The protocol's limit on a payload; one byte more in a request kills the connection.
pub(super) const PAYLOAD_BYTES_MAX: usize = 4096;
/// What we accept in a reply: oxenstored answers a long DIRECTORY in one message far above the protocol's limit, where C
/// xenstored says E2BIG.
pub(super) const REPLY_BYTES_MAX: usize = 1024 * 1024;
pub(super) const HEADER_BYTES: usize = 16;

/// The transaction id of what is outside any transaction.
pub(super) const NO_TRANSACTION: u32 = 0;

/// Types of messages that we send or know. There is no 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Directory = 1,
    Read = 2,
    GetPermissions = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Release = 9,
    Write = 11,
    MakeDir = 12,
    Remove = 13,
    SetPermissions = 14,
    WatchEvent = 15,
    Error = 16,
    IsIntroduced = 17,
    Resume = 18,
    DirectoryPart = 22,
}

/// What is asked, before it has a number.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
}

impl Request {
    /// Header and payload as one piece. `None` when the payload is too long.
    pub(super) fn encode(&self, req_id: u32, tx_id: u32) -> Option<Vec<u8>> {
        encode([self.kind as u32, req_id, tx_id], &self.payload)
    }
}

/// A message; its type as the number that it came with.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: u32,
    pub(super) req_id: u32,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test's daemon looks at it"))]
    pub(super) tx_id: u32,
    pub(super) payload: Vec<u8>,
}

impl Message {
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u32
    }

    /// Reads one message; one that is too long is an error before it is read.
    pub(super) fn read_from(reader: &mut impl Read) -> io::Result<Self> {
        let mut header = [[0_u8; 4]; 4];
        reader.read_exact(header.as_flattened_mut())?;
        let [kind, req_id, tx_id, length] = header.map(u32::from_ne_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > REPLY_BYTES_MAX {
            let text = format!("a message of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload)?;
        Ok(Self { kind, req_id, tx_id, payload })
    }
}

/// Header and payload as one piece, so that one write sends them. `None` when the payload is too long.
pub(super) fn encode(words: [u32; 3], payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok()?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    for word in words.into_iter().chain([length]) {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(payload);
    Some(bytes)
}

/// Each string and its NUL.
pub(super) fn strings(fields: &[impl AsRef<str>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for field in fields {
        payload.extend_from_slice(field.as_ref().as_bytes());
        payload.push(0);
    }
    payload
}

/// One string, with or without its NUL.
pub(super) fn text(payload: &[u8]) -> Result<&str, StoreError> {
    let bytes = payload.strip_suffix(&[0]).unwrap_or(payload);
    std::str::from_utf8(bytes).map_err(|_| StoreError::Other("bytes that are not text".into()))
}

/// Strings that each end in a NUL.
pub(super) fn list(payload: &[u8]) -> Result<Vec<String>, StoreError> {
    payload.split_inclusive(|byte| *byte == 0).map(|part| Ok(text(part)?.to_owned())).collect()
}

/// The payload of an ERROR reply.
pub(super) fn error(payload: &[u8]) -> StoreError {
    let name = match text(payload) {
        Ok(name) => name,
        Err(error) => return error,
    };
    match name {
        "ENOENT" => StoreError::NotFound,
        "EEXIST" => StoreError::Exists,
        "EACCES" | "EPERM" => StoreError::Access,
        "EINVAL" => StoreError::Invalid(name.into()),
        "E2BIG" => StoreError::TooLarge,
        "ENOSPC" | "EDQUOT" => StoreError::Quota,
        "EAGAIN" => StoreError::Conflict,
        "EISCONN" | "EBUSY" => StoreError::Busy(name.into()),
        other => StoreError::Other(other.into()),
    }
}
