//! What an eavesdropper sees: outside TLS, and where TLS ends.

mod support;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustls::pki_types::ServerName;
use support::{Pool, SERVER, ping, pong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vmm_proto::client::{BoxedStream, CallOptions, Connector};
use vmm_proto::principal::Principal;
use vmm_proto::server::Listener as _;
use vmm_proto::tls;
use vmm_proto::transport::memory::MemoryConnector;

const SECRET: &str = "the secret of the afternoon";

type Tape = Arc<Mutex<Vec<u8>>>;

/// Records both directions.
struct Recorded<S> {
    stream: S,
    tape: Tape,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.tape.lock().expect("no test panics in here").extend(&buffer.filled()[before..]);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.tape.lock().expect("no test panics in here").extend(&bytes[..count]);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct RecordingConnector {
    connector: MemoryConnector,
    tape: Tape,
}

impl Connector for RecordingConnector {
    fn connect(&self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        async {
            let stream = self.connector.connect().await?;
            Ok(Box::new(Recorded { stream, tape: self.tape.clone() }) as BoxedStream)
        }
        .boxed()
    }

    fn address(&self) -> String {
        self.connector.address()
    }
}

fn contains(tape: &Tape, text: &str) -> bool {
    let tape = tape.lock().expect("no test panics in here");
    tape.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn on_the_wire_nothing_is_in_clear() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let tape = Tape::default();
    let connector =
        RecordingConnector { connector: pool.network.connector(SERVER), tape: tape.clone() };
    let manager = pool.issue(&Principal::manager("m"));
    let client = pool.client_over(manager, Arc::new(connector));
    assert_eq!(client.call(ping(SECRET), CallOptions::default()).await.unwrap(), pong(SECRET));
    assert!(tape.lock().unwrap().len() > 1000);
    for text in [SECRET, "<", "xvmp", "Message", "Ping", "Request", "POST", "agent/h1"] {
        // One character may occur by chance; a tag may not.
        let text = if text == "<" { "<Re" } else { text };
        assert!(!contains(&tape, text), "{text} is in clear");
    }
}

/// Somebody who holds the TLS keys of both sides, and so ends TLS in the middle, reads no body.
#[tokio::test(start_paused = true)]
async fn where_tls_ends_no_body_is_in_clear() {
    let pool = Pool::new();
    let (agent, manager) =
        (pool.issue(&Principal::agent(SERVER)), pool.issue(&Principal::manager("m")));
    let _server = pool.serve(agent.clone(), pool.options());
    let tape = Tape::default();

    let mut listener = pool.network.listener("proxy");
    let accept = TlsAcceptor::from(tls::server_config(&agent, pool.clock.clone()).unwrap());
    let onward = TlsConnector::from(
        tls::client_config(&manager, &Principal::agent(SERVER), pool.clock.clone()).unwrap(),
    );
    let connector = pool.network.connector(SERVER);
    let proxy_tape = tape.clone();
    tokio::spawn(async move {
        let near = accept.accept(listener.accept().await.unwrap().stream).await.unwrap();
        let far = connector.connect().await.unwrap();
        let name = ServerName::try_from("xvmp.invalid").unwrap();
        let mut far = onward.connect(name, far).await.unwrap();
        let mut near = Recorded { stream: near, tape: proxy_tape };
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });

    let client = pool.client_over(manager, Arc::new(pool.network.connector("proxy")));
    assert_eq!(client.call(ping(SECRET), CallOptions::default()).await.unwrap(), pong(SECRET));
    for text in ["<OpenSession", "<SessionOpened", "<v:Message", "CipherValue", "dir=\"s2c\""] {
        assert!(contains(&tape, text), "{text} is missing: this test does not see inside TLS");
    }
    for text in [SECRET, "<Request", "<Response", "Ping", "Pong", "Hello", "Welcome", "text="] {
        assert!(!contains(&tape, text), "{text} is in clear");
    }
}
