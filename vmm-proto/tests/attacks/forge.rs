//! Certificates that the authority should not have issued, or did not.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::support::{Pool, TODAY};

const DAY: Duration = Duration::from_secs(86_400);

/// Signs what it is asked to.
pub(crate) struct Forger {
    issuer: Issuer<'static, KeyPair>,
}

/// A chain and the key of its first certificate.
pub(crate) struct Forged {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// What a certificate says.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) uris: Vec<String>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    /// Days from today.
    pub(crate) days: (i32, i32),
    pub(crate) is_ca: bool,
}

impl Claims {
    /// What a good certificate says.
    pub(crate) fn of(principal: &str, inner_key: &[u8; 32]) -> Claims {
        Claims {
            uris: vec![principal.to_owned(), key_uri(inner_key)],
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            days: (-1, 30),
            is_ca: false,
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        let uri = |uri: &String| SanType::URI(uri.as_str().try_into().unwrap());
        params.subject_alt_names = self.uris.iter().map(uri).collect();
        params.extended_key_usages.clone_from(&self.usages);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        let today = date_time_ymd(1970, 1, 1) + TODAY;
        let days = |days: i32| match days {
            0.. => today + DAY * days.unsigned_abs(),
            _ => today - DAY * days.unsigned_abs(),
        };
        (params.not_before, params.not_after) = (days(self.days.0), days(self.days.1));
        params
    }
}

pub(crate) fn key_uri(inner_key: &[u8]) -> String {
    format!("xvmp-key:x25519:{}", URL_SAFE_NO_PAD.encode(inner_key))
}

impl Forger {
    /// Has the authority's key.
    pub(crate) fn of(pool: &Pool) -> Forger {
        let directory = tempfile::tempdir().unwrap();
        pool.authority.save(directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
        Forger { issuer: Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap() }
    }

    pub(crate) fn certify(&self, claims: &Claims) -> Forged {
        let key = KeyPair::generate().unwrap();
        let certificate = claims.params().signed_by(&key, &self.issuer).unwrap();
        Forged { chain: vec![certificate.der().clone()], key: key.serialize_der().into() }
    }
}

impl Forged {
    pub(crate) fn self_signed(claims: &Claims) -> Forged {
        let key = KeyPair::generate().unwrap();
        let certificate = claims.params().self_signed(&key).unwrap();
        Forged { chain: vec![certificate.der().clone()], key: key.serialize_der().into() }
    }

    /// Signs with this certificate's key, as an authority would.
    pub(crate) fn certify(&self, claims: &Claims) -> Forged {
        let key = KeyPair::try_from(self.key.secret_pkcs8_der()).unwrap();
        let issuer = Issuer::from_ca_cert_der(&self.chain[0], key).unwrap();
        let mut forged = Forger { issuer }.certify(claims);
        forged.chain.extend(self.chain.iter().cloned());
        forged
    }

    /// For either end of TLS.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = self.key.clone_key().into();
        let key = CertifiedKey::from_der(self.chain.clone(), key, &provider).unwrap();
        Arc::new(SingleCertAndKey::from(key))
    }
}
