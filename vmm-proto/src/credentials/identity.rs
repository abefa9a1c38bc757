//! The identity in a certificate: principal and inner public key, both as URI SANs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::INNER_KEY_BYTES;
use crate::principal::{Principal, PrincipalError};

const INNER_KEY_PREFIX: &str = "xvmp-key:x25519:";

/// What a certificate says about its owner. Believe it only after the chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The owner.
    pub principal: Principal,
    /// The owner's X25519 static public key.
    pub inner_key: [u8; INNER_KEY_BYTES],
    /// Start of validity, since the epoch.
    pub not_before: Duration,
    /// End of validity, since the epoch.
    pub not_after: Duration,
}

impl Identity {
    /// Whether it is time to renew: half of the validity is over.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        let half = self.not_after.saturating_sub(self.not_before) / 2;
        now >= self.not_before + half
    }

    /// Reads a certificate (DER).
    ///
    /// # Errors
    /// It is no X.509 certificate, or does not carry exactly one principal and one inner key.
    pub fn of(certificate: &[u8]) -> Result<Identity, IdentityError> {
        let (rest, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Certificate)?;
        if !rest.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let uris = uri_names(&certificate)?;
        let key = one(uris.iter().filter_map(|uri| uri.strip_prefix(INNER_KEY_PREFIX)));
        let name = one(uris.iter().copied().filter(|uri| uri.starts_with("xvmp://")));
        let validity = certificate.validity();
        Ok(Identity {
            principal: name.ok_or(IdentityError::PrincipalCount)?.parse()?,
            inner_key: decode_key(key.ok_or(IdentityError::InnerKeyCount)?)?,
            not_before: seconds(validity.not_before.timestamp()),
            not_after: seconds(validity.not_after.timestamp()),
        })
    }
}

/// The inner public key that a URI carries; none when it is no such URI.
pub(super) fn inner_key_of_uri(uri: &str) -> Option<Result<[u8; INNER_KEY_BYTES], IdentityError>> {
    uri.strip_prefix(INNER_KEY_PREFIX).map(decode_key)
}

/// The URI SAN that carries an inner public key.
pub(super) fn inner_key_uri(public: &[u8; INNER_KEY_BYTES]) -> String {
    format!("{INNER_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(public))
}

fn uri_names<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
    let names = names.map(|extension| extension.value.general_names.as_slice());
    let uri = |name: &GeneralName<'a>| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    };
    Ok(names.unwrap_or_default().iter().filter_map(uri).collect())
}

fn one<'a>(mut items: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn decode_key(text: &str) -> Result<[u8; INNER_KEY_BYTES], IdentityError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| IdentityError::InnerKey)?;
    bytes.try_into().map_err(|_| IdentityError::InnerKey)
}

fn seconds(timestamp: i64) -> Duration {
    Duration::from_secs(timestamp.try_into().unwrap_or_default())
}

/// Why a certificate gives no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("not an X.509 certificate")]
    Certificate,
    /// None, or several.
    #[error("the certificate must carry exactly one xvmp:// URI as alternative name")]
    PrincipalCount,
    /// None, or several.
    #[error("the certificate must carry exactly one {INNER_KEY_PREFIX} URI as alternative name")]
    InnerKeyCount,
    /// Not 32 bytes in base64url.
    #[error("the certificate's inner key is not 32 bytes in base64url without padding")]
    InnerKey,
    /// A principal that is none.
    #[error(transparent)]
    Principal(#[from] PrincipalError),
}
