//! New keys, and the request by which their owner asks the authority to sign for them.
//!
//! The request is PKCS#10, signed by the TLS key. The inner public key stands in it as the URI that the certificate will carry. Of all
//! else that a request can ask for nothing is granted: the authority alone decides whose certificate it is and what for.

use std::path::Path;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair,
    PKCS_ECDSA_P256_SHA256, PublicKey, SanType,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use zeroize::Zeroizing;

use super::authority::{issue, uri};
use super::identity::{inner_key_of_uri, inner_key_uri};
use super::{Credentials, CredentialsError, INNER_KEY_BYTES, files, inner_public_key};

/// Longest request that is read, in bytes. Ours have about 300.
pub const SIGNING_REQUEST_BYTES_MAX: usize = 2048;

/// Where keys wait for their certificate, in the directory that the credentials will be in.
const JOINING: &str = "joining";

/// Both private keys of a principal that has no certificate for them yet.
pub struct NewKeys {
    /// PKCS#8.
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) inner_key: Zeroizing<[u8; INNER_KEY_BYTES]>,
}

impl NewKeys {
    /// Makes both.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<NewKeys, CredentialsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(issue("P-256 key"))?;
        let mut inner_key = Zeroizing::new([0; INNER_KEY_BYTES]);
        getrandom::fill(inner_key.as_mut_slice()).map_err(CredentialsError::Random)?;
        Ok(NewKeys { key: Zeroizing::new(key.serialize_der()), inner_key })
    }

    /// Those that were made for a certificate which never came, or new ones that are kept for that case.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn kept(directory: &Path) -> Result<NewKeys, CredentialsError> {
        let place = directory.join(JOINING);
        let (key, inner_key) = (place.join(files::KEY), place.join(files::INNER_KEY));
        if inner_key.exists() {
            let (key, inner_key) = (files::read_key(&key)?, files::read_inner_key(&inner_key)?);
            return Ok(NewKeys { key, inner_key });
        }
        let keys = NewKeys::generate()?;
        files::make_directory(&place)?;
        files::write_key(&key, &keys.key)?;
        files::write_inner_key(&inner_key, &keys.inner_key)?;
        Ok(keys)
    }

    /// The certificate came.
    ///
    /// # Errors
    /// The kept keys cannot be removed.
    pub fn forget(directory: &Path) -> Result<(), CredentialsError> {
        let path = directory.join(JOINING);
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(CredentialsError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    /// The request for a certificate of these keys (DER).
    ///
    /// # Errors
    /// It cannot be made.
    pub fn signing_request(&self) -> Result<Vec<u8>, CredentialsError> {
        let key = KeyPair::try_from(self.key.as_slice()).map_err(issue("signing request"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![uri(inner_key_uri(&inner_public_key(&self.inner_key)))?];
        let request = params.serialize_request(&key).map_err(issue("signing request"))?;
        Ok(request.der().to_vec())
    }

    /// The credentials, once the authority has signed.
    ///
    /// # Errors
    /// The certificate is not for these keys.
    pub fn with(
        self,
        certificate: CertificateDer<'static>,
        ca: CertificateDer<'static>,
    ) -> Result<Credentials, CredentialsError> {
        Credentials::new(ca, certificate, self.key, self.inner_key)
    }

    pub(crate) fn inner_key(&self) -> &[u8; INNER_KEY_BYTES] {
        &self.inner_key
    }
}

impl std::fmt::Debug for NewKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKeys").finish_non_exhaustive()
    }
}

/// What a request proves and asks: a TLS key, whose holder signed it, and an inner key.
#[derive(Debug)]
pub struct SigningRequest {
    pub(super) public_key: PublicKey,
    /// The X25519 public key.
    pub inner_key: [u8; INNER_KEY_BYTES],
}

impl SigningRequest {
    /// Reads a request and verifies its signature.
    ///
    /// # Errors
    /// [`CredentialsError::SigningRequest`]: it is no PKCS#10, too long, not signed by its key, or does not name exactly one inner key.
    pub fn parse(der: &[u8]) -> Result<SigningRequest, CredentialsError> {
        let bad = |_| CredentialsError::SigningRequest;
        if der.len() > SIGNING_REQUEST_BYTES_MAX {
            return Err(CredentialsError::SigningRequest);
        }
        let request = CertificateSigningRequestParams::from_der(
            &CertificateSigningRequestDer::from(der.to_vec()),
        )
        .map_err(bad)?;
        let [SanType::URI(name)] = request.params.subject_alt_names.as_slice() else {
            return Err(CredentialsError::SigningRequest);
        };
        let inner_key = inner_key_of_uri(name.as_str())
            .and_then(Result::ok)
            .ok_or(CredentialsError::SigningRequest)?;
        Ok(SigningRequest { public_key: request.public_key, inner_key })
    }
}
