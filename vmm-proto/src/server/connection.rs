//! One connection: TLS, then HTTP by what ALPN chose.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::server::Acceptor;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Shared, http};
use crate::bulk;
use crate::credentials::{Credentials, Identity};
use crate::endpoint::{
    BODY_TIMEOUT, HEADER_BYTES_MAX, HEADER_TIMEOUT, KEEP_ALIVE, STREAM_COUNT_MAX, TLS_TIMEOUT,
};
use crate::principal::Principal;
use crate::session::ServerSession;
use crate::tls::{ALPN_BULK, ALPN_H2, ALPN_JOIN};
use crate::transport::{Accepted, BoxedStream};

/// What an HTTP/2 client says first, in bytes.
const H2_PREFACE_BYTES: usize = 24;

/// Who is at the other end, and as whom we spoke with it.
pub(super) struct Peer {
    pub(super) identity: Identity,
    /// Ours, as they were when the connection began: the handshakes of its sessions are bound to their certificate.
    pub(super) own: Arc<Credentials>,
}

/// Serves a connection to its end.
pub(super) async fn run(shared: Arc<Shared>, accepted: Accepted) {
    let Accepted { stream, peer } = accepted;
    let address = peer.rsplit_once(':').map_or(peer.as_str(), |(address, _)| address).to_owned();
    let Some(handshake_share) = shared.handshake_shares.take(&address) else {
        tracing::warn!(peer, "too many connections of one address that say not who they are");
        return;
    };
    let own = shared.credentials.current();
    let secured = tokio::select! {
        () = shared.abort.cancelled() => return,
        secured = timeout(TLS_TIMEOUT, secure(&shared, &own, stream)) => match secured {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                tracing::warn!(peer, error = crate::client::explain(&error), "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::warn!(peer, "TLS handshake took too long");
                return;
            }
        },
    };
    let stream = match secured {
        Secured::Join(stream) => return serve_applicant(&shared, stream, own, &peer).await,
        Secured::Mutual(stream) => stream,
    };
    match identity(&stream) {
        Some(identity) => {
            let principal = &identity.principal;
            let Some(_share) = shared.connection_shares.take(principal) else {
                tracing::warn!(peer, %principal, "too many connections of one principal");
                return;
            };
            drop(handshake_share);
            tracing::debug!(peer, %principal, "connected");
            if stream.get_ref().1.alpn_protocol() == Some(ALPN_BULK) {
                return serve_bulk(&shared, stream, principal, &peer).await;
            }
            serve(&shared, stream, Arc::new(Peer { identity, own })).await;
        }
        None => tracing::error!(peer, "TLS let a connection pass without an identity"),
    }
}

enum Secured {
    Mutual(TlsStream<BoxedStream>),
    Join(TlsStream<BoxedStream>),
}

/// The client's first message says whether it has a certificate or wants one.
async fn secure(
    shared: &Shared,
    own: &Arc<Credentials>,
    stream: BoxedStream,
) -> io::Result<Secured> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let wants_to_join =
        start.client_hello().alpn().is_some_and(|mut offered| offered.any(|p| p == ALPN_JOIN));
    let configs = shared.configs.of(own).map_err(io::Error::other)?;
    match wants_to_join {
        true => Ok(Secured::Join(start.into_stream(configs.join).await?)),
        false => Ok(Secured::Mutual(start.into_stream(configs.mutual).await?)),
    }
}

fn identity(stream: &TlsStream<BoxedStream>) -> Option<Identity> {
    Identity::of(stream.get_ref().1.peer_certificates()?.first()?).ok()
}

/// One bulk stream. It ends with its connection, its service, or the server.
async fn serve_bulk(
    shared: &Arc<Shared>,
    stream: TlsStream<BoxedStream>,
    principal: &Principal,
    peer: &str,
) {
    let Some(service) = &shared.bulk else {
        tracing::warn!(peer, %principal, "this server has no bulk streams");
        return;
    };
    let find = |id: &str| shared.sessions.find(id, principal);
    let stream: BoxedStream = Box::new(stream);
    let backend = shared.bulk_backend;
    let opened = bulk::answer(stream, principal.clone(), find, ServerSession::keys, backend).await;
    match opened {
        Ok(incoming) => tokio::select! {
            () = service.stream(incoming) => {}
            () = shared.abort.cancelled() => {}
        },
        Err(error) => tracing::warn!(peer, %principal, %error, "a bulk stream was not opened"),
    }
}

/// One request of somebody without a certificate.
async fn serve_applicant(
    shared: &Arc<Shared>,
    stream: TlsStream<BoxedStream>,
    own: Arc<Credentials>,
    peer: &str,
) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, own) = (shared.clone(), own.clone());
        async move { Ok::<_, Infallible>(http::admit(shared, own, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Who has no certificate has no claim to more than one exchange takes.
    let limit = HEADER_TIMEOUT + BODY_TIMEOUT + HEADER_TIMEOUT;
    if timeout(limit, drive(shared, connection)).await.is_err() {
        tracing::warn!(peer, "an applicant took too long");
    }
}

async fn serve(shared: &Arc<Shared>, stream: TlsStream<BoxedStream>, peer: Arc<Peer>) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
    // hyper waits for the first byte, and for the rest of HTTP/2's preface, as long as it takes.
    let mut stream = stream;
    let mut first = vec![0; if is_h2 { H2_PREFACE_BYTES } else { 1 }];
    tokio::select! {
        () = shared.stop.cancelled() => return,
        read = timeout(HEADER_TIMEOUT, stream.read_exact(&mut first)) => match read {
            Ok(Ok(_)) => {}
            _ => return,
        },
    }
    let (read, write) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(first).chain(read), write);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, peer) = (shared.clone(), peer.clone());
        async move { Ok::<_, Infallible>(http::handle(shared, peer, request).await) }
    });
    if is_h2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAM_COUNT_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .serve_connection(TokioIo::new(stream), service);
        drive(shared, connection).await;
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        drive(shared, connection).await;
    }
}

async fn drive<E: std::error::Error>(
    shared: &Shared,
    connection: impl GracefulConnection<Error = E>,
) {
    let mut connection = pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = shared.abort.cancelled() => return,
            () = shared.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
