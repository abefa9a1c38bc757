//! The token: what an applicant is given, in one line of text.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::credentials::{CredentialsError, IdentityError};

/// Bytes of the secret.
pub const SECRET_BYTES: usize = 32;
/// Bytes of the pin: a SHA-256.
pub const PIN_BYTES: usize = 32;
/// Characters of the id: hexadecimal.
pub(super) const ID_CHARACTERS: usize = 16;

const KIND: &str = "xvmpj1";

/// A join token: `xvmpj1.<id>.<secret>.<pin>`, the id in hexadecimal, the others in base64url. `Debug` shows the id only; `Display` shows
/// the secret, since that is what the text is for.
#[derive(Clone)]
pub struct JoinToken {
    id: String,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    pin: [u8; PIN_BYTES],
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no join token: copy it whole, from {KIND} to the last character")]
pub struct TokenError;

impl JoinToken {
    /// A new one for the pool of this authority (DER).
    ///
    /// # Errors
    /// It is no certificate, or the system gives no random bytes.
    pub fn generate(authority: &[u8]) -> Result<JoinToken, CredentialsError> {
        let mut id = [0; ID_CHARACTERS / 2];
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(&mut id).map_err(CredentialsError::Random)?;
        getrandom::fill(secret.as_mut_slice()).map_err(CredentialsError::Random)?;
        let id = format!("{:016x}", u64::from_be_bytes(id));
        let pin = pin_of(authority).ok_or(IdentityError::Certificate)?;
        Ok(JoinToken { id, secret, pin })
    }

    /// Names the token; no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The pre-shared key of the handshake: what the manager keeps instead of the secret.
    #[must_use]
    pub fn psk(&self) -> Zeroizing<[u8; SECRET_BYTES]> {
        let digest = Sha256::new().chain_update(b"xvmp1 join").chain_update(self.secret.as_slice());
        Zeroizing::new(digest.finalize().into())
    }

    /// Which authority the manager must have: the SHA-256 of its public key (`SubjectPublicKeyInfo`, DER).
    #[must_use]
    pub fn pin(&self) -> &[u8; PIN_BYTES] {
        &self.pin
    }
}

/// The pin of an authority's certificate (DER); none when it is no certificate.
#[must_use]
pub fn pin_of(certificate: &[u8]) -> Option<[u8; PIN_BYTES]> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256::digest(certificate.public_key().raw).into())
}

pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_CHARACTERS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        write!(f, "{KIND}.{}.{}.{}", self.id, *secret, URL_SAFE_NO_PAD.encode(self.pin))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<JoinToken, TokenError> {
        let mut parts = text.trim().split('.');
        let mut next = || parts.next().ok_or(TokenError);
        let (kind, id, secret, pin) = (next()?, next()?, next()?, next()?);
        if kind != KIND || !is_id(id) || parts.next().is_some() {
            return Err(TokenError);
        }
        let bytes = |text| URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| TokenError);
        let secret = bytes(secret)?.as_slice().try_into().map_err(|_| TokenError)?;
        let pin = bytes(pin)?.as_slice().try_into().map_err(|_| TokenError)?;
        Ok(JoinToken { id: id.to_owned(), secret: Zeroizing::new(secret), pin })
    }
}
