//! Faults as RFC 9457's problem+json. What goes wrong before a verb is asked has a code of the same closed list.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use vmm_proto::v1::{Fault, FaultCode};

/// The hop of what this edge refuses by itself.
const HOP: &str = "manager";
pub(super) const TYPE: &str = "application/problem+json";
/// When it is worth asking again.
const RETRY_AFTER_S: &str = "1";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) fault: Fault,
    /// The task that failed, when one did.
    pub(super) task: Option<String>,
    /// Methods that would be answered.
    pub(super) allow: Option<String>,
}

/// The status of a code: the only place where one is chosen.
pub(super) fn status_of(code: FaultCode) -> StatusCode {
    match code {
        FaultCode::UnknownVm
        | FaultCode::UnknownHost
        | FaultCode::UnknownTask
        | FaultCode::UnknownPool
        | FaultCode::UnknownSite
        | FaultCode::UnknownGroup
        | FaultCode::FileNotFound => StatusCode::NOT_FOUND,
        FaultCode::BadRequest => StatusCode::BAD_REQUEST,
        FaultCode::BadState | FaultCode::Conflict | FaultCode::Cancelled => StatusCode::CONFLICT,
        FaultCode::BadImage | FaultCode::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        FaultCode::Denied => StatusCode::FORBIDDEN,
        FaultCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
        FaultCode::NoCapacity | FaultCode::OutOfMemory => StatusCode::INSUFFICIENT_STORAGE,
        FaultCode::HostUnreachable | FaultCode::HostFailed => StatusCode::BAD_GATEWAY,
        FaultCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        FaultCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        FaultCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self { status: status_of(fault.code), fault: fault.at(HOP), task: None, allow: None }
    }
}

impl Problem {
    /// Of this edge itself.
    pub(super) fn new(status: StatusCode, code: FaultCode, message: impl Into<String>) -> Self {
        Self { status, ..Self::from(Fault::new(code, message)) }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::from(Fault::new(FaultCode::BadRequest, message))
    }

    pub(super) fn of_task(self, task: String) -> Self {
        Self { task: Some(task), ..self }
    }

    fn body(&self) -> Value {
        let Fault { code, hop, retryable, message } = &self.fault;
        let mut body = json!({
            "type": format!("urn:smps-vmm:fault:{code:?}"),
            "title": self.status.canonical_reason().unwrap_or("Fault"),
            "status": self.status.as_u16(),
            "detail": message,
            "code": format!("{code:?}"),
            "hop": hop,
            "retryable": retryable,
        });
        if let (Some(task), Some(body)) = (&self.task, body.as_object_mut()) {
            body.insert("task".to_owned(), task.clone().into());
        }
        body
    }

    /// As text.
    pub(super) fn text(&self) -> String {
        self.body().to_string()
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"smps-vmm\""));
        }
        if self.fault.code == FaultCode::Busy {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if let Some(allow) = self.allow.as_ref().and_then(|allow| allow.parse().ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}
