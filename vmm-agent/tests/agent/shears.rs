//! Connections that can be cut one by one, as a switch's port that fails cuts one link of a bundle.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use vmm_proto::client::Connector;
use vmm_proto::transport::BoxedStream;
use vmm_proto::transport::memory::MemoryConnector;

/// The connections that were made, in their order.
#[derive(Clone, Default)]
pub(crate) struct Shears(Arc<Mutex<Vec<CancellationToken>>>);

impl Shears {
    /// How many were made.
    pub(crate) fn made(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Cuts that one.
    pub(crate) fn cut(&self, number: usize) {
        self.0.lock().unwrap()[number].cancel();
    }

    /// Connects, and notes it.
    pub(crate) fn around(&self, connector: MemoryConnector) -> Noted {
        Noted { connector, shears: self.clone() }
    }
}

pub(crate) struct Noted {
    connector: MemoryConnector,
    shears: Shears,
}

impl Connector for Noted {
    fn connect(&self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        async {
            let stream = self.connector.connect().await?;
            let token = CancellationToken::new();
            self.shears.0.lock().unwrap().push(token.clone());
            let cut = Box::pin(token.cancelled_owned());
            Ok(Box::new(Cuttable { stream, cut }) as BoxedStream)
        }
        .boxed()
    }

    fn address(&self) -> String {
        self.connector.address()
    }
}

struct Cuttable {
    stream: BoxedStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Cuttable {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.poll_unpin(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
