//! One connection: TLS, then HTTP by what ALPN chose.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::{Shared, http};
use crate::credentials::Identity;
use crate::endpoint::{
    HEADER_BYTES_MAX, HEADER_TIMEOUT, KEEP_ALIVE, STREAM_COUNT_MAX, TLS_TIMEOUT,
};
use crate::tls::ALPN_H2;
use crate::transport::{Accepted, BoxedStream};

/// Serves a connection to its end.
pub(super) async fn run(shared: Arc<Shared>, accepted: Accepted) {
    let Accepted { stream, peer } = accepted;
    let stream = tokio::select! {
        () = shared.abort.cancelled() => return,
        stream = timeout(TLS_TIMEOUT, shared.tls.accept(stream)) => match stream {
            Ok(Ok(stream)) => stream,
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
    match identity(&stream) {
        Some(identity) => {
            let principal = &identity.principal;
            let Some(_share) = shared.connection_shares.take(principal) else {
                tracing::warn!(peer, %principal, "too many connections of one principal");
                return;
            };
            tracing::debug!(peer, %principal, "connected");
            serve(&shared, stream, Arc::new(identity)).await;
        }
        None => tracing::error!(peer, "TLS let a connection pass without an identity"),
    }
}

fn identity(stream: &TlsStream<BoxedStream>) -> Option<Identity> {
    Identity::of(stream.get_ref().1.peer_certificates()?.first()?).ok()
}

async fn serve(shared: &Arc<Shared>, stream: TlsStream<BoxedStream>, peer: Arc<Identity>) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
    // hyper waits for the first byte as long as it takes.
    let mut stream = BufReader::new(stream);
    tokio::select! {
        () = shared.stop.cancelled() => return,
        first = timeout(HEADER_TIMEOUT, stream.fill_buf()) => match first {
            Ok(Ok([_, ..])) => {}
            _ => return,
        },
    }
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
