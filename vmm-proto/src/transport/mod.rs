//! Where bytes come from and go to: the seam below TLS.
//!
//! A server accepts streams from a [`Listener`], a client asks a [`Connector`] for one. In
//! production both are TCP ([`tcp`]); in tests, and when a whole pool runs in one process, both
//! ends of a duplex pipe in memory ([`memory`]). Everything above, TLS included, is the same code.
//!
//! A failure here is an `io::Error`. The listener's errors cost one connection, never the server.

use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub mod memory;
pub mod tcp;

/// A bidirectional stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream of any kind.
pub type BoxedStream = Box<dyn Stream>;

/// A stream that a listener accepted.
pub struct Accepted {
    /// The stream; TLS starts on it.
    pub stream: BoxedStream,
    /// Where it came from, for the log. It authenticates nobody.
    pub peer: String,
}

/// Accepts streams.
pub trait Listener: Send + 'static {
    /// Waits for the next stream. The future may be dropped and asked for again.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>>;
}

/// Opens streams to one server.
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream.
    fn connect(&self) -> BoxFuture<'_, io::Result<BoxedStream>>;

    /// Where it connects to, for error messages.
    fn address(&self) -> String;
}
