//! Who gets a certificate: applicants with a token that was given out, and whoever has one that is half over.
//!
//! ```text
//!   vmm-manager invite ─► invitations/<token id>.json ─► Registrar::admit ─► signed; a host is added to the pool
//!   RenewCertificate (users), background::renew (agents, and the manager itself) ─► signed
//! ```
//!
//! The authority's key stays in this room. A manager without it (its directory has no `ca-key.pem`) admits and renews nobody, and says so.

mod invitations;

pub use invitations::{InvitationError, Invitations};

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmm_proto::clock::WallClock;
use vmm_proto::credentials::{
    CertificateAuthority, CertificateDer, Credentials, CredentialsError, LiveCredentials,
    SigningRequest,
};
use vmm_proto::enrolment::{Application, Invitation};
use vmm_proto::principal::Principal;
use vmm_proto::v1::{Certificate, Fault, FaultCode};

/// What it takes to sign.
pub struct Enrolment {
    authority: CertificateAuthority,
    /// None where nobody is invited.
    invitations: Option<Invitations>,
}

/// What the manager signs with, and its own credentials.
pub(crate) struct Office {
    pub(crate) credentials: LiveCredentials,
    pub(crate) clock: Arc<dyn WallClock>,
    enrolment: Option<Enrolment>,
}

impl Enrolment {
    /// Signs with this authority, for whoever was invited there.
    #[must_use]
    pub fn new(authority: CertificateAuthority, invitations: Option<Invitations>) -> Self {
        Self { authority, invitations }
    }
}

impl Office {
    pub(crate) fn new(
        credentials: LiveCredentials,
        clock: Arc<dyn WallClock>,
        enrolment: Option<Enrolment>,
    ) -> Self {
        Self { credentials, clock, enrolment }
    }

    /// Whether anybody can be signed for.
    pub(crate) fn can_sign(&self) -> bool {
        self.enrolment.is_some()
    }

    /// Signs a request in base64 for this principal.
    pub(crate) fn sign(&self, request: &str, whose: &Principal) -> Result<Certificate, Fault> {
        let der = STANDARD.decode(request).map_err(|_| bad_request(&"it is no base64"))?;
        let request = SigningRequest::parse(&der).map_err(|error| bad_request(&error))?;
        let certificate = self.sign_parsed(&request, whose)?;
        Ok(Certificate {
            certificate: STANDARD.encode(certificate),
            authority: STANDARD.encode(self.enrolment()?.authority.certificate()),
        })
    }

    /// New credentials of the manager itself.
    pub(crate) fn renew_own(&self) -> Result<(), Fault> {
        let failed = |error: CredentialsError| internal(&error);
        let principal = self.credentials.principal().clone();
        let new: Credentials =
            self.enrolment()?.authority.issue(&principal, self.clock.now()).map_err(failed)?;
        self.credentials.replace(new).map_err(failed)
    }

    pub(crate) fn invitation(&self, token: &str) -> Option<Invitation> {
        let invitations = self.enrolment.as_ref()?.invitations.as_ref()?;
        invitations.find(token, self.clock.now()).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "an invitation is unusable");
            None
        })
    }

    /// Binds the token to the applicant's key, then signs.
    pub(crate) fn admit(
        &self,
        application: &Application,
    ) -> Result<CertificateDer<'static>, Fault> {
        let enrolment = self.enrolment()?;
        let invitations = enrolment.invitations.as_ref().ok_or_else(nobody)?;
        let Application { token, principal, request, .. } = application;
        match invitations.take(token, &request.inner_key, self.clock.now()) {
            Ok(()) => self.sign_parsed(request, principal),
            Err(InvitationError::Used) => Err(Fault::new(
                FaultCode::Denied,
                "the token was used already, with other keys: make a new one with `vmm-manager invite`",
            )),
            Err(error) => Err(internal(&error)),
        }
    }

    fn enrolment(&self) -> Result<&Enrolment, Fault> {
        self.enrolment.as_ref().ok_or_else(nobody)
    }

    fn sign_parsed(
        &self,
        request: &SigningRequest,
        whose: &Principal,
    ) -> Result<CertificateDer<'static>, Fault> {
        let signed = self.enrolment()?.authority.sign(request, whose, self.clock.now());
        signed.map_err(|error| internal(&error))
    }
}

fn nobody() -> Fault {
    Fault::new(FaultCode::Unsupported, "this manager has no authority's key and signs for nobody")
}

fn bad_request(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::BadRequest, format!("the signing request is refused: {error}"))
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Fault {
    tracing::error!(error, "signing failed");
    Fault::new(FaultCode::Internal, format!("{error}; the manager's log says more"))
}
