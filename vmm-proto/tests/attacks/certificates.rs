//! Who may connect, and whom a client speaks with: certificates that are wrong in one thing each, at both ends of TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::StatusCode;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vmm_proto::client::{CallError, CallOptions, Client, ClientOptions, Connector as _, Hop};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::endpoint::OPEN_PATH;
use vmm_proto::principal::Principal;
use vmm_proto::server::ServerOptions;

use crate::forge::{Claims, Forged, Forger, key_uri};
use crate::middle;
use crate::peer::{H1, Peer};
use crate::support::{Pool, SERVER, TODAY, list_vms};

/// Any point.
const INNER: [u8; 32] = [9; 32];

/// Certificates that are wrong in one thing each; the last one is right.
fn certificates(pool: &Pool, principal: &str) -> Vec<(&'static str, Forged)> {
    let (forger, stranger) = (Forger::of(pool), Forger::of(&Pool::new()));
    let good = Claims::of(principal, &INNER);
    let days = |from: i32, to: i32| Claims { days: (from, to), ..good.clone() };
    let uris = |uris: &[&str]| {
        let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        Claims { uris, ..good.clone() }
    };
    let key = key_uri(&INNER);
    let other = principal.replace("xvmp://smps-vmm", "xvmp://elsewhere");
    let cases = [
        ("expired", days(-40, -1)),
        ("not yet valid", days(1, 30)),
        ("without alternative names", uris(&[])),
        ("without an inner key", uris(&[principal])),
        ("without a principal", uris(&[&key])),
        ("with two principals", uris(&[principal, "xvmp://smps-vmm/admin/eve", &key])),
        ("with its principal twice", uris(&[principal, principal, &key])),
        ("with two inner keys", uris(&[principal, &key, &key_uri(&[8; 32])])),
        ("with a short inner key", uris(&[principal, &key_uri(&[9; 31])])),
        ("with a long inner key", uris(&[principal, &key_uri(&[9; 33])])),
        ("with an inner key that is none", uris(&[principal, "xvmp-key:x25519:*"])),
        ("of another trust domain", uris(&[&other, &key])),
        ("of no known role", uris(&["xvmp://smps-vmm/root/m", &key])),
        ("of a principal with a slash", uris(&[&format!("{principal}/x"), &key])),
    ];
    let mut all: Vec<_> =
        cases.into_iter().map(|(what, claims)| (what, forger.certify(&claims))).collect();
    all.push(("self-signed", Forged::self_signed(&good)));
    all.push((
        "self-signed as an authority",
        Forged::self_signed(&Claims { is_ca: true, ..good.clone() }),
    ));
    all.push(("of an unknown authority", stranger.certify(&good)));
    all.push(("signed by somebody who is no authority", forger.certify(&good).certify(&good)));
    let below = Claims { is_ca: true, ..good.clone() };
    all.push(("signed by an authority below ours", forger.certify(&below).certify(&good)));
    all.push(("good", forger.certify(&good)));
    all
}

