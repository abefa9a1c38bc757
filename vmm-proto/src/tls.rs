//! The outer layer: mutual TLS 1.3, one provider (aws-lc-rs), named in every config.
//!
//! Names of hosts play no part. A certificate is good if it chains to the pool's authority, is
//! valid now, and carries an [`Identity`]; a client also demands the one principal that it meant to
//! reach. There are no session tickets, no early data and no revocation lists in this form.
//!
//! A refusal is a [`PeerError`] inside rustls' error; it says which certificate came and which was
//! expected. The peer that was refused sees an alert only.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};
use thiserror::Error as ThisError;

use crate::clock::{RustlsClock, WallClock};
use crate::credentials::{Credentials, Identity, IdentityError};
use crate::enrolment::{PIN_BYTES, pin_of};
use crate::principal::{Principal, Role};

pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// ALPN names: HTTP/2 first.
pub(crate) const ALPN_H2: &[u8] = b"h2";
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// ALPN name of connections that carry one bulk stream.
pub const ALPN_BULK: &[u8] = b"xvmp-bulk/1";

/// ALPN name of connections that have no certificate yet and want one. HTTP/1.1 on them, and one path.
pub const ALPN_JOIN: &[u8] = b"xvmp-join/1";

/// Why a peer's certificate was refused.
#[derive(Debug, ThisError)]
pub enum PeerError {
    /// It does not chain to our authority, or is outside its validity.
    #[error(
        "the certificate of {claimed} was refused ({source}): credentials of both sides must come \
         from the same authority and be valid now"
    )]
    Chain {
        /// What it says about its owner, unverified.
        claimed: String,
        /// Why.
        source: Error,
    },
    /// Of our authority, but with no identity.
    #[error("a certificate of our authority carries no identity: issue it anew")]
    Identity(#[from] IdentityError),
    /// Another authority than the token's.
    #[error(
        "it is of another pool than the token: check the manager's address, or whether the pool's authority was made anew"
    )]
    Pin,
    /// Of the pool, but no manager.
    #[error("{found} answered: give the manager's address")]
    NoManager {
        /// Who answered.
        found: Principal,
    },
    /// Somebody else answered.
    #[error(
        "expected {expected} but {found} answered: check the address, or which host's credentials \
         lie there"
    )]
    Principal {
        /// Whom we called.
        expected: Principal,
        /// Who answered.
        found: Principal,
    },
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// The configuration of a server: any principal of the pool may connect.
///
/// # Errors
/// rustls does not accept the certificate or key.
pub fn server_config(
    credentials: &Credentials,
    clock: Arc<dyn WallClock>,
) -> Result<Arc<ServerConfig>, Error> {
    let verifier = PeerVerifier::new(credentials, None)?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(RustlsClock(clock)))
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![credentials.certificate.clone()], credentials.tls_key())?;
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec(), ALPN_BULK.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The configuration of a client that will speak with `server` and nobody else.
///
/// # Errors
/// rustls does not accept the certificate or key.
pub fn client_config(
    credentials: &Credentials,
    server: &Principal,
    clock: Arc<dyn WallClock>,
) -> Result<Arc<ClientConfig>, Error> {
    let verifier = PeerVerifier::new(credentials, Some(server.clone()))?;
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(RustlsClock(clock)))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(ServerVerifier::new(verifier))
        .with_client_auth_cert(vec![credentials.certificate.clone()], credentials.tls_key())?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The configuration of a server for those who have no certificate: it shows its own, and the authority's behind it.
///
/// # Errors
/// rustls does not accept the certificate or key.
pub fn join_server_config(
    credentials: &Credentials,
    clock: Arc<dyn WallClock>,
) -> Result<Arc<ServerConfig>, Error> {
    let chain = vec![credentials.certificate.clone(), credentials.ca.clone()];
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(RustlsClock(clock)))
        .with_protocol_versions(VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(chain, credentials.tls_key())?;
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The configuration of an applicant: it speaks with a manager of the authority that the pin names.
///
/// # Errors
/// rustls does not accept the provider.
pub fn join_client_config(
    pin: [u8; PIN_BYTES],
    clock: Arc<dyn WallClock>,
) -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(RustlsClock(clock)))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(ServerVerifier::new(Pinned(pin)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The name that rustls wants and nobody looks at.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from("xvmp.invalid").expect("a valid DNS name")
}

/// Whether the key is the certificate's.
pub(crate) fn check_key_matches(credentials: &Credentials) -> Result<(), Error> {
    let chain = vec![credentials.certificate.clone()];
    CertifiedKey::from_der(chain, credentials.tls_key(), &provider())?.keys_match()
}

/// Whether the certificate is of the authority that stands beside it, whenever it is valid.
pub(crate) fn check_signed(credentials: &Credentials) -> Result<(), Error> {
    check_signed_by(&credentials.certificate, &credentials.ca)
}

/// Whether the certificate is of this authority (DER), whenever it is valid.
pub(crate) fn check_signed_by(
    certificate: &CertificateDer<'_>,
    authority: &[u8],
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec()))?;
    let parsed = ParsedCertificate::try_from(certificate)?;
    let begin = Identity::of(certificate).map_or(std::time::Duration::ZERO, |id| id.not_before);
    let now = UnixTime::since_unix_epoch(begin);
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
}

