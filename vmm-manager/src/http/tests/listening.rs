//! The edge on a real socket: where it listens, and where it does not.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use vmm_proto::clock::SystemClock;

use super::attacks::Fragile;
use super::peer::statuses;
use crate::http::{Edge, EdgeError, HttpOptions, Tokens};

fn options(listen: &str, tls: Option<(PathBuf, PathBuf)>) -> HttpOptions {
    HttpOptions {
        listen: listen.parse().expect("an address"),
        names: Vec::new(),
        tls,
        tokens: Tokens::of(PathBuf::from("/nowhere")),
        clock: Arc::new(SystemClock),
    }
}

async fn bind(options: HttpOptions) -> Result<Edge, EdgeError> {
    Edge::bind(options, Arc::new(Fragile), CancellationToken::new()).await
}

#[tokio::test]
async fn it_answers_on_loopback_until_it_is_told_to_end() {
    let stop = CancellationToken::new();
    let edge = Edge::bind(options("127.0.0.1:0", None), Arc::new(Fragile), stop.clone()).await;
    let edge = edge.expect("it listens");
    let address = edge.address();
    let serving = tokio::spawn(edge.serve());
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    assert_eq!(statuses(&text), [200]);
    stop.cancel();
    serving.await.expect("no panic");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn it_listens_nowhere_else_without_tls() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = bind(options(listen, None)).await;
        assert!(matches!(refused, Err(EdgeError::Unprotected(_))), "{listen}");
    }
    let none = || Some((PathBuf::from("/nowhere/cert"), PathBuf::from("/nowhere/key")));
    assert!(matches!(bind(options("127.0.0.1:0", none())).await, Err(EdgeError::Tls(_))));
}
