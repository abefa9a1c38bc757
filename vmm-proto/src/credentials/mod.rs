//! What a party proves itself with, and the authority that issues it.
//!
//! One certificate binds three things by the authority's signature: the P-256 key of the TLS layer,
//! the principal (URI SAN `xvmp://…`), and the X25519 static public key of the inner layer (URI SAN
//! `xvmp-key:x25519:<base64url>`). Whoever checked the certificate knows whose inner key to expect,
//! so there is no second list of keys to keep in step, and the two layers cannot disagree about who
//! speaks.
//!
//! ```text
//!   CertificateAuthority::create ── save ──► ca.pem ca-key.pem
//!        │ issue(principal, now)
//!        ▼
//!   Credentials ── save ──► ca.pem cert.pem key.pem inner.key ── load ──► Server, Client
//! ```
//!
//! Keys are made where they are used ([`NewKeys`]), and the authority signs for them
//! ([`CertificateAuthority::sign`]); `issue` does both for whoever cannot ask. Every file is made at run
//! time, with mode 0600. A set of four is replaced as one: it is written whole into `next/` beside the
//! old one, and moved from there; a move that was cut off is finished by whoever loads the directory.
//! The directory of an authority and that of a principal may be the same one for a demonstration;
//! `ca-key.pem` belongs on the manager alone. [`LiveCredentials`] are replaced while they are in use.
//!
//! Failures: [`CredentialsError`] names the file and what to do about it.

use std::path::Path;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::principal::Principal;

mod authority;
mod error;
mod files;
mod identity;
mod keys;
mod live;

#[cfg(test)]
mod tests;

pub use rustls::pki_types::CertificateDer;

pub use authority::{CertificateAuthority, lifetime};
pub use error::CredentialsError;
pub use identity::{Identity, IdentityError};
pub use keys::{NewKeys, SIGNING_REQUEST_BYTES_MAX, SigningRequest};
pub use live::LiveCredentials;

/// Bytes of an X25519 key, public or private.
pub const INNER_KEY_BYTES: usize = 32;

/// Everything one principal needs to speak: its certificate and both private keys, and the
/// authority that it trusts. `Debug` shows no secret.
pub struct Credentials {
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) certificate: CertificateDer<'static>,
    /// PKCS#8.
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) inner_key: Zeroizing<[u8; INNER_KEY_BYTES]>,
    identity: Identity,
}

impl Credentials {
    pub(crate) fn new(
        ca: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: Zeroizing<Vec<u8>>,
        inner_key: Zeroizing<[u8; INNER_KEY_BYTES]>,
    ) -> Result<Credentials, CredentialsError> {
        let identity = Identity::of(&certificate)?;
        if identity.inner_key != inner_public_key(&inner_key) {
            return Err(CredentialsError::InnerKeyMismatch);
        }
        let credentials = Credentials { ca, certificate, key, inner_key, identity };
        crate::tls::check_key_matches(&credentials)
            .map_err(|source| CredentialsError::TlsKeyMismatch { source })?;
        Ok(credentials)
    }

    /// Reads `ca.pem`, `cert.pem`, `key.pem` and `inner.key` of a directory.
    ///
    /// # Errors
    /// A file that is missing, unreadable or does not fit the others.
    pub fn load(directory: &Path) -> Result<Credentials, CredentialsError> {
        let _lock = files::lock(directory)?;
        files::finish_replacement(directory)?;
        Credentials::new(
            files::read_certificate(&directory.join(files::CA))?,
            files::read_certificate(&directory.join(files::CERTIFICATE))?,
            files::read_key(&directory.join(files::KEY))?,
            files::read_inner_key(&directory.join(files::INNER_KEY))?,
        )
    }

    /// Writes the four files, mode 0600, into a directory that is made (mode 0700) if missing. After a crash it holds the old four or the
    /// new four.
    ///
    /// # Errors
    /// The directory or a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), CredentialsError> {
        files::make_directory(directory)?;
        let _lock = files::lock(directory)?;
        files::finish_replacement(directory)?;
        files::replace(directory, |next| {
            files::write_certificate(&next.join(files::CA), &self.ca)?;
            files::write_certificate(&next.join(files::CERTIFICATE), &self.certificate)?;
            files::write_key(&next.join(files::KEY), &self.key)?;
            files::write_inner_key(&next.join(files::INNER_KEY), &self.inner_key)
        })
    }

    /// Who these credentials speak for.
    pub fn principal(&self) -> &Principal {
        &self.identity.principal
    }

    /// Last second of the certificate's validity, since the epoch.
    pub fn not_after(&self) -> std::time::Duration {
        self.identity.not_after
    }

    /// What the certificate says.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate (DER).
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The authority's certificate (DER).
    pub fn authority(&self) -> &[u8] {
        &self.ca
    }

    pub(crate) fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec()).into()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The public half of an inner key.
pub(crate) fn inner_public_key(private: &[u8; INNER_KEY_BYTES]) -> [u8; INNER_KEY_BYTES] {
    let secret = x25519_dalek::StaticSecret::from(*private);
    x25519_dalek::PublicKey::from(&secret).to_bytes()
}
