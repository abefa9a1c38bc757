//! A connection with its session.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::exchange::{self, Failure};
use super::{BoxedStream, CallError, Hop, Inner, explain};
use crate::credentials::{Credentials, Identity};
use crate::endpoint::{HEADER_BYTES_MAX, KEEP_ALIVE, OPEN_PATH, TLS_TIMEOUT};
use crate::session::{ClientSession, Opening};
use crate::tls;

/// Time for a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for the connection to say why it broke. A server that refuses our certificate
/// says so after our side of TLS is done.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection with its session.
pub(super) struct Link {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) session: ClientSession,
}

/// Runs a connection; says why it broke, if it did.
type Driver = JoinHandle<Option<String>>;

impl Link {
    /// Connects and opens a session.
    pub(super) async fn open(client: &Inner) -> Result<Link, CallError> {
        let own = client.credentials.current();
        let stream = connect(client, &own, tls::ALPN_H2).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let certificate =
            certificate.ok_or_else(|| client.failed(Hop::Tls, "it has no certificate"))?;
        let server = Identity::of(&certificate).map_err(|error| client.failed(Hop::Tls, error))?;
        let (opening, document) = Opening::start(&own, &certificate, &server)
            .map_err(|error| client.failed(Hop::Session, error))?;
        let (sender, driver) = http(client, stream).await?;
        let answer = match exchange::post(&sender, OPEN_PATH, document.into_bytes()).await {
            Ok(answer) => answer,
            Err(Failure::Broken { reason, .. }) => {
                drop(sender);
                let better = timeout(REASON_TIMEOUT, driver).await;
                let better = better.ok().and_then(Result::ok).flatten();
                return Err(client.failed(Hop::Session, better.unwrap_or(reason)));
            }
            Err(failure) => return Err(client.give_up(failure)),
        };
        let session =
            opening.finish(&answer).map_err(|error| client.failed(Hop::Session, error))?;
        Ok(Link { sender, session })
    }

    /// Whether a call may start on it.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.session.is_due()
    }
}

async fn http(
    client: &Inner,
    stream: TlsStream<BoxedStream>,
) -> Result<(SendRequest<Full<Bytes>>, Driver), CallError> {
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
    let driver = tokio::spawn(async move {
        let reason = explain(&connection.await.err()?);
        tracing::debug!(reason, "connection ended");
        Some(reason)
    });
    Ok((sender, driver))
}

/// A connection that stands, with TLS on it, for one protocol.
pub(super) async fn connect(
    client: &Inner,
    own: &Credentials,
    alpn: &'static [u8],
) -> Result<TlsStream<BoxedStream>, CallError> {
    let stream = timeout(CONNECT_TIMEOUT, client.connector.connect())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| client.failed(Hop::Connect, explain(&error)))?;
    let clock = client.options.clock.clone();
    let mut config = tls::client_config(own, &client.server, clock)
        .map_err(|error| client.failed(Hop::Tls, error))?;
    Arc::make_mut(&mut config).alpn_protocols = vec![alpn.to_vec()];
    let handshake = TlsConnector::from(config).connect(tls::server_name(), stream);
    let stream = timeout(TLS_TIMEOUT, handshake)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| client.failed(Hop::Tls, explain(&error)))?;
    if stream.get_ref().1.alpn_protocol() != Some(alpn) {
        return Err(client.failed(Hop::Tls, "it does not speak this protocol there"));
    }
    Ok(stream)
}
