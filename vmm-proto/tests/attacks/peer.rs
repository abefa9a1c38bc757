//! The attacker's own half of the protocol, from its text: TLS, HTTP, Noise, messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vmm_proto::credentials::{Credentials, Identity};
use vmm_proto::endpoint::{CONTENT_TYPE as XVMP, HEALTH_PATH, OPEN_PATH, RPC_PATH};
use vmm_proto::envelope::{Direction, DirectionKey, EnvelopeError, Header, Sealed, seal};
use vmm_proto::principal::Principal;
use vmm_proto::server::BAD_MESSAGE;
use vmm_proto::tls;
use vmm_proto::transport::{BoxedStream, Connector as _};

use crate::forge::Forged;
use crate::support::{Pool, SERVER};

pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

const NAMESPACE: &str = "urn:smps-vmm:xvmp:1";

/// One party, with everything that lies in its directory.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) inner_key: [u8; 32],
}

/// An HTTP/2 connection, and the certificate at its other end.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    pub(crate) server: CertificateDer<'static>,
}

/// Everything of an answer that a peer can see, but for the date.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }

    /// The one refusal, whatever was wrong: these bytes and these headers.
    #[track_caller]
    pub(crate) fn assert_refused(&self, what: &str) {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected = [("content-type", XVMP.as_bytes()), ("content-length", b"55".as_slice())];
        assert_eq!(self.status, StatusCode::BAD_REQUEST, "{what}");
        assert_eq!(self.body, BAD_MESSAGE, "{what}");
        assert_eq!(headers, expected, "{what}");
    }
}

impl Peer {
    pub(crate) fn of(credentials: Arc<Credentials>) -> Peer {
        let directory = tempfile::tempdir().unwrap();
        credentials.save(directory.path()).unwrap();
        let text = std::fs::read_to_string(directory.path().join("inner.key")).unwrap();
        let inner_key = STANDARD.decode(text.trim()).unwrap().try_into().unwrap();
        Peer { credentials, inner_key }
    }

    pub(crate) fn new(pool: &Pool, principal: &Principal) -> Peer {
        Peer::of(pool.issue(principal))
    }

    fn config(&self, pool: &Pool, alpn: &[&[u8]]) -> ClientConfig {
        let server = Principal::agent(SERVER);
        let config = tls::client_config(&self.credentials, &server, pool.clock.clone()).unwrap();
        let mut config = (*config).clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    pub(crate) async fn tls(&self, pool: &Pool, alpn: &[u8]) -> TlsStream<BoxedStream> {
        self.tls_offering(pool, &[alpn]).await
    }

    pub(crate) async fn tls_offering(&self, pool: &Pool, alpn: &[&[u8]]) -> TlsStream<BoxedStream> {
        connect(pool, self.config(pool, alpn)).await
    }

    /// Connects with another certificate; what comes of it shows when something is read.
    pub(crate) async fn tls_as(
        &self,
        pool: &Pool,
        alpn: &[u8],
        as_whom: &Forged,
    ) -> TlsStream<BoxedStream> {
        let mut config = self.config(pool, &[alpn]);
        config.client_auth_cert_resolver = as_whom.resolver();
        connect(pool, config).await
    }

    pub(crate) async fn link(&self, pool: &Pool) -> Link {
        Link::over(self.tls(pool, H2).await).await
    }

    /// Takes that many bytes of each answer until it reads.
    pub(crate) async fn link_with_window(&self, pool: &Pool, bytes: u32) -> Link {
        Link::with_window(self.tls(pool, H2).await, bytes).await
    }

    /// `None` if TLS refuses the certificate.
    pub(crate) async fn link_as(&self, pool: &Pool, as_whom: &Forged) -> Option<Link> {
        let link = Link::over(self.tls_as(pool, H2, as_whom).await).await;
        let health = Request::get(HEALTH_PATH).body(Full::<Bytes>::default()).unwrap();
        link.sender.clone().send_request(health).await.ok().map(|_| link)
    }

    /// The first message of a handshake with the owner of that certificate.
    pub(crate) fn start(&self, server: &CertificateDer<'_>) -> (snow::HandshakeState, String) {
        let identity = Identity::of(server).unwrap();
        let mut state = snow::Builder::new("Noise_IK_25519_AESGCM_SHA256".parse().unwrap())
            .local_private_key(&self.inner_key)
            .unwrap()
            .remote_public_key(&identity.inner_key)
            .unwrap()
            .prologue(&prologue(server))
            .unwrap()
            .build_initiator()
            .unwrap();
        let hello = format!("<Hello xmlns=\"{NAMESPACE}\" min-minor=\"0\" max-minor=\"0\"/>");
        let mut message = vec![0; 4096];
        let length = state.write_message(hello.as_bytes(), &mut message).unwrap();
        let document = open_session(&message[..length]);
        (state, document)
    }

    pub(crate) async fn session(&self, link: &Link) -> Session {
        let (state, document) = self.start(&link.server);
        let answer = link.post(OPEN_PATH, document).await;
        assert!(answer.is_ok(), "{answer:?}");
        Session::finish(state, &answer.body)
    }
}

/// What binds a handshake to the owner of that certificate.
pub(crate) fn prologue(server: &CertificateDer<'_>) -> Vec<u8> {
    let principal = Identity::of(server).unwrap().principal.to_string();
    let mut prologue = Vec::new();
    for part in [b"XVMP/1", principal.as_bytes(), &Sha256::digest(server)] {
        prologue.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        prologue.extend(part);
    }
    prologue
}

/// The document around a first message.
pub(crate) fn open_session(message: &[u8]) -> String {
    let message = STANDARD.encode(message);
    format!(
        "<OpenSession xmlns=\"{NAMESPACE}\" version=\"1\"><Noise>{message}</Noise></OpenSession>"
    )
}

fn name() -> ServerName<'static> {
    ServerName::try_from("xvmp.invalid").unwrap()
}

