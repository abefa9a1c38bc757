//! AES-256-GCM behind one trait, by two libraries.
//!
//! `aes-gcm` is the default: portable Rust. `aws-lc-rs`, which TLS has linked in anyway, is several times faster on large buffers and
//! serves bulk streams. Both give the same bytes; which one a side uses nobody else can tell.
//!
//! Tags have 16 bytes, never fewer. A tag that does not verify is [`BadTag`], whatever the reason, and what stood in the buffer is not to be
//! looked at.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as AwsNonce, UnboundKey};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// The tag does not verify, or the buffer is too long for the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authentication tag does not verify")]
pub struct BadTag;

/// Which library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// `aes-gcm`.
    #[default]
    Portable,
    /// `aws-lc-rs`.
    Fast,
}

impl Backend {
    /// Both.
    pub const ALL: [Backend; 2] = [Backend::Portable, Backend::Fast];

    /// A key that is ready for use. It is wiped when it is dropped, as far as its library does that.
    #[must_use]
    pub fn cipher(self, key: &[u8; KEY_BYTES]) -> Box<dyn Aead> {
        match self {
            Backend::Portable => Box::new(Portable(Aes256Gcm::new(key.into()))),
            Backend::Fast => {
                let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes");
                Box::new(Fast(LessSafeKey::new(key)))
            }
        }
    }
}

/// Encrypts and authenticates. Who uses it sees to it that no nonce comes twice under one key.
pub trait Aead: Send + Sync {
    /// Encrypts `buffer` where it stands, and gives the tag over it and `aad`.
    ///
    /// # Errors
    /// The buffer is too long for the algorithm.
    fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], BadTag>;

    /// Verifies and decrypts `buffer`, ciphertext and tag, where it stands; gives the plaintext.
    ///
    /// # Errors
    /// [`BadTag`].
    fn open<'b>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], BadTag>;
}

struct Portable(Aes256Gcm);

impl Aead for Portable {
    fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], BadTag> {
        let nonce = Nonce::from(*nonce);
        let tag = self.0.encrypt_inout_detached(&nonce, aad, buffer.into()).map_err(|_| BadTag)?;
        Ok(tag.into())
    }

    fn open<'b>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], BadTag> {
        let nonce = Nonce::from(*nonce);
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_BYTES>().ok_or(BadTag)?;
        let tag = Tag::from(*tag);
        let opened = self.0.decrypt_inout_detached(&nonce, aad, (&mut *text).into(), &tag);
        opened.map(|()| &*text).map_err(|_| BadTag)
    }
}

struct Fast(LessSafeKey);

impl Aead for Fast {
    fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], BadTag> {
        let nonce = AwsNonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), buffer);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(BadTag)
    }

    fn open<'b>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], BadTag> {
        let nonce = AwsNonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, Aad::from(aad), buffer).map(|text| &*text).map_err(|_| BadTag)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_libraries_give_the_same_bytes_and_notice_each_changed_bit(
            key in any::<[u8; KEY_BYTES]>(),
            nonce in any::<[u8; NONCE_BYTES]>(),
            aad in proptest::collection::vec(any::<u8>(), 0..40),
            text in proptest::collection::vec(any::<u8>(), 0..600),
            at in any::<prop::sample::Index>(),
        ) {
            let [portable, fast] = Backend::ALL.map(|backend| {
                let mut buffer = text.clone();
                let tag = backend.cipher(&key).seal(&nonce, &aad, &mut buffer).unwrap();
                buffer.extend_from_slice(&tag);
                buffer
            });
            prop_assert_eq!(&portable, &fast);
            for backend in Backend::ALL {
                let cipher = backend.cipher(&key);
                let mut buffer = portable.clone();
                prop_assert_eq!(cipher.open(&nonce, &aad, &mut buffer), Ok(text.as_slice()));
                let mut changed = portable.clone();
                changed[at.index(portable.len())] ^= 1;
                prop_assert_eq!(cipher.open(&nonce, &aad, &mut changed), Err(BadTag));
                for length in 0..TAG_BYTES {
                    let mut short = portable[..length].to_vec();
                    prop_assert_eq!(cipher.open(&nonce, &aad, &mut short), Err(BadTag));
                }
            }
        }
    }
}