#[tokio::test(start_paused = true)]
async fn the_server_refuses_a_certificate_that_is_wrong_in_anything() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let mut cases = certificates(&pool, "xvmp://smps-vmm/manager/m");
    let server_only =
        Claims { usages: vec![ServerAuth], ..Claims::of("xvmp://smps-vmm/manager/m", &INNER) };
    cases.insert(0, ("for servers only", Forger::of(&pool).certify(&server_only)));
    for (what, forged) in cases {
        let mut stream = peer.tls_as(&pool, H1, &forged).await;
        // The client's half of the handshake is over before the server has looked.
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let result = stream.read_to_end(&mut answer).await;
        if what == "good" {
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{what}: {result:?}");
        } else {
            assert!(answer.is_empty(), "{what}");
            let error = result.unwrap_err().to_string();
            assert!(error.contains("received fatal alert"), "{what}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_refuses_a_certificate_that_is_wrong_in_anything() {
    let pool = Pool::new();
    let agent = pool.issue(&Principal::agent(SERVER));
    let asked = Arc::new(AtomicUsize::new(0));
    let mut cases = certificates(&pool, "xvmp://smps-vmm/agent/h1");
    let forger = Forger::of(&pool);
    let claims = Claims::of("xvmp://smps-vmm/agent/h1", &INNER);
    let client_only = Claims { usages: vec![ClientAuth], ..claims.clone() };
    cases.insert(0, ("for clients only", forger.certify(&client_only)));
    for other in ["agent/h2", "manager/h1", "admin/h1", "agent/H1"] {
        let claims = Claims::of(&format!("xvmp://smps-vmm/{other}"), &INNER);
        cases.insert(0, ("of another principal", forger.certify(&claims)));
    }
    for (what, forged) in cases {
        let mut config = middle::config(&pool, &agent);
        config.cert_resolver = forged.resolver();
        let count = asked.clone();
        let meddle: middle::Meddle = Arc::new(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async { (StatusCode::BAD_REQUEST, bytes::Bytes::new()) }.boxed()
        });
        middle::listen(&pool, config, meddle);
        let client = middle::client(&pool, pool.issue(&Principal::manager("m")));
        let error = client.call(list_vms(), CallOptions::default()).await.unwrap_err();
        let CallError::Transport { hop, .. } = &error else { panic!("{what}: {error}") };
        let expected = if what == "good" { Hop::Session } else { Hop::Tls };
        assert_eq!(*hop, expected, "{what}: {error}");
        assert_eq!(asked.load(Ordering::SeqCst) > 0, what == "good", "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_too_much_end_it_and_a_few_minutes_do_not() {
    let day = Duration::from_secs(86_400);
    let (few_minutes, past, future) = (Duration::from_secs(240), TODAY - day, TODAY + day * 31);
    for (client_now, server_now, hop) in [
        (TODAY - few_minutes, TODAY, None),
        (TODAY + day * 6, TODAY, None),
        (TODAY, TODAY - few_minutes, None),
        (past, TODAY, Some(Hop::Tls)),
        (future, TODAY, Some(Hop::Tls)),
        (TODAY, past, Some(Hop::Session)),
        (TODAY, future, Some(Hop::Session)),
    ] {
        let pool = Pool::new();
        let clock = |now| Arc::new(TokioClock::starting_at(now));
        let _server = pool
            .serve(pool.issue(&Principal::agent(SERVER)), ServerOptions::new(clock(server_now)));
        let client = Client::new(
            pool.issue(&Principal::manager("m")),
            Principal::agent(SERVER),
            Arc::new(pool.network.connector(SERVER)),
            ClientOptions::new(clock(client_now)),
        );
        let result = client.call(list_vms(), CallOptions::default()).await;
        match (result, hop) {
            (Ok(_), None) => {}
            (Err(CallError::Transport { hop, .. }), Some(expected)) => assert_eq!(hop, expected),
            (result, _) => panic!("{client_now:?} and {server_now:?}: {result:?}"),
        }
    }
}

/// A clock that jumps.
#[derive(Debug)]
struct Jumping(AtomicU64);

impl WallClock for Jumping {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_outlives_its_certificate_opens_no_session() {
    let pool = Pool::new();
    let clock = Arc::new(Jumping(AtomicU64::new(TODAY.as_secs())));
    let _server =
        pool.serve(pool.issue(&Principal::agent(SERVER)), ServerOptions::new(clock.clone()));
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    let session = peer.session(&link).await;
    assert!(link.rpc(session.ping()).await.is_ok());
    clock.0.fetch_add(31 * 86_400, Ordering::SeqCst);
    let (_, hello) = peer.start(&link.server);
    link.post(OPEN_PATH, hello).await.assert_refused("expired");
}

/// A first flight of TLS 1.2, with these extensions behind the usual ones.
fn client_hello(version: [u8; 2], more: &[u8]) -> Vec<u8> {
    let prefixed =
        |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    // Groups: x25519, P-256. Signatures: ECDSA and RSA-PSS with SHA-256.
    let groups = [&[0, 10][..], &prefixed(&prefixed(&[0, 0x1d, 0, 0x17]))].concat();
    let signatures = [&[0, 13][..], &prefixed(&prefixed(&[4, 3, 8, 4]))].concat();
    let extensions = [groups, signatures, more.to_vec()].concat();
    let ciphers = [0xc0, 0x2b, 0xc0, 0x2c, 0xc0, 0x2f, 0, 0x9c, 0, 0x2f];
    let random = [7; 32];
    let body = [&version, &random[..], &[0], &prefixed(&ciphers), &[1, 0], &prefixed(&extensions)]
        .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let handshake = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1], prefixed(&handshake).as_slice()].concat()
}

#[tokio::test(start_paused = true)]
async fn no_older_tls_is_spoken() {
    const PROTOCOL_VERSION: u8 = 70;
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    for (what, hello) in [
        ("1.2", client_hello([3, 3], &[])),
        ("1.1", client_hello([3, 2], &[])),
        ("1.0", client_hello([3, 1], &[])),
        ("1.2 and 1.1, listed", client_hello([3, 3], &[0, 43, 0, 5, 4, 3, 3, 3, 2])),
    ] {
        let mut stream = pool.network.connector(SERVER).connect().await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // One record: a fatal alert, and the end.
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, PROTOCOL_VERSION], "{what}");
    }
}
