//! Why a call gave no reply.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::principal::Principal;
use crate::v1;

/// Why a call gave no reply.
#[derive(Debug, Error)]
pub enum CallError {
    /// The server understood and said no.
    #[error("{0}")]
    Fault(v1::Fault),
    /// The call did not reach the server, or its answer not us.
    #[error("{hop} {server} at {address} failed: {reason}")]
    Transport {
        /// How far the call came.
        hop: Hop,
        /// Whom it was for.
        server: Principal,
        /// Where that is.
        address: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// The deadline passed. A change may have happened or not: ask, or repeat it with the same
    /// idempotency key.
    #[error("no reply of {server} within {deadline:?}: look whether it happened before repeating")]
    Deadline {
        /// Whom the call was for.
        server: Principal,
        /// What the call allowed.
        deadline: Duration,
    },
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The request could not be written.
    Request,
    /// No connection.
    Connect,
    /// The outer layer: certificates.
    Tls,
    /// The inner layer: the handshake, or a session that is not known.
    Session,
    /// The connection broke, or HTTP failed.
    Http,
    /// The answer could not be verified or read.
    Answer,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hop::Request => "writing the request to",
            Hop::Connect => "connecting to",
            Hop::Tls => "TLS with",
            Hop::Session => "the session with",
            Hop::Http => "HTTP with",
            Hop::Answer => "reading the answer of",
        })
    }
}

#[derive(Debug, Error)]
#[error("it refused the message, also under a new session: its log says why")]
pub(super) struct Refused;

#[derive(Debug, Error)]
#[error("it is busy: try again later")]
pub(super) struct Busy;
