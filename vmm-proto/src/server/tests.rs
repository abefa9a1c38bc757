//! A server against clients that do not behave.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::TokioClock;
use crate::credentials::{CertificateAuthority, Credentials, Identity};
use crate::endpoint::{CONTENT_TYPE as XVMP, HEALTH_PATH, OPEN_PATH, RPC_PATH};
use crate::message::{self, Terms};
use crate::session::{ClientSession, Opening};
use crate::tls;
use crate::transport::memory::MemoryNetwork;
use crate::transport::{BoxedStream, Connector as _};
use crate::v1::{Done, ListVms, Reply};

const TODAY: Duration = Duration::from_secs(1_790_000_000);

struct AlwaysDone;

impl Service for AlwaysDone {
    fn call(&self, _: Caller, _: v1::Request) -> BoxFuture<'_, Result<v1::Reply, v1::Fault>> {
        async { Ok(Reply::Done(Done {})) }.boxed()
    }
}

struct Lab {
    network: MemoryNetwork,
    clock: Arc<dyn WallClock>,
    authority: CertificateAuthority,
    server: Arc<Credentials>,
}

type Sender = http2::SendRequest<Full<Bytes>>;

/// Everything of an answer that a peer can see, but for the date.
#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

fn lab() -> Lab {
    lab_with(|_| {})
}

fn lab_with(change: impl FnOnce(&mut ServerOptions)) -> Lab {
    let authority = CertificateAuthority::create(TODAY).unwrap();
    let server = Arc::new(authority.issue(&Principal::agent("h1"), TODAY).unwrap());
    let network = MemoryNetwork::new();
    let clock = Arc::new(TokioClock::starting_at(TODAY));
    let mut options = ServerOptions::new(clock.clone());
    change(&mut options);
    let running = Server::new(server.clone(), Arc::new(AlwaysDone), options);
    tokio::spawn(running.serve(network.listener("h1"), CancellationToken::new()));
    Lab { network, clock, authority, server }
}

impl Lab {
    fn issue(&self, name: &str) -> Credentials {
        self.authority.issue(&Principal::manager(name), TODAY).unwrap()
    }

    async fn tls(&self, credentials: &Credentials, alpn: &[u8]) -> TlsStream<BoxedStream> {
        let server = Principal::agent("h1");
        let mut config =
            (*tls::client_config(credentials, &server, self.clock.clone()).unwrap()).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = self.network.connector("h1").connect().await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(tls::server_name(), stream).await.unwrap()
    }

