//! Points of low order: with one of them every shared secret is zero, whatever the other side's key, so that a handshake that takes
//! one shares no secret where it seems to. RFC 7748 leaves the check to the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use vmm_proto::client::{CallError, CallOptions, Hop};
use vmm_proto::credentials::Identity;
use vmm_proto::endpoint::OPEN_PATH;
use vmm_proto::principal::Principal;

use crate::forge::{Claims, Forger};
use crate::middle::{self, Meddle};
use crate::noise::{Initiator, Pair};
use crate::peer::{Link, Peer, between, open_session, prologue};
use crate::support::{Pool, SERVER, list_vms};

/// Every encoding of a point of low order: orders 1, 2, 4 and 8, of the curve and its twist, and the same plus the field's prime.
pub(crate) const LOW: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn points() -> Vec<[u8; 32]> {
    let mut points = Vec::new();
    for text in LOW {
        let byte = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
        let mut point: [u8; 32] = std::array::from_fn(byte);
        points.push(point);
        // The highest bit means nothing.
        point[31] |= 0x80;
        points.push(point);
    }
    points
}

#[test]
fn they_are_of_low_order() {
    for point in points() {
        for private in [[1; 32], [0xa5; 32]] {
            assert_eq!(x25519_dalek::x25519(private, point), [0; 32]);
        }
    }
}

struct Lab {
    pool: Pool,
    agent: Peer,
}

fn lab() -> Lab {
    let pool = Pool::new();
    let agent = Peer::new(&pool, &Principal::agent(SERVER));
    drop(pool.serve(agent.credentials.clone(), pool.options()).task);
    Lab { pool, agent }
}

/// Whether a handshake with these keys gives a session.
async fn opens(link: &Link, keys: (Pair, Pair)) -> bool {
    let server = Identity::of(&link.server).unwrap();
    let hello = b"<Hello xmlns=\"urn:smps-vmm:xvmp:1\" min-minor=\"0\" max-minor=\"0\"/>";
    let (initiator, message) =
        Initiator::start(keys, &server.inner_key, &prologue(&link.server), hello);
    let answer = link.post(OPEN_PATH, open_session(&message)).await;
    if !answer.is_ok() {
        answer.assert_refused("a handshake");
        return false;
    }
    let text = std::str::from_utf8(&answer.body).unwrap();
    let message = STANDARD.decode(between(text, "<Noise>", "</Noise>")).unwrap();
    let welcome = initiator.finish(&message).expect("our own handshake by hand is right");
    String::from_utf8(welcome).unwrap().starts_with("<Welcome")
}

#[tokio::test(start_paused = true)]
async fn a_first_message_with_an_ephemeral_key_of_low_order_opens_no_session() {
    let lab = lab();
    let peer = Peer::new(&lab.pool, &Principal::manager("m"));
    let link = peer.link(&lab.pool).await;
    let identity = Pair::of(peer.inner_key);
    assert!(opens(&link, (Pair::of([7; 32]), identity)).await);
    for point in points() {
        assert!(!opens(&link, (Pair::low(point), identity)).await, "{point:02x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_principal_whose_certificate_names_a_key_of_low_order_opens_no_session() {
    let lab = lab();
    let peer = Peer::new(&lab.pool, &Principal::manager("m"));
    let forger = Forger::of(&lab.pool);
    for point in points() {
        let forged = forger.certify(&Claims::of("xvmp://smps-vmm/manager/m", &point));
        // Refused by TLS, or by the handshake.
        let Some(link) = peer.link_as(&lab.pool, &forged).await else { continue };
        assert!(!opens(&link, (Pair::of([7; 32]), Pair::low(point))).await, "{point:02x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_starts_no_handshake_with_a_server_whose_key_is_of_low_order() {
    let lab = lab();
    let forger = Forger::of(&lab.pool);
    let asked = Arc::new(AtomicUsize::new(0));
    for point in points() {
        let mut config = middle::config(&lab.pool, &lab.agent.credentials);
        let forged = forger.certify(&Claims::of("xvmp://smps-vmm/agent/h1", &point));
        config.cert_resolver = forged.resolver();
        let count = asked.clone();
        let meddle: Meddle = Arc::new(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async { (StatusCode::OK, Bytes::new()) }.boxed()
        });
        middle::listen(&lab.pool, config, meddle);
        let client = middle::client(&lab.pool, lab.pool.issue(&Principal::manager("m")));
        let error = client.call(list_vms(), CallOptions::default()).await.unwrap_err();
        let is_refused =
            matches!(&error, CallError::Transport { hop: Hop::Tls | Hop::Session, .. });
        assert!(is_refused, "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was sent");
}
