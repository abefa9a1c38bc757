//! From a body to a sealed answer.

use std::sync::Arc;

use hyper::StatusCode;
use tokio::time::timeout;

use super::connection::Peer;
use super::refusal::Refusal;
use super::shares::Share;
use super::{Caller, Place, Shared};
use crate::endpoint::DEADLINE_MAX;
use crate::envelope::Sealed;
use crate::message::{self, MessageError};
use crate::principal::Principal;
use crate::session::{ServerSession, SessionError};
use crate::v1::{Cost, Fault, FaultCode, Reply, Request, Verb, verb};

/// Opens a session.
pub(super) fn open(shared: &Shared, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    // TLS looked when the connection began; connections can be long.
    if shared.clock.now() > peer.identity.not_after {
        return Err(Refusal::bad("the certificate has expired since the connection began"));
    }
    let (session, document) =
        ServerSession::accept(&peer.own, &peer.identity, body).map_err(Refusal::bad)?;
    tracing::debug!(principal = %peer.identity.principal, session = session.id(), "session opened");
    match shared.sessions.insert(session) {
        Ok(()) => Ok(document.into_bytes()),
        Err(SessionError::TooMany) => Err(Refusal::Busy),
        Err(error) => Err(Refusal::bad(error)),
    }
}

/// Carries out one request.
pub(super) async fn call(
    shared: &Arc<Shared>,
    peer: &Peer,
    body: &[u8],
    place: Arc<Place>,
) -> Result<Vec<u8>, Refusal> {
    let sealed = Sealed::parse(body).map_err(Refusal::bad)?;
    let header = sealed.header();
    let session = shared
        .sessions
        .find(&header.session, &peer.identity.principal)
        .ok_or_else(|| Refusal::bad("no such session of this principal"))?;
    let plaintext = session.open(&sealed).map_err(Refusal::bad)?;
    let outcome = match message::read_request(&plaintext, header) {
        Ok((terms, request)) => {
            let caller = Caller {
                principal: peer.identity.principal.clone(),
                request_id: header.id.clone(),
                idempotency_key: terms.idempotency_key,
                deadline: terms.deadline,
            };
            run(shared, caller, request, place).await
        }
        Err(error @ MessageError::Elsewhere { .. }) => return Err(Refusal::bad(error)),
        Err(error @ MessageError::Verb { .. }) => {
            Err(Fault::new(FaultCode::Unsupported, format!("{error}: update the older side")))
        }
        Err(error) => Err(Fault::new(FaultCode::BadRequest, error.to_string())),
    };
    let outcome = outcome.map_err(|fault| fault.at(&shared.hop()));
    // Not a bad message: the request was carried out, and whoever reads 400 would send it again.
    answer(&session, &header.id, outcome).map_err(|error| {
        tracing::error!(request_id = header.id, %error, "an answer cannot be sealed");
        Refusal::Status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// Runs the service in a task of its own and waits for it as long as the caller does.
async fn run(
    shared: &Arc<Shared>,
    caller: Caller,
    request: Request,
    place: Arc<Place>,
) -> Result<Reply, Fault> {
    if let Some(outcome) = shared.renewal.answer(&caller, &request) {
        return outcome;
    }
    let deadline = caller.deadline.unwrap_or(DEADLINE_MAX).min(DEADLINE_MAX);
    let (request_id, Verb { name: verb, cost, .. }) = (caller.request_id.clone(), verb(&request));
    // Who only waits has nothing to lose, and gives its place up at once.
    let (waiting, end) = match cost {
        Cost::Wait => (Some(wait_share(shared, &caller)?), shared.stop.clone()),
        _ => (None, shared.abort.clone()),
    };
    let service = shared.service.clone();
    let task = shared.tasks.spawn(async move {
        let _places = (place, waiting);
        tokio::select! {
            result = service.call(caller, request) => result,
            () = end.cancelled() => Err(Fault::new(FaultCode::Busy, "this server stops")),
        }
    });
    match timeout(deadline, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            tracing::error!(request_id, verb, %error, "a call panicked");
            let message = format!("{verb} failed by a defect: see the log for {request_id}");
            Err(Fault::new(FaultCode::Internal, message))
        }
        Err(_) => {
            let message = format!("{verb} took more than {deadline:?}: it goes on, look again");
            Err(Fault::new(FaultCode::TimedOut, message))
        }
    }
}

fn wait_share(shared: &Shared, caller: &Caller) -> Result<Share<Principal>, Fault> {
    shared.wait_shares.take(&caller.principal).ok_or_else(|| {
        let text =
            "too many of your requests wait at once: one WaitEvents sees what many WaitTask do";
        Fault::new(FaultCode::Busy, text)
    })
}

fn answer(
    session: &ServerSession,
    id: &str,
    outcome: Result<Reply, Fault>,
) -> Result<Vec<u8>, SessionError> {
    let result = seal_answer(session, id, &outcome);
    if let (Err(error), true) = (&result, outcome.is_ok()) {
        tracing::error!(request_id = id, %error, "a reply cannot be sent");
        let message = format!("the reply cannot be sent: {error}");
        return seal_answer(session, id, &Err(Fault::new(FaultCode::Internal, message)));
    }
    result
}

fn seal_answer(
    session: &ServerSession,
    id: &str,
    outcome: &Result<Reply, Fault>,
) -> Result<Vec<u8>, SessionError> {
    let header = session.next_header(id);
    let plaintext = message::write_response(&header, outcome)?;
    session.seal(&header, plaintext.as_bytes())
}
