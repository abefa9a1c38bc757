//! Answers that say no outside the encryption.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::endpoint;

/// The body of every status 400. It says nothing about what was wrong.
pub const BAD_MESSAGE: &str = r#"<Fault xmlns="urn:smps-vmm:xvmp:1" code="BAD_MESSAGE"/>"#;

/// Why a request got no sealed answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Anything wrong with a message; the reason is for the log.
    BadMessage(String),
    /// Too much at once.
    Busy,
    /// The request as HTTP.
    Status(StatusCode),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::BadMessage(reason) => write!(f, "bad message: {reason}"),
            Refusal::Busy => f.write_str("too many requests or sessions at once"),
            Refusal::Status(status) => write!(f, "status {status}"),
        }
    }
}

impl Refusal {
    pub(super) fn bad(reason: impl std::fmt::Display) -> Refusal {
        Refusal::BadMessage(reason.to_string())
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        match self {
            Refusal::BadMessage(_) => respond(StatusCode::BAD_REQUEST, BAD_MESSAGE),
            Refusal::Status(status) => respond(status, ""),
            Refusal::Busy => {
                let mut response = respond(StatusCode::SERVICE_UNAVAILABLE, "");
                let seconds = endpoint::RETRY_AFTER.max(Duration::from_secs(1)).as_secs();
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
        }
    }
}

/// An answer with the protocol's content type.
pub(super) fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(endpoint::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
