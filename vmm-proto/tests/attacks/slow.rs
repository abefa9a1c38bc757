//! Bytes that do not come: whoever stops at any stage loses its connection, and the server waits for nobody else's sake.

use hyper::Request;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, sleep, timeout};
use vmm_proto::client::Connector as _;
use vmm_proto::endpoint::{
    BODY_TIMEOUT, CONTENT_TYPE as XVMP, HEADER_TIMEOUT, HEALTH_PATH, KEEP_ALIVE, RPC_PATH,
    TLS_TIMEOUT,
};
use vmm_proto::principal::Principal;
use vmm_proto::server::ServerOptions;

use crate::frames::{
    DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, STATUS_408, block, frame, next,
};
use crate::peer::{H1, H2, Peer};
use crate::support::{Pool, SERVER};

const MARGIN: Duration = Duration::from_secs(1);

struct Lab {
    pool: Pool,
    peer: Peer,
}

fn lab() -> Lab {
    let pool = Pool::new();
    drop(pool.serve_as(&Principal::agent(SERVER)).task);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    Lab { pool, peer }
}

/// Whether the server ends the connection within that time, on tokio's paused clock, whatever it writes before.
async fn ends_within(mut stream: impl AsyncRead + Unpin, limit: Duration) -> bool {
    let mut rest = Vec::new();
    timeout(limit + MARGIN, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn who_stops_within_the_tls_handshake_is_dropped() {
    let lab = lab();
    // A record that is announced and does not come, and one that comes byte by byte.
    for (bytes, pause) in [
        (&b"\x16"[..], None),
        (b"\x16\x03\x01\x02\x00\x01", None),
        (b"\x16\x03\x01\x02\x00", Some(3)),
    ] {
        let mut stream = lab.pool.network.connector(SERVER).connect().await.unwrap();
        let start = Instant::now();
        stream.write_all(bytes).await.unwrap();
        if let Some(pause) = pause {
            for _ in 0..9 {
                sleep(Duration::from_secs(pause)).await;
                if stream.write_all(b"\x01").await.is_err() {
                    break;
                }
            }
        }
        assert!(
            ends_within(stream, TLS_TIMEOUT.saturating_sub(start.elapsed())).await,
            "{bytes:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_within_an_http_1_1_request_is_dropped() {
    let lab = lab();
    for bytes in
        ["P", "POST ", "POST /xvmp/1/rpc HTTP/1.1\r\n", "POST /xvmp/1/rpc HTTP/1.1\r\nHost: x\r\n"]
    {
        let mut stream = lab.peer.tls(&lab.pool, H1).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        assert!(ends_within(stream, HEADER_TIMEOUT).await, "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_a_header_line_now_and_then_is_dropped() {
    let lab = lab();
    let mut stream = lab.peer.tls(&lab.pool, H1).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    for _ in 0..4 {
        sleep(HEADER_TIMEOUT / 3).await;
        let _ = stream.write_all(b"X-More: 1\r\n").await;
    }
    assert!(ends_within(stream, Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_answered_408_over_http_1_1() {
    let lab = lab();
    let mut stream = lab.peer.tls(&lab.pool, H1).await;
    let head = format!(
        "POST {RPC_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {XVMP}\r\nContent-Length: 99\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let drip = tokio::spawn(async move { drip(&mut write, b"x").await });
    let mut answer = [0; 12];
    timeout(BODY_TIMEOUT + MARGIN, read.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drip.abort();
}

async fn drip(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    while write.write_all(bytes).await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_answered_408_over_http_2_and_the_connection_goes_on() {
    let lab = lab();
    let mut stream = lab.peer.tls(&lab.pool, H2).await;
    let open = [PREFACE, SETTINGS, &frame(HEADERS, END_HEADERS, 1, &block())].concat();
    stream.write_all(&open).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let drip = tokio::spawn(async move { drip(&mut write, &frame(DATA, 0, 1, b"x")).await });
    let answered = timeout(BODY_TIMEOUT + MARGIN, async {
        loop {
            let frame = next(&mut read).await.expect("the connection goes on");
            if frame.kind == HEADERS {
                return frame.payload;
            }
        }
    });
    assert!(answered.await.unwrap().starts_with(STATUS_408));
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn who_stops_after_its_http_2_preface_is_dropped() {
    let lab = lab();
    let half_header = frame(HEADERS, 0, 1, &block());
    let cut_frame = &frame(HEADERS, END_HEADERS, 1, &block())[..20];
    for (what, bytes) in [
        ("the preface alone", vec![]),
        ("settings alone", SETTINGS.to_vec()),
        ("a header that goes on", [SETTINGS, &half_header].concat()),
        ("a frame that is cut", [SETTINGS, cut_frame].concat()),
        (
            "a request without its body",
            [SETTINGS, &frame(HEADERS, END_HEADERS, 1, &block())].concat(),
        ),
    ] {
        let mut stream = lab.peer.tls(&lab.pool, H2).await;
        stream.write_all(&[PREFACE, &bytes].concat()).await.unwrap();
        assert!(ends_within(stream, KEEP_ALIVE.0 + KEEP_ALIVE.1).await, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_within_its_http_2_preface_is_dropped() {
    let lab = lab();
    for length in [1, 3, 14, PREFACE.len() - 1] {
        let mut stream = lab.peer.tls(&lab.pool, H2).await;
        stream.write_all(&PREFACE[..length]).await.unwrap();
        let limit = KEEP_ALIVE.0 + KEEP_ALIVE.1;
        assert!(ends_within(stream, limit).await, "{length} bytes of the preface");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_more_after_an_http_1_1_request_is_dropped() {
    let lab = lab();
    let mut stream = lab.peer.tls(&lab.pool, H1).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(ends_within(stream, HEADER_TIMEOUT * 2).await);
}

#[tokio::test(start_paused = true)]
async fn places_of_silent_strangers_are_free_again_when_their_time_is_over() {
    let pool = Pool::new();
    let options = ServerOptions { connection_count_max: 4, ..pool.options() };
    let _server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(pool.network.connector(SERVER).connect().await.unwrap());
    }
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = timeout(TLS_TIMEOUT * 2 + MARGIN, peer.link(&pool)).await.unwrap();
    let health = Request::get(HEALTH_PATH).body(http_body_util::Full::default()).unwrap();
    assert!(link.send(health).await.is_ok());
}
