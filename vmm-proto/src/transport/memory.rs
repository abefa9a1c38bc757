//! A network in memory: named addresses, duplex pipes, and a plug to pull.
//!
//! ```text
//!   connector(name).connect() ──duplex half──► queue of name ──► listener(name).accept()
//! ```
//!
//! Unplugging an address refuses new connections and breaks the standing ones with
//! `ConnectionReset`, as a dead host would after its timeout; plugging it in again heals it.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Accepted, BoxedStream, Connector, Listener};

/// Bytes that a pipe holds before its writer waits.
const PIPE_BYTES: usize = 256 * 1024;

/// Connections that wait for their listener.
const BACKLOG: usize = 128;

struct Address {
    queue: mpsc::Sender<Accepted>,
    /// `None` while unplugged.
    plug: Option<CancellationToken>,
}

/// All addresses of one network. A clone is the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    addresses: Arc<Mutex<HashMap<String, Address>>>,
}

impl MemoryNetwork {
    /// A network without addresses.
    pub fn new() -> MemoryNetwork {
        MemoryNetwork::default()
    }

    /// Listens at a name. A listener that was there before gets no more connections.
    pub fn listener(&self, name: impl Into<String>) -> MemoryListener {
        let (queue, incoming) = mpsc::channel(BACKLOG);
        let address = Address { queue, plug: Some(CancellationToken::new()) };
        self.lock().insert(name.into(), address);
        MemoryListener { incoming }
    }

    /// Connects to a name; nobody needs to listen there yet.
    pub fn connector(&self, name: impl Into<String>) -> MemoryConnector {
        MemoryConnector { network: self.clone(), name: name.into() }
    }

    /// Breaks every connection to a name and refuses new ones.
    pub fn unplug(&self, name: &str) {
        let plug = self.lock().get_mut(name).and_then(|address| address.plug.take());
        if let Some(plug) = plug {
            plug.cancel();
        }
    }

    /// Lets a name be connected to again.
    pub fn plug_in(&self, name: &str) {
        if let Some(address) = self.lock().get_mut(name) {
            address.plug.get_or_insert_default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections at one name.
pub struct MemoryListener {
    incoming: mpsc::Receiver<Accepted>,
}

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        async {
            match self.incoming.recv().await {
                Some(accepted) => Ok(accepted),
                // Someone else listens at this name now.
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

/// Connects to one name.
#[derive(Clone)]
pub struct MemoryConnector {
    network: MemoryNetwork,
    name: String,
}

impl Connector for MemoryConnector {
    fn connect(&self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        async {
            let (queue, plug) = {
                let addresses = self.network.lock();
                let address = addresses.get(&self.name).ok_or(io::ErrorKind::ConnectionRefused)?;
                let plug = address.plug.clone().ok_or(io::ErrorKind::HostUnreachable)?;
                (address.queue.clone(), plug)
            };
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let far = MemoryStream::new(far, &plug);
            let accepted =
                Accepted { stream: Box::new(far), peer: format!("memory:{}", self.name) };
            queue.send(accepted).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(MemoryStream::new(near, &plug)) as BoxedStream)
        }
        .boxed()
    }

    fn address(&self) -> String {
        format!("memory:{}", self.name)
    }
}

struct MemoryStream {
    pipe: DuplexStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl MemoryStream {
    fn new(pipe: DuplexStream, plug: &CancellationToken) -> MemoryStream {
        MemoryStream { pipe, cut: Box::pin(plug.clone().cancelled_owned()) }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.poll_unpin(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