    async fn http(&self, credentials: &Credentials) -> Sender {
        let stream = TokioIo::new(self.tls(credentials, tls::ALPN_H2).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn session(&self, credentials: &Credentials, sender: &Sender) -> ClientSession {
        let server = Identity::of(&self.server.certificate).unwrap();
        let (opening, document) =
            Opening::start(credentials, &self.server.certificate, &server).unwrap();
        opening.finish(&post(sender, OPEN_PATH, document).await.body).unwrap()
    }
}

async fn send(sender: &Sender, request: Request<Full<Bytes>>) -> Answer {
    let (parts, body) = sender.clone().send_request(request).await.unwrap().into_parts();
    let mut headers = parts.headers;
    headers.remove("date");
    Answer { status: parts.status, headers, body: body.collect().await.unwrap().to_bytes() }
}

async fn post(sender: &Sender, path: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(path).header(CONTENT_TYPE, XVMP);
    send(sender, request.body(Full::new(body.into())).unwrap()).await
}

fn request(session: &ClientSession, inner: impl FnOnce(String) -> String) -> Vec<u8> {
    let header = session.next_header("m").unwrap();
    let body = v1::Request::ListVms(ListVms::default());
    let document = message::write_request(&header, &Terms::default(), &body).unwrap();
    session.seal(&header, inner(document.to_string()).as_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_a_message_the_answer_is_the_same() {
    let lab = lab();
    let (owner, stranger) = (lab.issue("m"), lab.issue("n"));
    let (sender, strange) = (lab.http(&owner).await, lab.http(&stranger).await);
    let session = lab.session(&owner, &sender).await;
    let good = request(&session, |document| document);
    assert_eq!(post(&sender, RPC_PATH, good.clone()).await.status, StatusCode::OK);

    let fresh = String::from_utf8(request(&session, |document| document)).unwrap();
    let flip = fresh.replacen("<xenc:CipherValue>A", "<xenc:CipherValue>B", 1);
    let flip = if flip == fresh { fresh.replacen("Value>", "Value>AAAA", 1) } else { flip };
    let other_session =
        fresh.replace(&fresh[fresh.find("session=\"").unwrap() + 9..][..32], &"0".repeat(32));
    let misdirected = |document: String| document.replacen("seq=\"", "seq=\"1", 1);
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("no XML", b"hello".to_vec()),
        ("ill-formed", b"<a><b></a>".to_vec()),
        ("a document type", format!("<!DOCTYPE a>{fresh}").into_bytes()),
        ("another document", b"<a xmlns=\"urn:smps-vmm:xvmp:1\"/>".to_vec()),
        ("CBC", fresh.replace("2009/xmlenc11#aes256-gcm", "2001/04/xmlenc#aes256-cbc").into()),
        ("a replay", good),
        ("a bad tag", flip.into_bytes()),
        ("another id", fresh.replacen("id=\"m\"", "id=\"x\"", 1).into_bytes()),
        ("an unknown session", other_session.into_bytes()),
        ("an inner header that differs", request(&session, misdirected)),
    ];
    let expected = post(&sender, RPC_PATH, "x").await;
    assert_eq!(expected.status, StatusCode::BAD_REQUEST);
    assert_eq!(expected.body, BAD_MESSAGE);
    for (what, body) in bodies {
        assert_eq!(post(&sender, RPC_PATH, body.clone()).await, expected, "{what}");
        assert_eq!(post(&sender, OPEN_PATH, body).await, expected, "{what}, to open");
    }
    assert_eq!(post(&strange, RPC_PATH, fresh.clone()).await, expected, "a stolen session");
    // None of it did the session any harm.
    assert_eq!(post(&sender, RPC_PATH, fresh).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_verb_is_told_to_whom_it_concerns() {
    let lab = lab();
    let credentials = lab.issue("m");
    let sender = lab.http(&credentials).await;
    let session = lab.session(&credentials, &sender).await;
    let body = request(&session, |document| document.replace("ListVms", "Levitate"));
    let answer = post(&sender, RPC_PATH, body).await;
    let (header, plaintext) = session.open("m", &answer.body).unwrap();
    let fault = message::read_response(&plaintext, &header).unwrap().unwrap_err();
    assert_eq!(fault.code, v1::FaultCode::Unsupported);
    assert!(fault.message.contains("Levitate") && fault.hop == "agent h1");
}

#[tokio::test(start_paused = true)]
async fn http_is_answered_by_status() {
    let lab = lab();
    let sender = lab.http(&lab.issue("m")).await;
    let get = |path: &str| Request::get(path).body(Full::default()).unwrap();
    let typed = |name: &str| {
        let request = Request::post(RPC_PATH).header(CONTENT_TYPE, name);
        request.body(Full::default()).unwrap()
    };
    let compressed = Request::post(RPC_PATH)
        .header(CONTENT_TYPE, XVMP)
        .header(CONTENT_ENCODING, "gzip")
        .body(Full::default())
        .unwrap();
    let large = Request::post(RPC_PATH)
        .header(CONTENT_TYPE, XVMP)
        .body(Full::new(Bytes::from(vec![b' '; crate::endpoint::BODY_BYTES_MAX + 1])))
        .unwrap();
    for (request, status) in [
        (get(HEALTH_PATH), StatusCode::OK),
        (get(RPC_PATH), StatusCode::METHOD_NOT_ALLOWED),
        (get("/"), StatusCode::NOT_FOUND),
        (get("/xvmp/2/rpc"), StatusCode::NOT_FOUND),
        (typed("text/xml"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (compressed, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (large, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        assert_eq!(send(&sender, request).await.status, status, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_1_1_is_spoken_to_who_asks_for_it() {
    let lab = lab();
    let stream = TokioIo::new(lab.tls(&lab.issue("m"), b"http/1.1").await);
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(OPEN_PATH).header(CONTENT_TYPE, XVMP);
    let answer =
        sender.send_request(request.body(Full::new(Bytes::from("x"))).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), BAD_MESSAGE);
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_speaks_without_a_certificate() {
    let lab = lab();
    let server = Principal::agent("h1");
    let config = tls::client_config(&lab.issue("m"), &server, lab.clock.clone()).unwrap();
    let mut config = (*config).clone();
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let stream = lab.network.connector("h1").connect().await.unwrap();
    let stream =
        TlsConnector::from(Arc::new(config)).connect(tls::server_name(), stream).await.unwrap();
    let mut stream = stream;
    let error = stream.read_u8().await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}

async fn closes_within(mut stream: impl tokio::io::AsyncRead + Unpin, limit: Duration) {
    let start = tokio::time::Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(start.elapsed() <= limit, "closed after {:?}", start.elapsed());
    assert!(start.elapsed() > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_dropped_at_every_stage() {
    let lab = lab();
    let credentials = lab.issue("m");
    let silent = lab.network.connector("h1").connect().await.unwrap();
    closes_within(silent, crate::endpoint::TLS_TIMEOUT + Duration::from_secs(1)).await;
    let silent = lab.tls(&credentials, b"http/1.1").await;
    closes_within(silent, Duration::from_secs(11)).await;
    let silent = lab.tls(&credentials, tls::ALPN_H2).await;
    closes_within(silent, Duration::from_secs(11)).await;
    let mut slow = lab.tls(&credentials, b"http/1.1").await;
    slow.write_all(b"POST /xvmp/1/rpc HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    closes_within(slow, Duration::from_secs(11)).await;
    let mut slow = lab.tls(&credentials, b"http/1.1").await;
    let head = format!(
        "POST {RPC_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {XVMP}\r\nContent-Length: 99\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let start = tokio::time::Instant::now();
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert!(start.elapsed() <= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn who_has_all_connections_that_one_may_have_gets_no_more_and_others_do() {
    let lab = lab_with(|options| options.connection_share_max = 2);
    let greedy = lab.issue("m1");
    let mut first = lab.tls(&greedy, tls::ALPN_H2).await;
    let _second = lab.tls(&greedy, tls::ALPN_H2).await;
    // The server counts when its half of the handshake is over.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut third = lab.tls(&greedy, tls::ALPN_H2).await;
    let read = tokio::time::timeout(Duration::from_secs(1), third.read_u8()).await;
    assert!(read.expect("closed at once").is_err());
    first.shutdown().await.unwrap();
    drop(first);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for credentials in [greedy, lab.issue("m2")] {
        let health = Request::get(HEALTH_PATH).body(Full::new(Bytes::new())).unwrap();
        let answer = send(&lab.http(&credentials).await, health).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_all_requests_that_one_may_have_is_told_to_wait() {
    let lab = lab_with(|options| options.request_share_max = 0);
    let sender = lab.http(&lab.issue("m1")).await;
    let answer = post(&sender, OPEN_PATH, Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
}
