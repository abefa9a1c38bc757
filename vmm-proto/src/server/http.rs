//! One HTTP request: path, content type, body.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use super::connection::Peer;
use super::held::{self, Held};
use super::refusal::{Refusal, respond};
use super::{Shared, rpc};
use crate::credentials::Credentials;
use crate::endpoint::{
    self, BODY_BYTES_MAX, BODY_TIMEOUT, HEALTH_PATH, JOIN_PATH, OPEN_BYTES_MAX, OPEN_PATH, RPC_PATH,
};
use crate::enrolment;

/// Answers a request, whatever happens.
pub(super) async fn handle(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Response<Held> {
    let answer = AssertUnwindSafe(route(&shared, &peer, request)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| {
        tracing::error!(principal = %peer.identity.principal, "a request panicked");
        Err(Refusal::Status(StatusCode::INTERNAL_SERVER_ERROR))
    });
    answer.unwrap_or_else(|refusal| {
        tracing::warn!(principal = %peer.identity.principal, %refusal, "request refused");
        held::answer(refusal.into_response(), None)
    })
}

async fn route(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Held>, Refusal> {
    // With a query it is another one.
    let path = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    if path == HEALTH_PATH && request.method() == Method::GET {
        return Ok(health(shared));
    }
    if ![OPEN_PATH, RPC_PATH, HEALTH_PATH].contains(&path) {
        return Err(Refusal::Status(StatusCode::NOT_FOUND));
    }
    if request.method() != Method::POST || path == HEALTH_PATH {
        return Err(Refusal::Status(StatusCode::METHOD_NOT_ALLOWED));
    }
    // Before the body is read, so that the bodies in memory are bounded too.
    let place = Arc::new(shared.place(&peer.identity.principal).ok_or(Refusal::Busy)?);
    let is_open = path == OPEN_PATH;
    let body = body(request, if is_open { OPEN_BYTES_MAX } else { BODY_BYTES_MAX }).await?;
    let answer = match is_open {
        true => rpc::open(shared, peer, &body)?,
        false => rpc::call(shared, peer, &body, place.clone()).await?,
    };
    Ok(held::answer(respond(StatusCode::OK, answer), Some(place)))
}

/// Answers somebody without a certificate.
pub(super) async fn admit(
    shared: Arc<Shared>,
    own: Arc<Credentials>,
    peer: &str,
    request: Request<Incoming>,
) -> Response<Held> {
    let answer = AssertUnwindSafe(join(&shared, &own, request)).catch_unwind().await;
    let answer = answer.unwrap_or(Err(Refusal::Status(StatusCode::INTERNAL_SERVER_ERROR)));
    answer.unwrap_or_else(|refusal| {
        tracing::warn!(peer, %refusal, "nobody was admitted");
        held::answer(refusal.into_response(), None)
    })
}

/// It is up, and this is the clock by which it judges certificates.
fn health(shared: &Shared) -> Response<Held> {
    let mut response = respond(StatusCode::OK, "");
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + shared.clock.now());
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().insert(DATE, date);
    }
    held::answer(response, None)
}

async fn join(
    shared: &Shared,
    own: &Credentials,
    request: Request<Incoming>,
) -> Result<Response<Held>, Refusal> {
    let path = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    match (path, &shared.registrar) {
        (HEALTH_PATH, _) if request.method() == Method::GET => Ok(health(shared)),
        (JOIN_PATH, Some(registrar)) if request.method() == Method::POST => {
            let body = body(request, OPEN_BYTES_MAX).await?;
            let answer = enrolment::answer(registrar.as_ref(), own, &body).await;
            let answer = answer.map_err(Refusal::bad)?;
            Ok(held::answer(respond(StatusCode::OK, answer), None))
        }
        _ => Err(Refusal::Status(StatusCode::NOT_FOUND)),
    }
}

async fn body(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, Refusal> {
    let content_types = request.headers().get_all(CONTENT_TYPE).iter();
    let is_ours = content_types.eq([endpoint::CONTENT_TYPE]);
    if !is_ours || request.headers().contains_key(CONTENT_ENCODING) {
        return Err(Refusal::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let body = request.into_body();
    let limit = u64::try_from(bytes_max).expect("a limit of this crate");
    if body.size_hint().lower() > limit {
        return Err(Refusal::Status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::Status(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(error)) => Err(Refusal::bad(error)),
        Err(_) => Err(Refusal::Status(StatusCode::REQUEST_TIMEOUT)),
    }
}
