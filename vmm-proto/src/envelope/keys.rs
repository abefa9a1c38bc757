//! The key schedule below the handshake.

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Direction, Header};
use crate::endpoint::{CONTENT_TYPE, METHOD, RPC_PATH};

/// Bytes of every key.
pub(crate) const KEY_BYTES: usize = 32;

/// The key of one session and direction. It only ever derives message keys.
pub struct DirectionKey {
    direction: Direction,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl DirectionKey {
    /// From the handshake: the split key of this direction, and the handshake's hash.
    pub fn derive(
        split: &[u8; KEY_BYTES],
        direction: Direction,
        handshake_hash: &[u8],
    ) -> DirectionKey {
        let mut info = Vec::new();
        for part in
            [b"xvmp1 rpc", direction.as_str().as_bytes(), b"aes256-gcm".as_slice(), handshake_hash]
        {
            push_prefixed(&mut info, part);
        }
        DirectionKey { direction, key: expand(split, &info) }
    }

    /// The direction whose messages this key protects.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The key of one message.
    pub(crate) fn message_key(&self, header: &Header) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut fields = Vec::new();
        push_prefixed(&mut fields, header.session.as_bytes());
        push_prefixed(&mut fields, header.direction.as_str().as_bytes());
        fields.extend_from_slice(&header.seq.to_be_bytes());
        for part in [header.id.as_str(), METHOD, RPC_PATH, CONTENT_TYPE] {
            push_prefixed(&mut fields, part.as_bytes());
        }
        let mut info = b"xvmp1 msg\0".to_vec();
        info.extend_from_slice(&Sha256::digest(&fields));
        expand(&self.key, &info)
    }
}

impl std::fmt::Debug for DirectionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectionKey").field("direction", &self.direction).finish_non_exhaustive()
    }
}

/// Appends the length as 32 bits, big-endian, and the bytes.
pub(crate) fn push_prefixed(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("a field of a key derivation is short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

pub(crate) fn expand(key: &[u8; KEY_BYTES], info: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let hkdf = Hkdf::<Sha256>::from_prk(key).expect("32 bytes suffice for a PRK of SHA-256");
    let mut out = Zeroizing::new([0; KEY_BYTES]);
    hkdf.expand(info, out.as_mut_slice()).expect("32 bytes are one block of SHA-256");
    out
}
