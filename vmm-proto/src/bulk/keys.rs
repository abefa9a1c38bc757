//! The keys of bulk streams, below the session's handshake.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::StreamName;
use crate::envelope::{Direction, expand, push_prefixed};

const KEY_BYTES: usize = crate::aead::KEY_BYTES;
pub(super) const SALT_BYTES: usize = 4;
/// Of each side's contribution to a connection's keys.
pub(super) const NONCE_BYTES: usize = 16;

/// The key of one session and direction from which those of its streams come.
pub(crate) struct BulkKey(Zeroizing<[u8; KEY_BYTES]>);

impl BulkKey {
    /// From the handshake, beside the key of messages.
    pub(crate) fn derive(split: &[u8; KEY_BYTES], direction: Direction, hash: &[u8]) -> BulkKey {
        let mut info = Vec::new();
        for part in [b"xvmp1 bulk", direction.as_str().as_bytes(), b"aes256-gcm".as_slice(), hash] {
            push_prefixed(&mut info, part);
        }
        BulkKey(expand(split, &info))
    }

    /// The key of one connection in this direction.
    pub(super) fn of_stream(
        &self,
        session: &str,
        stream: &StreamName,
        nonces: &[[u8; NONCE_BYTES]; 2],
    ) -> StreamKey {
        let mut fields = Vec::new();
        push_prefixed(&mut fields, session.as_bytes());
        push_prefixed(&mut fields, &stream.transfer);
        fields.extend_from_slice(&stream.number.to_be_bytes());
        for nonce in nonces {
            push_prefixed(&mut fields, nonce);
        }
        let mut info = b"xvmp1 stream\0".to_vec();
        info.extend_from_slice(&Sha256::digest(&fields));
        StreamKey(expand(&self.0, &info))
    }
}

impl std::fmt::Debug for BulkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkKey").finish_non_exhaustive()
    }
}

/// The key of one connection and direction; those of its epochs come from it.
pub(super) struct StreamKey(Zeroizing<[u8; KEY_BYTES]>);

impl StreamKey {
    /// Key and salt of one epoch.
    pub(super) fn epoch(&self, epoch: u64) -> (Zeroizing<[u8; KEY_BYTES]>, [u8; SALT_BYTES]) {
        let derive = |label: &[u8]| expand(&self.0, &[label, &epoch.to_be_bytes()].concat());
        let salt = derive(b"xvmp1 salt\0");
        let salt = *salt.first_chunk().expect("more than four bytes");
        (derive(b"xvmp1 epoch\0"), salt)
    }
}
