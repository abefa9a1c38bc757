//! The server half: from a listener's streams to a [`Service`]'s replies.
//!
//! ```text
//!   Listener ─► TLS (certificate → Identity) ─► HTTP/2 or 1.1 by ALPN ─► path, type, body
//!        │ ALPN xvmp-join/1, no certificate ─► /xvmp/1/join ─► enrolment, if the server has a registrar
//!        │ ALPN xvmp-bulk/1 ─► opening ─► session of this principal ─► BulkService, if the server has one
//!        /xvmp/1/open ─► handshake ─► SessionTable
//!        /xvmp/1/rpc  ─► parse ─► session of this principal ─► tag ─► replay ─► inner document
//!                        ─► task: Service::call ─► sealed answer
//! ```
//!
//! Nothing reaches the service that both layers have not verified (SEC1): the caller's principal is
//! that of the certificate, and the session's, which are compared.
//!
//! Who owns what: the accept loop owns the listener and one permit per connection; a connection
//! owns its stream; a call runs in a task of its own with a permit for a request, so that a caller
//! who hangs up does not stop a change half way.
//!
//! How it fails. A failed handshake costs that connection. Whatever is wrong with a message before
//! its tag has verified (form, session, tag, replay) is answered by status 400 and the same bytes,
//! [`BAD_MESSAGE`]; the reason goes to the log. After that, faults are sealed. A panic becomes the
//! fault `Internal`, a passed deadline `TimedOut`, too many requests status 503 with `Retry-After`.
//! Stopping: no new connections; requests that only wait are answered `Busy` at once, others get
//! [`crate::endpoint::DRAIN_TIMEOUT`], then everything is cut.
//!
//! A server's own certificate is replaced while it runs: by whoever holds its [`LiveCredentials`], and an
//! agent's by its manager, see `renewal`. Connections that stand keep the one that they began with.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::transport::tcp::TcpListenerAdapter;
pub use crate::transport::{Accepted, Listener};
pub use refusal::BAD_MESSAGE;

use crate::aead::Backend;
use crate::bulk::BulkService;
use crate::clock::WallClock;
use crate::credentials::LiveCredentials;
use crate::endpoint::{
    CONNECTION_COUNT_MAX, CONNECTION_SHARE_MAX, DRAIN_TIMEOUT, HANDSHAKE_SHARE_MAX,
    REQUEST_COUNT_MAX, REQUEST_SHARE_MAX, WAIT_SHARE_MAX,
};
use crate::enrolment::Registrar;
use crate::principal::{Principal, Role};
use crate::session::SessionTable;
use crate::v1;

mod configs;
mod connection;
mod held;
mod http;
mod refusal;
mod renewal;
mod rpc;
mod shares;

#[cfg(test)]
mod tests;

use configs::TlsConfigs;
use renewal::Renewal;
use shares::{Share, Shares};

/// How long the accept loop rests after the listener failed, out of file descriptors perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    /// caller goes away or its deadline passes, and a panic becomes a fault.
    fn call(
        &self,
        caller: Caller,
        request: v1::Request,
    ) -> BoxFuture<'_, Result<v1::Reply, v1::Fault>>;
}

/// How a server behaves.
#[derive(Clone)]
pub struct ServerOptions {
    /// Dates certificates.
    pub clock: Arc<dyn WallClock>,
    /// Connections held at once.
    pub connection_count_max: usize,
    /// Connections of one principal.
    pub connection_share_max: usize,
    /// Requests worked on at once, long polls included.
    pub request_count_max: usize,
    /// Requests of one principal.
    pub request_share_max: usize,
    /// Requests of one principal that only wait for something to happen.
    pub wait_share_max: usize,
    /// How long requests may finish after the stop.
    pub drain_timeout: Duration,
    /// Takes and gives bulk streams; none are opened without one.
    pub bulk: Option<Arc<dyn BulkService>>,
    /// Which library decrypts and encrypts them.
    pub bulk_backend: Backend,
    /// Admits those who have a join token; nobody is admitted without one.
    pub registrar: Option<Arc<dyn Registrar>>,
}

