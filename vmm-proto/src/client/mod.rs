//! The client half: one server, one connection, one session, many calls at once.
//!
//! ```text
//!   call ─► link? ─no─► connect ─► TLS (expected principal) ─► HTTP/2 ─► open session ─► link
//!             │yes                                                                        │
//!             └─► new seq, sealed request ─► answer ─► tag, replay, header ─► reply or fault
//! ```
//!
//! The link is made at the first call and again when it broke, when three quarters of its session
//! are used, or when the server no longer knows the session. Calls under way keep the old one.
//!
//! A call is repeated at most [`ATTEMPT_COUNT_MAX`] times, with the same request id and
//! idempotency key but a new sequence number: when the server refused the message unread
//! (`BAD_MESSAGE`, most likely because it restarted; once), when it is busy, when the connection
//! broke before the request left, and when it broke later if doing it twice does no harm: reading
//! verbs, and changes that carry an idempotency key. Failing to connect is not repeated; who calls
//! knows better how long to insist.
//!
//! [`CallError`] says how far a call came and what to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

pub use crate::transport::tcp::TcpConnector;
pub use crate::transport::{BoxedStream, Connector};
pub use error::{CallError, Hop};
pub(crate) use explain::explain;

use crate::aead::Backend;
use crate::bulk::{self, BulkError, BulkReceiver, BulkSender, Frames, Role, StreamName};
use crate::clock::WallClock;
use crate::credentials::LiveCredentials;
use crate::message::Terms;
use crate::principal::Principal;
use crate::tls::ALPN_BULK;
use crate::v1;
use exchange::Failure;
use link::Link;

mod error;
mod exchange;
mod explain;
mod link;

/// How often a call is sent at most.
pub const ATTEMPT_COUNT_MAX: u32 = 3;

/// Deadline of a call that names none.
pub const DEADLINE: Duration = Duration::from_secs(30);

const REQUEST_ID_BYTES: usize = 16;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Dates certificates.
    pub clock: Arc<dyn WallClock>,
    /// Deadline of a call that names none.
    pub deadline: Duration,
}

impl ClientOptions {
    /// The usual deadline.
    pub fn new(clock: Arc<dyn WallClock>) -> ClientOptions {
        ClientOptions { clock, deadline: DEADLINE }
    }
}

/// How one call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// How long to wait for the reply, retries included.
    pub deadline: Option<Duration>,
    /// Names a change, so that doing it twice does it once.
    pub idempotency_key: Option<String>,
}

/// Calls one server. A clone shares connection and session.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    credentials: LiveCredentials,
    server: Principal,
    connector: Arc<dyn Connector>,
    options: ClientOptions,
    link: Mutex<Option<Arc<Link>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.inner.server).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connects at its first call.
    pub fn new(
        credentials: impl Into<LiveCredentials>,
        server: Principal,
        connector: Arc<dyn Connector>,
        options: ClientOptions,
    ) -> Client {
        let link = Mutex::new(None);
        Client {
            inner: Arc::new(Inner {
                credentials: credentials.into(),
                server,
                connector,
                options,
                link,
            }),
        }
    }

    /// Whom it calls.
    pub fn server(&self) -> &Principal {
        &self.inner.server
    }

    /// Opens a stream of a transfer to send it; the server says from where.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn send_stream(
        &self,
        name: StreamName,
        backend: Backend,
    ) -> Result<BulkSender, BulkError> {
        self.inner.bulk(name, Role::Sender, backend).await?.into_sender().await
    }

    /// Opens a stream of a transfer to receive it from this offset on.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn receive_stream(
        &self,
        name: StreamName,
        offset: u64,
        backend: Backend,
    ) -> Result<BulkReceiver, BulkError> {
        self.inner.bulk(name, Role::Receiver, backend).await?.into_receiver(offset).await
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        request: v1::Request,
        call: CallOptions,
    ) -> Result<v1::Reply, CallError> {
        let deadline = call.deadline.unwrap_or(self.inner.options.deadline);
        let until = Instant::now() + deadline;
        let attempts = self.inner.attempts(&request, call.idempotency_key, until);
        tokio::time::timeout_at(until, attempts).await.unwrap_or_else(|_| {
            Err(CallError::Deadline { server: self.inner.server.clone(), deadline })
        })
    }
}

impl Inner {
    async fn attempts(
        &self,
        request: &v1::Request,
        idempotency_key: Option<String>,
        until: Instant,
    ) -> Result<v1::Reply, CallError> {
        let may_repeat = idempotency_key.is_some() || !v1::verb(request).mutating;
        let id = request_id().map_err(|error| self.failed(Hop::Request, error))?;
        let mut terms = Terms { idempotency_key, deadline: None };
        let mut was_refused = false;
        let mut attempt = 1;
        loop {
            let link = self.link().await?;
            terms.deadline = Some(until.saturating_duration_since(Instant::now()));
            let failure = match link.exchange(&id, &terms, request).await {
                Ok(outcome) => return outcome.map_err(CallError::Fault),
                Err(failure) => failure,
            };
            let again = match &failure {
                Failure::Refused => !was_refused,
                Failure::Broken { was_sent, .. } => !was_sent || may_repeat,
                Failure::Busy(_) => true,
                Failure::Final { .. } => false,
            };
            tracing::debug!(server = %self.server, request_id = id, ?failure, attempt, "call failed");
            if !again || attempt == ATTEMPT_COUNT_MAX {
                return Err(self.give_up(failure));
            }
            was_refused |= matches!(failure, Failure::Refused);
            attempt += 1;
            match failure {
                Failure::Busy(pause) => tokio::time::sleep(pause).await,
                _ => self.forget(&link).await,
            }
        }
    }

    /// A connection of its own, under the keys of the standing session.
    async fn bulk(
        &self,
        name: StreamName,
        role: Role,
        backend: Backend,
    ) -> Result<Frames, BulkError> {
        let failed = |error: CallError| BulkError::Opening(error.to_string());
        let link = self.link().await.map_err(failed)?;
        let own = self.credentials.current();
        let stream = link::connect(self, &own, ALPN_BULK).await.map_err(failed)?;
        bulk::open(Box::new(stream), link.session.keys(), name, role, backend).await
    }

    /// The standing link, or a new one.
    async fn link(&self) -> Result<Arc<Link>, CallError> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_usable()) {
            return Ok(link.clone());
        }
        *slot = None;
        let link = Arc::new(Link::open(self).await?);
        *slot = Some(link.clone());
        Ok(link)
    }

    async fn forget(&self, link: &Arc<Link>) {
        let mut slot = self.link.lock().await;
        slot.take_if(|standing| Arc::ptr_eq(standing, link));
    }

    fn give_up(&self, failure: Failure) -> CallError {
        match failure {
            Failure::Refused => self.failed(Hop::Session, error::Refused),
            Failure::Busy(_) => self.failed(Hop::Http, error::Busy),
            Failure::Broken { reason, .. } => self.failed(Hop::Http, reason),
            Failure::Final { hop, reason } => self.failed(hop, reason),
        }
    }

    fn failed(&self, hop: Hop, reason: impl fmt::Display) -> CallError {
        CallError::Transport {
            hop,
            server: self.server.clone(),
            address: self.connector.address(),
            reason: reason.to_string(),
        }
    }
}

fn request_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; REQUEST_ID_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
