//! What can be wrong with credentials, each with what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::identity::IdentityError;
use crate::principal::{Principal, PrincipalError};

/// Why credentials could not be made, read or written.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A file is missing.
    #[error("{} is missing: issue credentials into this directory first, or name another one", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("reading {} failed: check that it belongs to the user who runs this", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("writing {} failed: check the directory's owner and free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {expected}: issue the credentials anew", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The certificate names no principal or no inner key.
    #[error("the certificate is none of this protocol's: issue the credentials anew")]
    Identity(#[from] IdentityError),
    /// `inner.key` belongs to another certificate.
    #[error("inner.key does not fit cert.pem: copy both from the same issue")]
    InnerKeyMismatch,
    /// `key.pem` belongs to another certificate.
    #[error("key.pem does not fit cert.pem: copy both from the same issue")]
    TlsKeyMismatch {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A principal that may not stand in a certificate.
    #[error("no certificate for this principal")]
    Principal(#[from] PrincipalError),
    /// A key or certificate could not be made.
    #[error("making a {what} failed")]
    Issue {
        /// Which object.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate that the authority beside it did not sign.
    #[error("the certificate is not of this pool's authority: {0}")]
    Signature(#[from] rustls::Error),
    /// A signing request that cannot be granted.
    #[error(
        "this is no signing request (PKCS#10) that its own key signed and that names one inner key"
    )]
    SigningRequest,
    /// Credentials in place of other ones.
    #[error("these are the credentials of {found}, or of another pool: the old ones stay")]
    Another {
        /// Whose they are.
        found: Principal,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}
