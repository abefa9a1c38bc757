//! What the second layer costs a request: the same request with TLS alone and with both layers, side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vmm_proto::client::{CallOptions, Client, ClientOptions, TcpConnector};
use vmm_proto::tls;
use vmm_proto::v1::{Ping, Reply, Request};

use crate::pair::{self, Pair};
use crate::report::Report;
use crate::{bulk, gate, inventory};

/// What a small request carries, and a page of a list.
const SIZES: [(usize, &str); 2] = [(64, "64 B"), (16 << 10, "16 KiB")];
const ROUNDS: usize = 7;
/// Requests of a round, one after the other, and so many at once.
const CALLS: usize = 400;
const AT_ONCE: usize = 16;
const GOAL: f64 = 0.85;

pub(crate) fn run() -> Result<Report> {
    let mut report = Report::new("protocol");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(requests(&mut report))?;
    bulk::measure(&mut report)?;
    inventory::measure(&mut report)?;
    gate::measure(&mut report)?;
    Ok(report)
}

/// The other process.
pub(crate) fn serve(directory: &std::path::Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(pair::serve(directory))
}

/// Calls the echo, in one way or the other.
#[derive(Clone)]
enum Caller {
    Plain(SendRequest<Full<Bytes>>),
    Both(Client),
}

impl Caller {
    async fn plain(pair: &Pair) -> Result<Self> {
        let config = tls::client_config(&pair.own, &pair.server, Arc::clone(&pair.clock))?;
        let stream = TcpStream::connect(&pair.plain).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("xvmp.invalid")?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let (sender, connection) =
            Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self::Plain(sender))
    }

    fn both(pair: &Pair) -> Self {
        let connector = Arc::new(TcpConnector::new(pair.both.clone()));
        let options = ClientOptions::new(Arc::clone(&pair.clock));
        Self::Both(Client::new(Arc::clone(&pair.own), pair.server.clone(), connector, options))
    }

    async fn call(&self, text: &str) -> Result<()> {
        let request = Request::Ping(Ping { text: text.to_owned() });
        let reply = match self {
            Self::Both(client) => client.call(request, CallOptions::default()).await?,
            Self::Plain(sender) => {
                let body = Full::new(Bytes::from(pair::write(&request, "Request")?));
                let request = hyper::Request::post("/plain").body(body)?;
                let response = sender.clone().send_request(request).await?;
                pair::read(&response.into_body().collect().await?.to_bytes(), "Response")?
            }
        };
        match reply {
            Reply::Pong(pong) if pong.text == text => Ok(()),
            other => bail!("a ping was answered with {other:?}"),
        }
    }

    /// Each call's time, one after the other.
    async fn times(&self, text: &str) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let start = Instant::now();
            self.call(text).await.context("ping")?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    /// Requests a second, several at once.
    async fn rate(&self, text: &str) -> Result<f64> {
        let start = Instant::now();
        let callers = (0..AT_ONCE).map(|_| async {
            for _ in 0..CALLS / AT_ONCE * 4 {
                self.call(text).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
        futures_util::future::try_join_all(callers).await?;
        let calls = u32::try_from(CALLS / AT_ONCE * 4 * AT_ONCE)?;
        Ok(f64::from(calls) / start.elapsed().as_secs_f64())
    }
}

async fn requests(report: &mut Report) -> Result<()> {
    let pair = pair::start()?;
    let callers =
        [("TLS alone", Caller::plain(&pair).await?), ("both layers", Caller::both(&pair))];
    let start = Instant::now();
    callers[1].1.call("first").await?;
    report.tell("first request: TLS, Noise and a ping", start.elapsed().as_secs_f64() * 1e3, "ms");
    for (size, shown) in SIZES {
        let text = "x".repeat(size);
        let mut times = [Vec::new(), Vec::new()];
        let mut rates = [Vec::new(), Vec::new()];
        // In turns, so that what else the machine does meets both.
        for _ in 0..ROUNDS {
            for (n, (_, caller)) in callers.iter().enumerate() {
                times[n].extend(caller.times(&text).await?);
                rates[n].push(caller.rate(&text).await?);
            }
        }
        for (n, (name, _)) in callers.iter().enumerate() {
            for (quantile, of) in [("p50", 0.5), ("p99", 0.99)] {
                let micros = at(&mut times[n], of).as_secs_f64() * 1e6;
                report.tell(format!("round trip of {shown}, {name}, {quantile}"), micros, "us");
            }
            report.tell(format!("requests of {shown}, {name}"), median(&mut rates[n]), "1/s");
        }
        let [plain, both] = &mut times;
        let ratio = at(plain, 0.5).as_secs_f64() / at(both, 0.5).as_secs_f64();
        report.at_least(format!("round trip of {shown}, TLS alone / both, p50"), ratio, "", GOAL);
        let [plain, both] = &mut rates;
        let ratio = median(both) / median(plain);
        report.at_least(format!("requests of {shown}, both / TLS alone"), ratio, "", GOAL);
    }
    Ok(())
}

fn at(times: &mut [Duration], quantile: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a short list"
    )]
    let place = ((times.len() - 1) as f64 * quantile) as usize;
    times[place]
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
