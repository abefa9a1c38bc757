//! The server half.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use crate::transport::tcp::TcpListenerAdapter;
pub use crate::transport::{Accepted, Listener};

use crate::clock::WallClock;
use crate::credentials::Credentials;
use crate::principal::Principal;
use crate::v1;

/// Who calls, and how: everything here was authenticated by both layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The principal of the caller's certificate and session.
    pub principal: Principal,
    /// The request's id; a retry of the same call carries the same one.
    pub request_id: String,
    /// Names a change, so that doing it twice does it once.
    pub idempotency_key: Option<String>,
    /// How long the caller will wait from now.
    pub deadline: Option<Duration>,
}

/// What a server does with requests.
pub trait Service: Send + Sync + 'static {
    /// Handles one request. The future is run in a task of its own: it is not dropped when the
    /// caller goes away, and a panic becomes a fault.
    fn call(
        &self,
        caller: Caller,
        request: v1::Request,
    ) -> BoxFuture<'_, Result<v1::Reply, v1::Fault>>;
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Dates certificates.
    pub clock: Arc<dyn WallClock>,
}

/// Answers requests until told to stop.
pub struct Server {
    _credentials: Arc<Credentials>,
    _service: Arc<dyn Service>,
    _options: ServerOptions,
}

impl Server {
    /// A server that is not running yet.
    pub fn new(
        credentials: Arc<Credentials>,
        service: Arc<dyn Service>,
        options: ServerOptions,
    ) -> Server {
        Server { _credentials: credentials, _service: service, _options: options }
    }

    /// Serves until `stop` is cancelled, then drains.
    ///
    /// # Errors
    /// The credentials cannot be used.
    pub async fn serve(
        self,
        _listener: impl Listener,
        _stop: CancellationToken,
    ) -> Result<(), ServeError> {
        todo!()
    }
}

/// Why a server cannot run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// TLS does not accept the credentials.
    #[error("the credentials cannot serve TLS: issue them anew")]
    Credentials {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}
