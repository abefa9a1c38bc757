//! Who says that it has no certificate yet is asked for none: it must reach nothing that others need one for, and may not stay.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, timeout};
use vmm_proto::endpoint::{
    BODY_TIMEOUT, CONTENT_TYPE as XVMP, HEADER_TIMEOUT, HEALTH_PATH, JOIN_PATH, OPEN_PATH, RPC_PATH,
};
use vmm_proto::principal::Principal;
use vmm_proto::tls::ALPN_JOIN;

use crate::peer::{H1, H2, Peer};
use crate::support::{Pool, SERVER};

/// An exchange, at most.
const LIMIT: Duration = HEADER_TIMEOUT.saturating_add(HEADER_TIMEOUT).saturating_add(BODY_TIMEOUT);

async fn lab() -> (Pool, Peer) {
    let pool = Pool::new();
    drop(pool.serve_as(&Principal::agent(SERVER)).task);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    (pool, peer)
}

#[tokio::test(start_paused = true)]
async fn an_applicant_reaches_no_session_and_no_request_whatever_else_it_offers() {
    let (pool, peer) = lab().await;
    let link = peer.link(&pool).await;
    let message = peer.session(&link).await.ping();
    let (_, hello) = peer.start(&link.server);
    for offered in [&[ALPN_JOIN][..], &[ALPN_JOIN, H2, H1], &[H2, H1, ALPN_JOIN]] {
        for (path, body) in [(OPEN_PATH, &hello), (RPC_PATH, &message), (JOIN_PATH, &hello)] {
            let mut stream = peer.tls_offering(&pool, offered).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ALPN_JOIN));
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {XVMP}\r\nContent-Length: {length}\r\n\r\n"
            );
            // A second request on the same connection is none.
            let next = format!("GET {HEALTH_PATH} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(format!("{head}{body}{next}").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{path}: {answer}");
        }
    }
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 0);
    // Neither the session nor the first message was used up.
    assert!(link.rpc(message).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_applicant_who_stops_at_any_stage_is_dropped() {
    let (pool, peer) = lab().await;
    let head = format!("POST {JOIN_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {XVMP}\r\n");
    let body = format!("{head}Content-Length: 99\r\n\r\n<");
    for bytes in ["", "P", "POST ", &head, &body] {
        let mut stream = peer.tls(&pool, ALPN_JOIN).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(LIMIT + Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "{bytes:?}");
    }
}
