//! One process pair: this program, and itself started again as the server, over loopback.
//!
//! The server tells where it listens in one line on its standard output, and ends when its standard input is closed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Server, ServerOptions, Service, TcpListenerAdapter};
use vmm_proto::v1::{Fault, FaultCode, NAMESPACE, Ping, Reply, Request};
use vmm_proto::xml::gate::{Limits, Namespaces, check};
use vmm_proto::{tls, xml};

const SERVER: &str = "server";

/// Where the other process serves, and as whom to call it.
pub(crate) struct Pair {
    pub(crate) plain: String,
    pub(crate) both: String,
    pub(crate) own: Arc<Credentials>,
    pub(crate) server: Principal,
    pub(crate) clock: Arc<dyn WallClock>,
    _child: Ended,
}

/// Ends with the bench.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the other process with credentials of a pool made for it.
#[expect(clippy::disallowed_methods, reason = "the other half of the pair is this program")]
pub(crate) fn start() -> Result<Pair> {
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let directory = tempfile::tempdir()?;
    let authority = CertificateAuthority::create(clock.now())?;
    let server = Principal::agent(SERVER);
    authority.issue(&server, clock.now())?.save(directory.path())?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--serve")
        .arg(directory.path())
        .arg("protocol")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the server's process")?;
    let mut line = String::new();
    let output = child.stdout.take().context("its output")?;
    let child = Ended(child);
    BufReader::new(output).read_line(&mut line)?;
    let (plain, both) = line.trim().split_once(' ').context("the server did not start")?;
    let (plain, both) = (plain.to_owned(), both.to_owned());
    let own = Arc::new(authority.issue(&Principal::manager("bench"), clock.now())?);
    Ok(Pair { plain, both, own, server, clock, _child: child })
}

/// The other process: the same answers with TLS alone, and with both layers.
pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let own = Arc::new(Credentials::load(directory)?);
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let both = TcpListener::bind("127.0.0.1:0").await?;
    println!("{} {}", plain.local_addr()?, both.local_addr()?);
    let acceptor = TlsAcceptor::from(tls::server_config(&own, Arc::clone(&clock))?);
    tokio::spawn(serve_plain(plain, acceptor));
    let server = Server::new(own, Arc::new(Echo), ServerOptions::new(clock));
    tokio::spawn(server.serve(TcpListenerAdapter(both), CancellationToken::new()));
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    end.await??;
    Ok(())
}

/// HTTP/2 and the same XML through the same gate and reader, without the inner layer.
async fn serve_plain(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer_plain))
                .await;
        });
    }
}

async fn answer_plain(request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let reply = match read::<Request>(&body, "Request")? {
        Request::Ping(ping) => Reply::Pong(ping),
        _ => anyhow::bail!("only pings"),
    };
    Ok(hyper::Response::new(Full::new(Bytes::from(write(&reply, "Response")?))))
}

#[derive(Serialize, Deserialize)]
struct Document<T> {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@id", default)]
    id: String,
    #[serde(rename = "@session", default)]
    session: String,
    #[serde(rename = "@dir", default)]
    dir: String,
    #[serde(rename = "@seq", default)]
    seq: u64,
    #[serde(rename = "$value")]
    body: T,
}

/// As the inner documents look.
pub(crate) fn write<T: Serialize>(body: &T, root: &'static str) -> Result<String> {
    let document = Document {
        xmlns: NAMESPACE.to_owned(),
        id: "000102030405060708090a0b0c0d0e0f".to_owned(),
        session: "000102030405060708090a0b0c0d0e0f".to_owned(),
        dir: "c2s".to_owned(),
        seq: 7,
        body,
    };
    Ok(xml::write(&document, root)?)
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], root: &'static str) -> Result<T> {
    let document = check(bytes, &Limits::INNER, Namespaces::Only(NAMESPACE))?;
    Ok(xml::read_checked::<Document<T>>(&document, root)?.body)
}

/// Answers pings.
pub(crate) struct Echo;

impl Service for Echo {
    fn call(
        &self,
        _: Caller,
        request: Request,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Reply, Fault>> + Send + '_>> {
        Box::pin(async move {
            match request {
                Request::Ping(Ping { text }) => Ok(Reply::Pong(Ping { text })),
                _ => Err(Fault::new(FaultCode::Unsupported, "only pings")),
            }
        })
    }
}
