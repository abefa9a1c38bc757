//! A server's certificate, renewed by its manager: the keys are made here, the manager signs, and the new ones are used from the next
//! connection on.
//!
//! ```text
//!   manager: ShowCertificate ─► half of its time is over? ─► PrepareKeys ─► sign ─► InstallCertificate
//! ```
//!
//! These verbs are answered here, not by the service: they are about the wire. Only a manager may use them, and a manager's server answers
//! them to nobody: it renews its own. A certificate for other keys, of another authority or for somebody else is refused, and the old
//! one stays. Keys that were prepared are kept in memory until the certificate comes or others are prepared.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;

use super::Caller;
use crate::clock::WallClock;
use crate::credentials::{CredentialsError, LiveCredentials, NewKeys};
use crate::principal::Role;
use crate::v1::{
    Certificate, Done, Fault, FaultCode, InstallCertificate, Reply, Request, SigningRequest, verb,
};

pub(super) struct Renewal {
    credentials: LiveCredentials,
    clock: Arc<dyn WallClock>,
    prepared: Mutex<Option<NewKeys>>,
}

impl Renewal {
    pub(super) fn new(credentials: LiveCredentials, clock: Arc<dyn WallClock>) -> Renewal {
        Renewal { credentials, clock, prepared: Mutex::new(None) }
    }

    /// None when the request is none of these.
    pub(super) fn answer(
        &self,
        caller: &Caller,
        request: &Request,
    ) -> Option<Result<Reply, Fault>> {
        if !matches!(
            request,
            Request::ShowCertificate(_) | Request::PrepareKeys(_) | Request::InstallCertificate(_)
        ) {
            return None;
        }
        let own = self.credentials.principal().role;
        if own == Role::Manager || caller.principal.role != Role::Manager {
            let text = format!("{} is for managers, at an agent", verb(request).name);
            return Some(Err(Fault::new(FaultCode::Denied, text)));
        }
        match request {
            Request::ShowCertificate(_) => Some(Ok(self.show())),
            Request::PrepareKeys(_) => Some(self.prepare()),
            Request::InstallCertificate(install) => Some(self.install(install)),
            _ => None,
        }
    }

    fn show(&self) -> Reply {
        let current = self.credentials.current();
        Reply::Certificate(Certificate {
            certificate: STANDARD.encode(current.certificate()),
            authority: STANDARD.encode(current.authority()),
        })
    }

    fn prepare(&self) -> Result<Reply, Fault> {
        let keys = NewKeys::generate().map_err(|error| failed(&error))?;
        let request = keys.signing_request().map_err(|error| failed(&error))?;
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        Ok(Reply::SigningRequest(SigningRequest { signing_request: STANDARD.encode(request) }))
    }

    fn install(&self, install: &InstallCertificate) -> Result<Reply, Fault> {
        let certificate = STANDARD.decode(&install.certificate).map_err(|_| {
            Fault::new(FaultCode::BadRequest, "the certificate is no base64 of a certificate")
        })?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = prepared.take().ok_or_else(|| {
            Fault::new(FaultCode::BadState, "no keys are prepared: send PrepareKeys first")
        })?;
        let authority = CertificateDer::from(self.credentials.current().authority().to_vec());
        let new = keys.with(CertificateDer::from(certificate), authority);
        let new = new.and_then(|new| {
            crate::tls::check_signed(&new).map(|()| new).map_err(CredentialsError::from)
        });
        let new = new.map_err(|error| failed(&error))?;
        let now = self.clock.now();
        if !(new.identity().not_before..=new.not_after()).contains(&now) {
            let text = "by this host's clock the certificate is not valid now: set the clocks of host and manager";
            return Err(Fault::new(FaultCode::BadRequest, text));
        }
        self.credentials.replace(new).map_err(|error| failed(&error))?;
        tracing::info!("the certificate was renewed");
        Ok(Reply::Done(Done {}))
    }
}

fn failed(error: &CredentialsError) -> Fault {
    let code = match error {
        CredentialsError::Write { .. } | CredentialsError::Read { .. } => FaultCode::HostFailed,
        CredentialsError::Random(_) => FaultCode::Internal,
        _ => FaultCode::BadRequest,
    };
    Fault::new(code, error.to_string())
}
