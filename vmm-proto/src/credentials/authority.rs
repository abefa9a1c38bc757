//! The certificate authority of one pool.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::identity::inner_key_uri;
use super::{Credentials, CredentialsError, NewKeys, SigningRequest, files};
use crate::principal::{Principal, Role};

/// How long the authority's own certificate is valid.
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);

/// Clocks may differ by this much: validity starts earlier by it.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

const DAY: Duration = Duration::from_secs(86_400);

/// How long a certificate of this role is valid. Machines renew theirs by themselves when half of it is over; the rest is for a manager
/// that is down. People may be away for longer.
#[must_use]
pub fn lifetime(role: Role) -> Duration {
    match role {
        Role::Manager | Role::Agent => DAY * 7,
        Role::Admin | Role::Operator | Role::Viewer => DAY * 30,
    }
}

/// Issues credentials. Whoever holds one can become any principal of the pool.
pub struct CertificateAuthority {
    certificate: CertificateDer<'static>,
    /// PKCS#8.
    key: Zeroizing<Vec<u8>>,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// Makes a new authority; `now` is the time since the epoch.
    ///
    /// # Errors
    /// The key or certificate cannot be made.
    pub fn create(now: Duration) -> Result<CertificateAuthority, CredentialsError> {
        let key = new_key()?;
        let mut params = params("SMPS-VMM pool authority", now, AUTHORITY_LIFETIME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(issue("authority's certificate"))?;
        CertificateAuthority::new(certificate.der().clone(), key)
    }

    /// Reads `ca.pem` and `ca-key.pem` of a directory.
    ///
    /// # Errors
    /// A file that is missing, unreadable or does not hold what it should.
    pub fn load(directory: &Path) -> Result<CertificateAuthority, CredentialsError> {
        let certificate = files::read_certificate(&directory.join(files::CA))?;
        let key_path = directory.join(files::CA_KEY);
        let key = files::read_key(&key_path)?;
        let key = KeyPair::try_from(key.as_slice()).map_err(|_| CredentialsError::Format {
            path: key_path,
            expected: "private key of an authority",
        })?;
        CertificateAuthority::new(certificate, key)
    }

    /// Writes both files, mode 0600.
    ///
    /// # Errors
    /// The directory or a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), CredentialsError> {
        files::make_directory(directory)?;
        files::write_certificate(&directory.join(files::CA), &self.certificate)?;
        files::write_key(&directory.join(files::CA_KEY), &self.key)
    }

    /// Issues credentials with new keys, valid from `now` (since the epoch) for [`lifetime`].
    ///
    /// # Errors
    /// The principal may not stand in a certificate, or a key cannot be made.
    pub fn issue(
        &self,
        principal: &Principal,
        now: Duration,
    ) -> Result<Credentials, CredentialsError> {
        let keys = NewKeys::generate()?;
        let request = SigningRequest::parse(&keys.signing_request()?)?;
        let certificate = self.sign(&request, principal, now)?;
        keys.with(certificate, self.certificate.clone())
    }

    /// Signs for keys that their owner has made: whose they are, and for how long, is the authority's to say.
    ///
    /// # Errors
    /// The principal may not stand in a certificate.
    pub fn sign(
        &self,
        request: &SigningRequest,
        principal: &Principal,
        now: Duration,
    ) -> Result<CertificateDer<'static>, CredentialsError> {
        principal.check()?;
        let mut params = params(&principal.to_string(), now, lifetime(principal.role));
        params.subject_alt_names =
            vec![uri(principal.to_string())?, uri(inner_key_uri(&request.inner_key))?];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate =
            params.signed_by(&request.public_key, &self.issuer).map_err(issue("certificate"))?;
        Ok(certificate.der().clone())
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    fn new(
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<CertificateAuthority, CredentialsError> {
        let der = Zeroizing::new(key.serialize_der());
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(issue("signing authority"))?;
        Ok(CertificateAuthority { certificate, key: der, issuer })
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

pub(super) fn issue(what: &'static str) -> impl FnOnce(rcgen::Error) -> CredentialsError {
    move |source| CredentialsError::Issue { what, source }
}

fn new_key() -> Result<KeyPair, CredentialsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(issue("P-256 key"))
}

pub(super) fn uri(text: String) -> Result<SanType, CredentialsError> {
    Ok(SanType::URI(text.try_into().map_err(issue("URI for a certificate"))?))
}

fn params(name: &str, now: Duration, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name = distinguished_name;
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + lifetime;
    params
}
