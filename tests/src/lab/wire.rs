//! A man in the middle who holds the TLS keys of both ends, and nothing of the inner layer.
//!
//! He ends TLS as the agent, opens it again as the manager, and keeps every HTTP body. What he can read is what the outer layer
//! alone protects; what he sends again is what a thief of those keys could replay.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::Credentials;
use vmm_proto::{endpoint, tls};

/// Bodies kept at most.
const BODIES_MAX: usize = 4096;

/// A body in one direction.
#[derive(Clone)]
pub struct Body {
    /// The path that was posted to.
    pub path: String,
    /// It went to the agent.
    pub request: bool,
    /// As it was above TLS.
    pub bytes: Bytes,
}

/// The man in the middle. His tasks end when he is dropped.
pub struct Wire {
    address: String,
    route: Arc<Route>,
    runtime: Runtime,
}

struct Route {
    upstream: String,
    /// As whom he speaks to the agent, and to the manager.
    manager: Credentials,
    agent: Credentials,
    bodies: Mutex<Vec<Body>>,
}

impl Wire {
    /// Stands between the manager and the agent at `upstream`.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn start(upstream: &str, manager: Credentials, agent: Credentials) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?.to_string();
        let bodies = Mutex::new(Vec::new());
        let route = Arc::new(Route { upstream: upstream.to_owned(), manager, agent, bodies });
        runtime.spawn(accept(listener, Arc::clone(&route)));
        Ok(Self { address, route, runtime })
    }

    /// Where he listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What he has read.
    #[must_use]
    pub fn bodies(&self) -> Vec<Body> {
        self.route.bodies.lock().map(|bodies| bodies.clone()).unwrap_or_default()
    }

    /// Sends a body of his own to the agent, as the manager.
    ///
    /// # Errors
    /// The connection failed.
    pub fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<(StatusCode, Bytes)> {
        let route = Arc::clone(&self.route);
        let (path, body) = (path.to_owned(), body.into());
        self.runtime.block_on(async move { route.forward(&path, body).await })
    }
}

async fn accept(listener: TcpListener, route: Arc<Route>) {
    while let Ok((stream, _)) = listener.accept().await {
        let route = Arc::clone(&route);
        tokio::spawn(async move {
            if let Err(error) = serve(stream, route).await {
                eprintln!("the man in the middle: {error:#}");
            }
        });
    }
}

async fn serve(stream: TcpStream, route: Arc<Route>) -> Result<()> {
    let config = tls::server_config(&route.agent, clock())?;
    let stream = TlsAcceptor::from(config).accept(stream).await.context("end TLS as the agent")?;
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let route = Arc::clone(&route);
        async move { route.pass(request).await }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .context("serve")
}

impl Route {
    async fn pass(&self, request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        self.keep(&path, true, &body);
        let (status, body) = self.forward(&path, body).await?;
        self.keep(&path, false, &body);
        Ok(Response::builder()
            .status(status)
            .header("content-type", endpoint::CONTENT_TYPE)
            .body(Full::new(body))?)
    }

    fn keep(&self, path: &str, request: bool, bytes: &Bytes) {
        if let Ok(mut bodies) = self.bodies.lock()
            && bodies.len() < BODIES_MAX
        {
            bodies.push(Body { path: path.to_owned(), request, bytes: bytes.clone() });
        }
    }

    /// One connection a request: slow, and nothing to keep alive.
    async fn forward(&self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let config = tls::client_config(&self.manager, self.agent.principal(), clock())?;
        let tcp = TcpStream::connect(&self.upstream).await?;
        let name = ServerName::try_from("xvmp.invalid")?;
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .context("open TLS as the manager")?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await?;
        let driver = tokio::spawn(connection);
        let request = Request::post(format!("https://xvmp.invalid{path}"))
            .header("content-type", endpoint::CONTENT_TYPE)
            .body(Full::new(body))?;
        let response =
            sender.send_request(request).await.map_err(|error| anyhow!("send: {error}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        driver.abort();
        Ok((parts.status, body))
    }
}

fn clock() -> Arc<dyn WallClock> {
    Arc::new(SystemClock)
}
