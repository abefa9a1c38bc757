//! The client of a xenstore daemon, in safe Rust.
//!
//! ```text
//!   callers ──► Client, Transaction      ops.rs   one operation = one request, one reply; write_nodes = many in a row
//!                     │  request(kind, tx, payload)
//!               connection.rs ──► Unix socket ──► xenstored
//!                     ▲                               │
//!               reader thread ◄───────────────────────┘
//!                  reply: by its req_id to the caller that waits for it
//!                  watch event: by its token to the sink
//! ```
//!
//! Any number of threads may call at once; each waits for its own reply. An event for the caller's own write can arrive
//! before the reply, which the split by req_id makes harmless. A sink runs on the reader thread, so a sink that blocks would
//! block everybody: it must not.
//!
//! What fails: the daemon cannot be restarted on its own, so the first error on the socket ends the connection for good, and
//! all pending and later calls answer [`StoreError::Disconnected`] with the reason. A daemon that does not answer within
//! [`REPLY_TIMEOUT`] fails that call alone.

mod connection;
mod ops;
mod perms;
mod shared;
mod transaction;
mod watch;
mod wire;
mod xs;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{GoneSink, Store, StoreError, StoreTransaction, WatchHandle, WatchSink};
use crate::domid::DomId;
use crate::evtchn::Port;
use crate::frame::Gfn;

use self::connection::Connection;
use self::ops::Scope;
use self::wire::Kind;

pub use self::transaction::Transaction;

/// Where Debian's and upstream's daemons listen.
pub const DEFAULT_SOCKET: &str = "/run/xenstored/socket";

/// How long one call waits for its reply. A live update of the daemon takes seconds.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to the daemon. Cheap to clone; closed when the last clone, transaction and watch are gone.
#[derive(Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// `Disconnected` when nobody listens there.
    pub fn connect(socket: &Path) -> Result<Self, StoreError> {
        let stream = UnixStream::connect(socket)
            .map_err(|error| StoreError::Disconnected(format!("{}: {error}", socket.display())))?;
        Self::over(stream, REPLY_TIMEOUT)
    }

    /// Talks over an open stream, with another limit on waiting.
    ///
    /// # Errors
    /// `Disconnected` when the stream cannot be shared with a reader thread.
    pub fn over(stream: UnixStream, reply_timeout: Duration) -> Result<Self, StoreError> {
        Ok(Self { connection: Arc::new(Connection::start(stream, reply_timeout)?) })
    }

    /// As [`Store::begin`], with a transaction that is not tied to a borrow of the client.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn transaction(&self) -> Result<Transaction, StoreError> {
        Transaction::begin(&self.connection)
    }

    /// Requests sent so far, by all clones of this client, its transactions and watches.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.connection.request_count()
    }

    fn request(&self, kind: Kind, payload: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.connection.request(kind, wire::NO_TRANSACTION, payload)
    }
}

impl ops::Scoped for Client {
    fn scope(&self) -> Scope<'_> {
        Scope { connection: &self.connection, tx_id: wire::NO_TRANSACTION }
    }
}

impl Store for Client {
    fn begin(&self) -> Result<Box<dyn StoreTransaction + '_>, StoreError> {
        Ok(Box::new(self.transaction()?))
    }

    fn watch(&self, path: &str, sink: WatchSink) -> Result<WatchHandle, StoreError> {
        Ok(WatchHandle::new(watch::Watch::register(&self.connection, path, sink)?))
    }

    fn introduce(&self, domid: DomId, ring: Gfn, port: Port) -> Result<(), StoreError> {
        let fields = [domid.to_string(), ring.0.to_string(), port.0.to_string()];
        self.request(Kind::Introduce, &wire::strings(&fields))?;
        Ok(())
    }

    fn release(&self, domid: DomId) -> Result<(), StoreError> {
        let answer = self.request(Kind::Release, &wire::strings(&[domid.to_string()]));
        match answer {
            Ok(_) => Ok(()),
            // oxenstored's word for an unknown domain; C xenstored says ENOENT.
            Err(StoreError::Invalid(_)) => Err(StoreError::NotFound),
            Err(error) => Err(error),
        }
    }

    fn resume(&self, domid: DomId) -> Result<(), StoreError> {
        self.request(Kind::Resume, &wire::strings(&[domid.to_string()]))?;
        Ok(())
    }

    fn on_gone(&self, tell: GoneSink) {
        self.connection.on_gone(tell);
    }

    fn requests_sent(&self) -> Option<u64> {
        Some(self.requests())
    }

    fn is_introduced(&self, domid: DomId) -> Result<bool, StoreError> {
        let answer = self.request(Kind::IsIntroduced, &wire::strings(&[domid.to_string()]))?;
        match wire::text(&answer)? {
            "T" => Ok(true),
            "F" => Ok(false),
            other => Err(StoreError::Other(format!("{other:?} to IS_INTRODUCED"))),
        }
    }
}

#[cfg(test)]
mod tests;
