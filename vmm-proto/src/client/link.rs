//! A connection with its session.

use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::exchange::{self, Failure};
use super::{BoxedStream, CallError, Hop, Inner, explain};
use crate::credentials::Identity;
use crate::endpoint::{HEADER_BYTES_MAX, KEEP_ALIVE, OPEN_PATH, TLS_TIMEOUT};
use crate::session::{ClientSession, Opening};
use crate::tls;

/// A connection with its session.
pub(super) struct Link {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) session: ClientSession,
}

impl Link {
    /// Connects and opens a session.
    pub(super) async fn open(client: &Inner) -> Result<Link, CallError> {
        let stream = client
            .connector
            .connect()
            .await
            .map_err(|error| client.failed(Hop::Connect, explain(&error)))?;
        let stream = secure(client, stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let certificate =
            certificate.ok_or_else(|| client.failed(Hop::Tls, "it has no certificate"))?;
        let server = Identity::of(&certificate).map_err(|error| client.failed(Hop::Tls, error))?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| client.failed(Hop::Http, explain(&error)))?;
        // Ends when the last sender is gone and the last answer has come.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = explain(&error), "connection ended");
            }
        });
        let (opening, document) = Opening::start(&client.credentials, &certificate, &server)
            .map_err(|error| client.failed(Hop::Session, error))?;
        let answer = exchange::post(&sender, OPEN_PATH, document.into_bytes()).await;
        let answer = answer.map_err(|failure| match failure {
            Failure::Broken { reason, .. } => client.failed(Hop::Session, reason),
            failure => client.give_up(failure),
        })?;
        let session =
            opening.finish(&answer).map_err(|error| client.failed(Hop::Session, error))?;
        Ok(Link { sender, session })
    }

    /// Whether a call may start on it.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.session.is_due()
    }
}

async fn secure(client: &Inner, stream: BoxedStream) -> Result<TlsStream<BoxedStream>, CallError> {
    let clock = client.options.clock.clone();
    let config = tls::client_config(&client.credentials, &client.server, clock)
        .map_err(|error| client.failed(Hop::Tls, error))?;
    let handshake = TlsConnector::from(config).connect(tls::server_name(), stream);
    let stream = timeout(TLS_TIMEOUT, handshake)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| client.failed(Hop::Tls, explain(&error)))?;
    if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN_H2) {
        return Err(client.failed(Hop::Tls, "it speaks no HTTP/2"));
    }
    Ok(stream)
}
