//! The client half.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

pub use crate::transport::tcp::TcpConnector;
pub use crate::transport::{BoxedStream, Connector};

use crate::clock::WallClock;
use crate::credentials::Credentials;
use crate::principal::Principal;
use crate::v1;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Dates certificates.
    pub clock: Arc<dyn WallClock>,
    /// Deadline of a call that names none.
    pub deadline: Duration,
}

/// How one call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// How long to wait for the reply, retries included.
    pub deadline: Option<Duration>,
    /// Names a change, so that doing it twice does it once. A call that has one is sent again when
    /// the connection broke before the reply came.
    pub idempotency_key: Option<String>,
}

/// Calls one server. A clone shares connection and session.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// A client that connects at its first call.
    pub fn new(
        _credentials: Arc<Credentials>,
        _server: Principal,
        _connector: Arc<dyn Connector>,
        _options: ClientOptions,
    ) -> Client {
        Client {}
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        _request: v1::Request,
        _call: CallOptions,
    ) -> Result<v1::Reply, CallError> {
        todo!()
    }
}

/// Why a call gave no reply.
#[derive(Debug, Error)]
pub enum CallError {
    /// The server understood and said no.
    #[error("{0:?}")]
    Fault(v1::Fault),
    /// The deadline passed.
    #[error("no reply within {deadline:?}")]
    Deadline {
        /// What the call asked for.
        deadline: Duration,
    },
}
