//! The host's key, and what is derived from it for one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::SavedError;

const KEY_BYTES: usize = 32;
pub(super) const SALT_BYTES: usize = 32;
pub(super) const KEY_ID_BYTES: usize = 16;
pub(super) const TAG_BYTES: usize = 16;
const FILE_INFO: &[u8] = b"smps-vmm saved VM 1: file";
const ID_INFO: &[u8] = b"smps-vmm saved VM 1: key id";

/// From the system: a salt that comes twice would be a key that comes twice.
pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// The host's key: made at first use, never leaves the host.
pub(super) struct HostKey(Zeroizing<[u8; KEY_BYTES]>);

impl HostKey {
    /// Reads it, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, SavedError> {
        match Self::read(path) {
            Err(SavedError::NotFound(_)) => {
                Self::make(path).map_err(SavedError::io("make", path))?;
                Self::read(path)
            }
            outcome => outcome,
        }
    }

    fn read(path: &Path) -> Result<Self, SavedError> {
        let bytes = Zeroizing::new(fs::read(path).map_err(SavedError::io("read", path))?);
        let key: [u8; KEY_BYTES] =
            bytes.as_slice().try_into().map_err(|_| SavedError::Key(path.to_owned()))?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// Written beside and given its name in one step; who comes second takes the first one's.
    fn make(path: &Path) -> io::Result<()> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let mut unique = [0; 8];
        random(key.as_mut_slice())?;
        random(&mut unique)?;
        let beside = path.with_extension(format!("{:016x}", u64::from_le_bytes(unique)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(key.as_slice())?;
        file.sync_all()?;
        let named = fs::hard_link(&beside, path);
        fs::remove_file(&beside)?;
        match named {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    fn derive<const N: usize>(&self, salt: Option<&[u8]>, info: &[u8]) -> Zeroizing<[u8; N]> {
        let mut out = Zeroizing::new([0; N]);
        let hkdf = Hkdf::<Sha256>::new(salt, self.0.as_slice());
        hkdf.expand(info, out.as_mut_slice()).expect("a key is shorter than HKDF's limit");
        out
    }

    /// Tells hosts apart without telling the key.
    pub(super) fn id(&self) -> [u8; KEY_ID_BYTES] {
        *self.derive(None, ID_INFO)
    }

    /// The key of the file with this salt.
    pub(super) fn sealer(&self, salt: &[u8; SALT_BYTES]) -> Sealer {
        let key = self.derive::<KEY_BYTES>(Some(salt), FILE_INFO);
        Sealer { cipher: Aes256Gcm::new((&*key).into()), number: 0 }
    }
}

/// Seals or opens one file's pieces, each under the next number: none can be left out, moved or repeated.
pub(super) struct Sealer {
    cipher: Aes256Gcm,
    number: u64,
}

impl Sealer {
    fn next_nonce(&mut self) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        Nonce::from(nonce)
    }

    /// Encrypts in place; `aad` is authenticated with it.
    pub(super) fn seal(&mut self, aad: &[u8], data: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let nonce = self.next_nonce();
        let tag = self.cipher.encrypt_inout_detached(&nonce, aad, data.into()).ok()?;
        Some(tag.into())
    }

    /// Decrypts in place. Without a true answer `data` is not to be used.
    #[must_use]
    pub(super) fn open(&mut self, aad: &[u8], data: &mut [u8], tag: [u8; TAG_BYTES]) -> bool {
        let nonce = self.next_nonce();
        let tag = Tag::from(tag);
        self.cipher.decrypt_inout_detached(&nonce, aad, data.into(), &tag).is_ok()
    }
}