/// The configuration of a client that looks at whoever answers, and sends nothing that is worth anything. With credentials it speaks HTTP/1.1
/// as their principal, without them as somebody who wants to join.
pub(crate) fn probe_client_config(
    credentials: Option<&Credentials>,
    clock: Arc<dyn WallClock>,
) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(RustlsClock(clock)))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(ServerVerifier::new(Anybody));
    let mut config = match credentials {
        Some(own) => builder.with_client_auth_cert(vec![own.certificate.clone()], own.tls_key())?,
        None => builder.with_no_client_auth(),
    };
    let alpn = if credentials.is_some() { ALPN_HTTP1 } else { ALPN_JOIN };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Checks the certificates of both directions.
#[derive(Debug)]
struct PeerVerifier {
    roots: RootCertStore,
    clients: Arc<dyn ClientCertVerifier>,
    expected: Option<Principal>,
}

impl PeerVerifier {
    fn new(credentials: &Credentials, expected: Option<Principal>) -> Result<PeerVerifier, Error> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        roots.add(credentials.ca.clone())?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        Ok(PeerVerifier { roots, clients, expected })
    }

    fn check_identity(&self, certificate: &[u8]) -> Result<(), PeerError> {
        let found = Identity::of(certificate)?.principal;
        match &self.expected {
            Some(expected) if *expected != found => {
                Err(PeerError::Principal { expected: expected.clone(), found })
            }
            _ => Ok(()),
        }
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

fn refused(certificate: &[u8], source: Error) -> Error {
    let claimed = match Identity::of(certificate) {
        Ok(identity) => identity.principal.to_string(),
        Err(_) => "an unknown party".to_owned(),
    };
    PeerError::Chain { claimed, source }.into()
}

/// Says whether a server's certificate is good.
trait Judge: std::fmt::Debug + Send + Sync {
    /// `behind` are the certificates that it showed behind its own.
    fn judge(
        &self,
        own: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error>;
}

/// A client's check of a server: the judge looks at the certificate, the provider at the handshake's signature.
#[derive(Debug)]
struct ServerVerifier<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J: Judge> ServerVerifier<J> {
    fn new(judge: J) -> Arc<Self> {
        Arc::new(Self { judge, algorithms: provider().signature_verification_algorithms })
    }
}

impl<J: Judge> ServerCertVerifier for ServerVerifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// An applicant knows nothing but a pin.
#[derive(Debug)]
struct Pinned([u8; PIN_BYTES]);

impl Judge for Pinned {
    fn judge(
        &self,
        own: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let authority = behind.last().filter(|shown| pin_of(shown) == Some(self.0));
        let authority = authority.ok_or(PeerError::Pin)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let parsed = ParsedCertificate::try_from(own)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
            .map_err(|source| refused(own, source))?;
        let found = Identity::of(own).map_err(PeerError::from)?.principal;
        if found.role != Role::Manager {
            return Err(PeerError::NoManager { found }.into());
        }
        Ok(())
    }
}

/// Takes any certificate whose key signs the handshake: it is looked at, not trusted.
#[derive(Debug)]
struct Anybody;

impl Judge for Anybody {
    fn judge(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<(), Error> {
        Ok(())
    }
}

impl Judge for PeerVerifier {
    fn judge(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(own)?;
        let algorithms = provider().signature_verification_algorithms.all;
        // Nothing stands between the authority and who speaks: webpki passes over the path length of a trust anchor.
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, &[], now, algorithms)
            .map_err(|source| refused(own, source))?;
        Ok(self.check_identity(own)?)
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .clients
            .verify_client_cert(end_entity, &[], now)
            .map_err(|source| refused(end_entity, source))?;
        self.check_identity(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
