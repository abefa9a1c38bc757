//! One request and its answer over a link.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::SendRequest;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};

use super::link::Link;
use super::{Hop, explain};
use crate::endpoint::{self, BODY_BYTES_MAX};
use crate::message::{self, Terms};
use crate::v1;

/// Longest pause that a server may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why there is no answer, as far as it decides about trying again.
#[derive(Debug)]
pub(super) enum Failure {
    /// Status 400: it could not read the message, most likely it does not know the session.
    Refused,
    /// Status 503.
    Busy(Duration),
    /// The connection broke.
    Broken { was_sent: bool, reason: String },
    /// Trying again would not help.
    Final { hop: Hop, reason: String },
}

fn last(hop: Hop) -> impl Fn(&dyn std::fmt::Display) -> Failure {
    move |reason| Failure::Final { hop, reason: reason.to_string() }
}

impl Link {
    /// Sends a request under a new sequence number.
    pub(super) async fn exchange(
        &self,
        id: &str,
        terms: &Terms,
        request: &v1::Request,
    ) -> Result<Result<v1::Reply, v1::Fault>, Failure> {
        let unwritable = last(Hop::Request);
        let header = self.session.next_header(id).map_err(|error| unwritable(&error))?;
        let document =
            message::write_request(&header, terms, request).map_err(|error| unwritable(&error))?;
        let body =
            self.session.seal(&header, document.as_bytes()).map_err(|error| unwritable(&error))?;
        let answer = post(&self.sender, endpoint::RPC_PATH, body).await?;
        let unreadable = last(Hop::Answer);
        let (header, plaintext) =
            self.session.open(id, &answer).map_err(|error| unreadable(&error))?;
        message::read_response(&plaintext, &header).map_err(|error| unreadable(&error))
    }
}

/// Posts a document; returns the body of a 200.
pub(super) async fn post(
    sender: &SendRequest<Full<Bytes>>,
    path: &'static str,
    body: Vec<u8>,
) -> Result<Bytes, Failure> {
    let request = Request::post(path)
        .header(CONTENT_TYPE, endpoint::CONTENT_TYPE)
        .body(Full::new(Bytes::from(body)))
        .expect("a constant request line");
    let broken = |error: &hyper::Error| Failure::Broken {
        was_sent: !error.is_canceled(),
        reason: explain(error),
    };
    let response = sender.clone().send_request(request).await.map_err(|error| broken(&error))?;
    let (status, pause) = (response.status(), retry_after(&response));
    match status {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST => return Err(Failure::Refused),
        StatusCode::SERVICE_UNAVAILABLE => return Err(Failure::Busy(pause)),
        _ => return Err(last(Hop::Http)(&format!("it answered {status}"))),
    }
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body =
        body.map_err(|error| Failure::Broken { was_sent: true, reason: error.to_string() })?;
    Ok(body.to_bytes())
}

fn retry_after<B>(response: &Response<B>) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    seconds.unwrap_or(endpoint::RETRY_AFTER).min(PAUSE_MAX)
}