async fn connect(pool: &Pool, config: ClientConfig) -> TlsStream<BoxedStream> {
    let stream = pool.network.connector(SERVER).connect().await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name(), stream).await.unwrap()
}

impl Link {
    async fn over(stream: TlsStream<BoxedStream>) -> Link {
        Link::with_window(stream, 1 << 20).await
    }

    async fn with_window(stream: TlsStream<BoxedStream>, bytes: u32) -> Link {
        let server = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let handshake = builder.initial_stream_window_size(bytes).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        Link { sender, server: server.into_owned() }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.sender.clone().send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        headers.remove("date");
        Answer { status: parts.status, headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::post(path).header(CONTENT_TYPE, XVMP);
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    pub(crate) async fn rpc(&self, body: impl Into<Bytes>) -> Answer {
        self.post(RPC_PATH, body).await
    }
}

/// A client's session.
pub(crate) struct Session {
    pub(crate) id: String,
    c2s: DirectionKey,
    s2c: DirectionKey,
    next: AtomicU64,
}

impl Session {
    fn finish(mut state: snow::HandshakeState, answer: &[u8]) -> Session {
        let answer = std::str::from_utf8(answer).unwrap();
        let message = STANDARD.decode(between(answer, "<Noise>", "</Noise>")).unwrap();
        let mut welcome = vec![0; 4096];
        let length = state.read_message(&message, &mut welcome).unwrap();
        let welcome = std::str::from_utf8(&welcome[..length]).unwrap();
        let hash = state.get_handshake_hash().to_vec();
        let (k1, k2) = state.dangerously_get_raw_split();
        Session {
            id: between(welcome, "session=\"", "\"").to_owned(),
            c2s: DirectionKey::derive(&k1, Direction::ClientToServer, &hash),
            s2c: DirectionKey::derive(&k2, Direction::ServerToClient, &hash),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn header(&self) -> Header {
        self.header_of(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn header_of(&self, seq: u64) -> Header {
        Header {
            session: self.id.clone(),
            direction: Direction::ClientToServer,
            seq,
            id: format!("m-{seq}"),
        }
    }

    pub(crate) fn seal(&self, header: &Header, inner: &str) -> String {
        String::from_utf8(seal(&self.c2s, header, inner.as_bytes()).unwrap()).unwrap()
    }

    /// A good message with that element inside.
    pub(crate) fn request(&self, element: &str) -> String {
        let header = self.header();
        self.seal(&header, &inner(&header, "", element))
    }

    pub(crate) fn ping(&self) -> String {
        self.request("<Ping text=\"x\"/>")
    }

    /// What is in the answer.
    pub(crate) fn open(&self, answer: &[u8]) -> Result<String, EnvelopeError> {
        let plaintext = Sealed::parse(answer)?.open(&self.s2c)?;
        Ok(String::from_utf8(plaintext.to_vec()).unwrap())
    }
}

/// The document inside a request; `more` are further attributes.
pub(crate) fn inner(header: &Header, more: &str, element: &str) -> String {
    let Header { session, direction, seq, id } = header;
    format!(
        "<Request xmlns=\"{NAMESPACE}\" id=\"{id}\" session=\"{session}\" dir=\"{direction}\" \
         seq=\"{seq}\"{more}>{element}</Request>"
    )
}

pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

/// The message with its cipher value changed.
pub(crate) fn with_value(message: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (before, rest) = message.split_once("<xenc:CipherValue>").unwrap();
    let (value, after) = rest.split_once("</xenc:CipherValue>").unwrap();
    let mut bytes = STANDARD.decode(value).unwrap();
    change(&mut bytes);
    let value = STANDARD.encode(bytes);
    format!("{before}<xenc:CipherValue>{value}</xenc:CipherValue>{after}")
}
