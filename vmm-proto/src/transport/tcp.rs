//! TCP: the transport of production.

use std::io;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

use super::{Accepted, BoxedStream, Connector, Listener};

/// Accepts TCP connections.
pub struct TcpListenerAdapter(pub TcpListener);

impl Listener for TcpListenerAdapter {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        async {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted { stream: Box::new(stream), peer: peer.to_string() })
        }
        .boxed()
    }
}

/// Opens TCP connections to one address.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    address: String,
}

impl TcpConnector {
    /// `address` is `host:port`; a name is looked up at each connect.
    pub fn new(address: impl Into<String>) -> TcpConnector {
        TcpConnector { address: address.into() }
    }
}

impl Connector for TcpConnector {
    fn connect(&self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        }
        .boxed()
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}
