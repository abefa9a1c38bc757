//! Certificates: asked for, shown, installed.

use serde::{Deserialize, Serialize};

/// To the manager: sign for new keys of whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewCertificate {
    /// PKCS#10, DER, base64.
    #[serde(rename = "@signing-request")]
    pub signing_request: String,
}

/// To an agent: show the certificate that you use now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowCertificate {}

/// To an agent: make new keys, and ask for a certificate of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareKeys {}

/// To an agent: use this certificate, of the keys that were prepared last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallCertificate {
    /// DER, base64.
    #[serde(rename = "@certificate")]
    pub certificate: String,
}

/// What is to be signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRequest {
    /// PKCS#10, DER, base64.
    #[serde(rename = "@signing-request")]
    pub signing_request: String,
}

/// A certificate, and the authority's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// DER, base64.
    #[serde(rename = "@certificate")]
    pub certificate: String,
    /// The authority's; DER, base64.
    #[serde(rename = "@authority")]
    pub authority: String,
}