impl ServerOptions {
    /// The usual limits.
    pub fn new(clock: Arc<dyn WallClock>) -> ServerOptions {
        ServerOptions {
            clock,
            connection_count_max: CONNECTION_COUNT_MAX,
            connection_share_max: CONNECTION_SHARE_MAX,
            request_count_max: REQUEST_COUNT_MAX,
            request_share_max: REQUEST_SHARE_MAX,
            wait_share_max: WAIT_SHARE_MAX,
            drain_timeout: DRAIN_TIMEOUT,
            bulk: None,
            bulk_backend: Backend::Fast,
            registrar: None,
        }
    }
}

/// Answers requests until told to stop.
pub struct Server {
    credentials: LiveCredentials,
    service: Arc<dyn Service>,
    options: ServerOptions,
}

/// What all connections share.
struct Shared {
    clock: Arc<dyn WallClock>,
    credentials: LiveCredentials,
    configs: TlsConfigs,
    renewal: Renewal,
    registrar: Option<Arc<dyn Registrar>>,
    bulk: Option<Arc<dyn BulkService>>,
    bulk_backend: Backend,
    service: Arc<dyn Service>,
    sessions: SessionTable,
    requests: Arc<Semaphore>,
    request_shares: Arc<Shares<Principal>>,
    wait_shares: Arc<Shares<Principal>>,
    connection_shares: Arc<Shares<Principal>>,
    /// By address: connections that are not authenticated yet.
    handshake_shares: Arc<Shares<String>>,
    tasks: TaskTracker,
    /// Finish what is under way.
    stop: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
}

/// A request's place in the server, and in what its principal may hold; given back when dropped.
type Place = (OwnedSemaphorePermit, Share<Principal>);

impl Shared {
    /// `None` when the server, or this principal, has as many requests as it may.
    fn place(&self, who: &Principal) -> Option<Place> {
        let share = self.request_shares.take(who)?;
        Some((self.requests.clone().try_acquire_owned().ok()?, share))
    }

    /// Where a fault happened, as people read it.
    fn hop(&self) -> String {
        let principal = self.credentials.principal();
        match principal.role {
            Role::Manager => "manager".to_owned(),
            role => format!("{role} {}", principal.id),
        }
    }
}

impl Server {
    /// A server that is not running yet.
    pub fn new(
        credentials: impl Into<LiveCredentials>,
        service: Arc<dyn Service>,
        options: ServerOptions,
    ) -> Server {
        Server { credentials: credentials.into(), service, options }
    }

    /// Serves until `stop` is cancelled, then drains.
    ///
    /// # Errors
    /// The credentials cannot be used.
    pub async fn serve(
        self,
        listener: impl Listener,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let Server { credentials, service, options } = self;
        let configs = TlsConfigs::new(Arc::clone(&options.clock));
        configs.of(&credentials.current()).map_err(|source| ServeError::Credentials { source })?;
        let shared = Arc::new(Shared {
            clock: Arc::clone(&options.clock),
            renewal: Renewal::new(credentials.clone(), Arc::clone(&options.clock)),
            configs,
            credentials,
            registrar: options.registrar,
            bulk: options.bulk,
            bulk_backend: options.bulk_backend,
            service,
            sessions: SessionTable::default(),
            requests: Arc::new(Semaphore::new(options.request_count_max)),
            request_shares: Shares::new(options.request_share_max),
            wait_shares: Shares::new(options.wait_share_max),
            connection_shares: Shares::new(options.connection_share_max),
            handshake_shares: Shares::new(HANDSHAKE_SHARE_MAX),
            tasks: TaskTracker::new(),
            stop,
            abort: CancellationToken::new(),
        });
        accept(&shared, listener, options.connection_count_max).await;
        shared.tasks.close();
        if tokio::time::timeout(options.drain_timeout, shared.tasks.wait()).await.is_err() {
            tracing::warn!(task_count = shared.tasks.len(), "requests were cut by the stop");
            shared.abort.cancel();
            shared.tasks.wait().await;
        }
        Ok(())
    }
}

/// Accepts connections until the stop.
async fn accept(shared: &Arc<Shared>, mut listener: impl Listener, connection_count_max: usize) {
    let connections = Arc::new(Semaphore::new(connection_count_max));
    loop {
        let next = async {
            let permit = connections.clone().acquire_owned().await;
            (permit.expect("this semaphore is never closed"), listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shared.stop.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok(accepted) => {
                let connection = connection::run(shared.clone(), accepted);
                shared.tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
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
