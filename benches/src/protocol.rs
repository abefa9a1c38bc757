//! Requests through both layers: the real client and server over a pipe in memory, on one thread, so that no network is measured.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;
use vmm_proto::client::{CallOptions, Client, ClientOptions, Connector};
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Server, ServerOptions, Service};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{Fault, FaultCode, Ping, Reply, Request};

use crate::gate;
use crate::report::Report;

/// Sizes of the text that comes back, and how often it is sent.
const ROUNDS: &[(usize, u32)] = &[(16, 500), (4 << 10, 300), (7 << 10, 200)];

/// Answers pings.
struct Echo;

impl Service for Echo {
    fn call(
        &self,
        _: Caller,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Fault>> + Send + '_>> {
        Box::pin(async move {
            match request {
                Request::Ping(ping) => Ok(Reply::Pong(ping)),
                _ => Err(Fault::new(FaultCode::Unsupported, "only pings")),
            }
        })
    }
}

pub(crate) fn run() -> Result<Report> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<Report> {
    let mut report = Report::new("protocol");
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let authority = CertificateAuthority::create(clock.now())?;
    let network = MemoryNetwork::new();
    let listener = network.listener("server");
    let server = Principal::agent("server");
    let credentials = Arc::new(authority.issue(&server, clock.now())?);
    let stop = CancellationToken::new();
    let serving = Server::new(credentials, Arc::new(Echo), ServerOptions::new(Arc::clone(&clock)));
    tokio::spawn(serving.serve(listener, stop.clone()));

    let own = Arc::new(authority.issue(&Principal::manager("bench"), clock.now())?);
    let connector: Arc<dyn Connector> = Arc::new(network.connector("server"));
    let start = Instant::now();
    let client = Client::new(own, server, connector, ClientOptions::new(clock));
    ping(&client, 16).await?;
    report.tell("first request: TLS, Noise and a ping", start.elapsed().as_secs_f64() * 1e3, "ms");
    for (size, rounds) in ROUNDS {
        let start = Instant::now();
        for _ in 0..*rounds {
            ping(&client, *size).await?;
        }
        let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(*rounds);
        report.tell(format!("round trip of {size} B, both layers"), micros, "us");
    }
    stop.cancel();
    gate::measure(&mut report)?;
    Ok(report)
}

async fn ping(client: &Client, size: usize) -> Result<()> {
    let text = "x".repeat(size);
    let reply =
        client.call(Request::Ping(Ping { text: text.clone() }), CallOptions::default()).await;
    match reply.context("ping")? {
        Reply::Pong(pong) if pong.text == text => Ok(()),
        other => bail!("a ping was answered with {other:?}"),
    }
}
