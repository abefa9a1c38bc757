//! The server's side: who may be admitted is a [`Registrar`]'s to say; the handshake is done here.

use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::documents::{self, JoinRequest};
use super::{SECRET_BYTES, handshake};
use crate::credentials::{Credentials, SigningRequest};
use crate::principal::Principal;
use crate::v1::Fault;

/// What is known of a token that was given out.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Whose credentials it is for.
    pub principal: Principal,
    /// [`super::JoinToken::psk`].
    pub psk: Zeroizing<[u8; SECRET_BYTES]>,
}

/// An applicant who knew the token's secret and has the keys that it wants signed.
#[derive(Debug)]
pub struct Application {
    /// The token's id.
    pub token: String,
    /// Whose credentials the token is for.
    pub principal: Principal,
    /// What is to be signed.
    pub request: SigningRequest,
    /// Where an agent says that it is to be called.
    pub address: Option<String>,
}

/// Knows the tokens, and admits.
pub trait Registrar: Send + Sync + 'static {
    /// The invitation behind a token's id; none when there is none any more.
    fn invitation(&self, token: &str) -> Option<Invitation>;

    /// Signs, if the token is still good for this applicant's keys. The same application again is answered alike.
    fn admit(
        &self,
        application: Application,
    ) -> BoxFuture<'_, Result<CertificateDer<'static>, Fault>>;
}

/// Answers a `Join` document. The error is for the log: the applicant learns nothing.
pub(crate) async fn answer(
    registrar: &dyn Registrar,
    own: &Credentials,
    document: &[u8],
) -> Result<String, &'static str> {
    let (token, message) = documents::read_join(document).ok_or("no Join document")?;
    let invitation = registrar.invitation(&token).ok_or("no such token, or no longer")?;
    let prologue = handshake::prologue(own.principal(), &own.certificate, &token);
    let mut state = handshake::respond(&own.inner_key, &invitation.psk, &prologue)
        .map_err(|_| "no handshake")?;
    let payload = handshake::read(&mut state, &message).map_err(|_| "not the token's secret")?;
    let asked = JoinRequest::read(&payload).map_err(|_| "no JoinRequest")?;
    let request = documents::base64(&asked.signing_request)
        .and_then(|der| SigningRequest::parse(&der).ok())
        .ok_or("no signing request")?;
    if state.get_remote_static() != Some(request.inner_key.as_slice()) {
        return Err("a signing request for another inner key than the handshake's");
    }
    let principal = invitation.principal;
    let application = Application { token, principal, request, address: asked.address };
    let outcome = registrar.admit(application).await;
    let payload =
        documents::write_outcome(outcome.as_ref().map(AsRef::as_ref).map_err(Clone::clone));
    let payload = payload.map_err(|_| "an outcome that cannot be written")?;
    let message = handshake::write(&mut state, &payload).map_err(|_| "an outcome too long")?;
    documents::write_joined(&message).map_err(|_| "an answer that cannot be written")
}
