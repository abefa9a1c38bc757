//! Bulk streams: both ends on one core, over loopback, with TLS alone and with each library in the inner layer.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use vmm_proto::aead::Backend;
use vmm_proto::bulk::{BulkService, IncomingStream, PAYLOAD_BYTES_MAX, Received, StreamName};
use vmm_proto::client::{CallOptions, Client, ClientOptions, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Server, ServerOptions, TcpListenerAdapter};
use vmm_proto::tls;
use vmm_proto::v1::{Ping, Request};

use crate::pair::Echo;
use crate::protocol::median;
use crate::report::Report;

const BYTES: usize = 512 << 20;
const ROUNDS: usize = 5;
const GOAL: f64 = 0.9;

struct Sink;

impl BulkService for Sink {
    fn stream(&self, incoming: IncomingStream) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Ok(mut receiver) = incoming.receive(0).await else { return };
            while let Ok(received) = receiver.receive().await {
                if received == Received::End {
                    let _ = receiver.finish().await;
                    return;
                }
            }
        })
    }
}

struct Bench {
    clock: Arc<dyn WallClock>,
    server: Principal,
    credentials: Arc<Credentials>,
    own: Arc<Credentials>,
    data: Vec<u8>,
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(rates(report))
}

async fn rates(report: &mut Report) -> Result<()> {
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let authority = CertificateAuthority::create(clock.now())?;
    let server = Principal::agent("server");
    let bench = Bench {
        credentials: Arc::new(authority.issue(&server, clock.now())?),
        own: Arc::new(authority.issue(&Principal::manager("bench"), clock.now())?),
        clock,
        server,
        data: vec![0x5a; PAYLOAD_BYTES_MAX],
    };
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rates[0].push(bench.tls_alone().await?);
        rates[1].push(bench.both(Backend::Portable).await?);
        rates[2].push(bench.both(Backend::Fast).await?);
    }
    let names = ["TLS alone", "TLS and aes-gcm", "TLS and aws-lc-rs"];
    let [alone, portable, fast] = rates.each_mut().map(|rates| median(rates));
    for (name, rate) in names.into_iter().zip([alone, portable, fast]) {
        report.tell(format!("bulk, both ends on one core, {name}"), rate, "GB/s");
    }
    report.tell("bulk, TLS and aes-gcm / TLS alone", portable / alone, "");
    report.at_least("bulk, TLS and aws-lc-rs / TLS alone", fast / alone, "", GOAL);
    Ok(())
}

fn gigabytes_per_second(start: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = BYTES as f64;
    bytes / start.elapsed().as_secs_f64() / 1e9
}

impl Bench {
    async fn tls_alone(&self) -> Result<f64> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let acceptor =
            TlsAcceptor::from(tls::server_config(&self.credentials, Arc::clone(&self.clock))?);
        let receiving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = acceptor.accept(stream).await?;
            let (mut buffer, mut left) = (vec![0; PAYLOAD_BYTES_MAX], BYTES);
            while left > 0 {
                let most = left.min(buffer.len());
                stream.read_exact(&mut buffer[..most]).await?;
                left -= most;
            }
            stream.write_all(&[1]).await?;
            stream.shutdown().await
        });
        let config = tls::client_config(&self.own, &self.server, Arc::clone(&self.clock))?;
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("xvmp.invalid")?;
        let mut stream = TlsConnector::from(config).connect(name, stream).await?;
        let start = Instant::now();
        for _ in 0..BYTES / PAYLOAD_BYTES_MAX {
            stream.write_all(&self.data).await?;
        }
        stream.flush().await?;
        stream.read_exact(&mut [0]).await?;
        let rate = gigabytes_per_second(start);
        receiving.await?.context("the receiver")?;
        Ok(rate)
    }

    async fn both(&self, backend: Backend) -> Result<f64> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let mut options = ServerOptions::new(Arc::clone(&self.clock));
        options.bulk = Some(Arc::new(Sink));
        options.bulk_backend = backend;
        let server = Server::new(Arc::clone(&self.credentials), Arc::new(Echo), options);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(TcpListenerAdapter(listener), stop.clone()));
        let client = Client::new(
            Arc::clone(&self.own),
            self.server.clone(),
            Arc::new(TcpConnector::new(address)),
            ClientOptions::new(Arc::clone(&self.clock)),
        );
        let ping = Request::Ping(Ping { text: String::new() });
        client.call(ping, CallOptions::default()).await?;
        let name = StreamName { transfer: [7; 16], number: 0 };
        let mut sender = client.send_stream(name, backend).await?;
        let start = Instant::now();
        for _ in 0..BYTES / PAYLOAD_BYTES_MAX {
            sender.send(&self.data).await?;
        }
        sender.finish().await?;
        let rate = gigabytes_per_second(start);
        drop(client);
        stop.cancel();
        serving.await??;
        Ok(rate)
    }
}
