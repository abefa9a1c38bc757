//! The edge on a real socket: where it listens, and where it does not.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
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
    let stream = TcpStream::connect(address).await.expect("connected");
    assert_eq!(statuses(&asked(stream).await), [200]);
    stop.cancel();
    serving.await.expect("no panic");
    assert!(TcpStream::connect(address).await.is_err());
}

/// The answer to a health check.
async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    text
}

/// A certificate for `localhost`, and its key, in files.
fn certified(directory: &Path) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let (chain, file) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&chain, own.self_signed(&key).expect("signed").pem()).expect("written");
    std::fs::write(&file, key.serialize_pem()).expect("written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("closed");
    (chain, file)
}

/// Trusts this certificate alone.
fn trusting(chain: &Path) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(chain).expect("PEM")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn over_tls_it_answers_those_who_trust_its_certificate_and_nothing_in_clear() {
    let directory = tempfile::tempdir().expect("a directory");
    let (chain, key) = certified(directory.path());
    let stop = CancellationToken::new();
    let options = options("127.0.0.1:0", Some((chain.clone(), key)));
    let edge = Edge::bind(options, Arc::new(Fragile), stop.clone()).await.expect("it listens");
    let address = edge.address();
    let serving = tokio::spawn(edge.serve());
    let connect = async || TcpStream::connect(address).await.expect("connected");
    let name = || ServerName::try_from("localhost").expect("a name");
    let stream = trusting(&chain).connect(name(), connect().await).await.expect("trusted");
    assert_eq!(statuses(&asked(stream).await), [200]);
    let stranger = tempfile::tempdir().expect("a directory");
    let (other, _) = certified(stranger.path());
    assert!(trusting(&other).connect(name(), connect().await).await.is_err(), "another's");
    let mut clear = connect().await;
    clear.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _ = clear.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "nothing in clear");
    stop.cancel();
    serving.await.expect("no panic");
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
