//! Somebody in the middle who ends TLS, by whatever certificate and key, and answers what it likes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use vmm_proto::client::Client;
use vmm_proto::credentials::Credentials;
use vmm_proto::server::Listener as _;
use vmm_proto::tls;

use crate::support::Pool;

const MIDDLE: &str = "middle";

/// What a request is answered with: path and body, status and body.
pub(crate) type Meddle =
    Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, (StatusCode, Bytes)> + Send + Sync>;

/// TLS as the owner of these credentials would end it.
pub(crate) fn config(pool: &Pool, credentials: &Credentials) -> ServerConfig {
    (*tls::server_config(credentials, pool.clock.clone()).unwrap()).clone()
}

/// Takes the connections of the client that [`client`] makes.
pub(crate) fn listen(pool: &Pool, config: ServerConfig, meddle: Meddle) {
    let mut listener = pool.network.listener(MIDDLE);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok(accepted) = listener.accept().await {
            let (acceptor, meddle) = (acceptor.clone(), meddle.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(accepted.stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let meddle = meddle.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let (status, body) = meddle(path, body).await;
                        let mut response = Response::new(Full::new(body));
                        *response.status_mut() = status;
                        Ok::<_, Infallible>(response)
                    }
                });
                let builder = http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// A client of the product that means to call the server and meets whoever is in the middle.
pub(crate) fn client(pool: &Pool, credentials: Arc<Credentials>) -> Client {
    pool.client_over(credentials, Arc::new(pool.network.connector(MIDDLE)))
}
