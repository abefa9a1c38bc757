//! The edge itself: who is listened to, how many at once, how long.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, get};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vmm_proto::clock::WallClock;
use vmm_proto::https::{HttpsAcceptor, HttpsError};
use vmm_proto::server::Service;
use vmm_proto::v1::FaultCode;

use super::answer::{JSON, answer};
use super::guard::{Names, Shared, Shares, guard};
use super::openapi;
use super::problem::Problem;
use super::routes::{Method, ROOT, ROUTES};
use super::tokens::Tokens;

/// Connections at once, and of one address.
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_SHARE_MAX: usize = 64;
/// How long the head of a request may take, and a connection may be idle.
const HEAD_WAIT: Duration = Duration::from_secs(10);
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Bytes and lines of a head.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEAD_LINES_MAX: usize = 64;
/// How long requests under way may finish after the stop.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// How long the accept loop rests after the listener failed, out of file descriptors perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the JSON API is offered.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where.
    pub listen: SocketAddr,
    /// Other names that it is called by.
    pub names: Vec<String>,
    /// Certificate chain and key, PEM; needed when it listens on anything but loopback.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Who may call.
    pub tokens: Tokens,
    /// Says whether a token has ended.
    pub clock: Arc<dyn WallClock>,
}

/// Why the JSON API cannot be offered.
#[derive(Debug, Error)]
pub enum EdgeError {
    /// Tokens would travel readable.
    #[error(
        "the JSON API listens at {0}, which is not loopback, without TLS: name certificate and key under [http], or listen at 127.0.0.1"
    )]
    Unprotected(SocketAddr),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] HttpsError),
    /// The address is taken, or not ours.
    #[error("the JSON API cannot listen at {listen}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The JSON API, listening.
pub struct Edge {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<HttpsAcceptor>,
    router: Router,
    stop: CancellationToken,
}

impl Edge {
    /// Listens; answers nobody before [`Edge::serve`].
    ///
    /// # Errors
    /// See [`EdgeError`].
    pub async fn bind(
        options: HttpOptions,
        service: Arc<dyn Service>,
        stop: CancellationToken,
    ) -> Result<Self, EdgeError> {
        let HttpOptions { listen, names, tls, tokens, clock } = options;
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(EdgeError::Unprotected(listen));
        }
        let tls =
            tls.map(|(certificate, key)| HttpsAcceptor::load(&certificate, &key)).transpose()?;
        let failed = |source| EdgeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let names = Names::new(address, &names);
        let shares = Arc::new(Shares::default());
        let shared = Arc::new(Shared { service, clock, tokens, names, stop: stop.clone(), shares });
        Ok(Self { listener, address, tls, router: router(shared), stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the stop; then requests under way may finish for a while.
    pub async fn serve(self) {
        let connections = TaskTracker::new();
        let places = Arc::new(Places::default());
        let edge = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                biased;
                () = edge.stop.cancelled() => break,
                accepted = edge.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = places.take(peer.ip()) else { continue };
                    let edge = Arc::clone(&edge);
                    connections.spawn(async move {
                        edge.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the JSON API accepts no connection just now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.close();
        if tokio::time::timeout(DRAIN_WAIT, connections.wait()).await.is_err() {
            tracing::warn!("requests of the JSON API were cut off");
        }
    }

    async fn connection(&self, stream: TcpStream) {
        let Some(tls) = &self.tls else {
            return speak(self.router.clone(), stream, &self.stop).await;
        };
        match tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak(self.router.clone(), stream, &self.stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }
}

/// HTTP on one connection, within its limits.
pub(super) async fn speak(
    router: Router,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    stop: &CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_LINES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN_WAIT, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the JSON API ended");
    }
}

/// Who has how many connections.
#[derive(Default)]
struct Places(Mutex<BTreeMap<IpAddr, usize>>);

struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let count = taken.entry(address).or_default();
        if all >= CONNECTIONS_MAX || *count >= CONNECTIONS_SHARE_MAX {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let mut paths: BTreeMap<&str, MethodRouter<Arc<Shared>>> = BTreeMap::new();
    for route in ROUTES {
        let ask = move |state, who, path, request| answer(route, state, who, path, request);
        let methods = paths.entry(route.path).or_default();
        *methods = std::mem::take(methods).on(filter(route.method), ask);
    }
    let mut router = Router::new()
        .route("/healthz", get(async || ""))
        .route("/openapi.json", get(async || published()));
    for (path, methods) in paths {
        let methods = methods.fallback(async || not_this_way());
        router = router.route(&format!("{ROOT}{path}"), methods);
    }
    let guarded =
        router.fallback(async || nowhere()).layer(from_fn_with_state(Arc::clone(&shared), guard));
    guarded.with_state(shared)
}

fn published() -> Response<Body> {
    let mut response = Response::new(Body::from(openapi::document().to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn nowhere() -> Response<Body> {
    let message = "there is nothing here; /openapi.json says what there is";
    Problem::new(StatusCode::NOT_FOUND, FaultCode::Unsupported, message).response()
}

/// The router adds which methods there are.
fn not_this_way() -> Response<Body> {
    let message = "this is not answered with this method; Allow says with which";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, FaultCode::Unsupported, message).response()
}
