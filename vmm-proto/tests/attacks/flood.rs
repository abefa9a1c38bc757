//! Too many frames: the connection ends, or stands still, and another principal notices nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::client::TlsStream;
use vmm_proto::endpoint::{HEADER_BYTES_MAX, HEALTH_PATH, STREAM_COUNT_MAX};
use vmm_proto::principal::Principal;
use vmm_proto::server::ServerOptions;
use vmm_proto::transport::BoxedStream;

use crate::frames::{
    CANCEL, CONTINUATION, END_HEADERS, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    STATUS_431, block, frame, literal, next,
};
use crate::peer::{H2, Link, Peer};
use crate::support::{Pool, SERVER};

const STREAMS: u32 = 4000;
const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

struct Lab {
    pool: Pool,
    attacker: Peer,
    /// Of somebody else, made before the attack.
    other: Link,
}

async fn lab() -> Lab {
    let pool = Pool::new();
    // Few places, so that one that is lost is missed.
    let options = ServerOptions { request_count_max: 12, request_share_max: 8, ..pool.options() };
    drop(pool.serve(pool.issue(&Principal::agent(SERVER)), options).task);
    let other = Peer::new(&pool, &Principal::admin("ann")).link(&pool).await;
    let attacker = Peer::new(&pool, &Principal::viewer("eve"));
    Lab { pool, attacker, other }
}

type Tls = TlsStream<BoxedStream>;

impl Lab {
    async fn connect(&self) -> (ReadHalf<Tls>, WriteHalf<Tls>) {
        let mut stream = self.attacker.tls(&self.pool, H2).await;
        stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        split(stream)
    }

    /// The others are served, on old connections and new ones; and so is the attacker.
    async fn assert_unharmed(&self) {
        let health = || Request::get(HEALTH_PATH).body(Full::<Bytes>::default()).unwrap();
        assert!(self.other.send(health()).await.is_ok());
        for principal in [Principal::admin("ann"), Principal::viewer("eve")] {
            let peer = Peer::new(&self.pool, &principal);
            let link = peer.link(&self.pool).await;
            let session = peer.session(&link).await;
            assert!(link.rpc(session.ping()).await.is_ok(), "{principal}");
        }
    }
}

/// Writes as long as the server takes it; says how many pieces it took, and keeps the half.
async fn write(half: &mut WriteHalf<Tls>, pieces: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut count = 0;
    for piece in pieces {
        match timeout(Duration::from_secs(5), half.write_all(&piece)).await {
            Ok(Ok(())) => count += 1,
            _ => break,
        }
    }
    count
}

/// All that the server says until it ends the connection.
async fn until_end(mut half: ReadHalf<Tls>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = next(&mut half).await {
        frames.push(frame);
    }
    frames
}

fn go_away(frames: &[Frame]) -> Option<u32> {
    frames.iter().rev().find(|frame| frame.kind == GOAWAY).map(Frame::error_code)
}

/// Odd numbers, as a client's streams have.
fn streams() -> impl Iterator<Item = u32> {
    (0..STREAMS).map(|index| index * 2 + 1)
}

#[tokio::test(start_paused = true)]
async fn streams_opened_and_reset_at_once_end_the_connection() {
    let lab = lab().await;
    let (read, mut half) = lab.connect().await;
    let reading = tokio::spawn(until_end(read));
    let pairs = streams().map(|stream| {
        let open = frame(HEADERS, END_HEADERS, stream, &block());
        [open, frame(RST_STREAM, 0, stream, CANCEL)].concat()
    });
    let all: Vec<u8> = pairs.flatten().collect();
    let _ = timeout(Duration::from_secs(5), half.write_all(&all)).await;
    let frames = timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
    assert_eq!(go_away(&frames), Some(ENHANCE_YOUR_CALM), "{:?}", frames.last());
    // It ended long before the last of them.
    let last = frames.iter().rev().find(|frame| frame.kind == GOAWAY).unwrap();
    let seen = u32::from_be_bytes(last.payload[..4].try_into().unwrap());
    assert!(seen < STREAMS, "stream {seen}");
    lab.assert_unharmed().await;
}

#[tokio::test(start_paused = true)]
async fn streams_opened_and_reset_one_by_one_leave_nothing_behind() {
    let lab = lab().await;
    let (read, mut half) = lab.connect().await;
    let reading = tokio::spawn(until_end(read));
    for stream in streams() {
        let open = frame(HEADERS, END_HEADERS, stream, &block());
        if half.write_all(&open).await.is_err() {
            break;
        }
        // The request has a place, and waits for its body.
        sleep(Duration::from_millis(1)).await;
        if half.write_all(&frame(RST_STREAM, 0, stream, CANCEL)).await.is_err() {
            break;
        }
    }
    lab.assert_unharmed().await;
    drop(half);
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_so_many_streams_and_no_more() {
    let lab = lab().await;
    let (read, mut half) = lab.connect().await;
    let reading = tokio::spawn(until_end(read));
    let opened = streams().take(100).map(|stream| frame(HEADERS, END_HEADERS, stream, &block()));
    let opened: Vec<u8> = opened.flatten().collect();
    half.write_all(&opened).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    lab.other.send(Request::get(HEALTH_PATH).body(Full::default()).unwrap()).await;
    half.shutdown().await.unwrap();
    let frames = reading.await.unwrap();
    let refused =
        frames.iter().filter(|f| f.kind == RST_STREAM && f.error_code() == REFUSED_STREAM);
    let first = refused.map(|frame| frame.stream).min();
    assert!(first.is_some_and(|first| first > STREAM_COUNT_MAX), "{first:?}");
    lab.assert_unharmed().await;
}

#[tokio::test(start_paused = true)]
async fn a_header_that_goes_on_and_on_ends_the_connection() {
    const FRAMES: usize = 10_000;
    let lab = lab().await;
    let large = literal("x-more", &"x".repeat(16_000));
    for (what, piece) in [("large", large), ("small", literal("x", "x")), ("empty", Vec::new())] {
        let (read, mut half) = lab.connect().await;
        let reading = tokio::spawn(until_end(read));
        half.write_all(&frame(HEADERS, 0, 1, &block())).await.unwrap();
        let more = (0..FRAMES).map(|_| frame(CONTINUATION, 0, 1, &piece));
        let taken = write(&mut half, more).await;
        let frames = timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
        assert!(go_away(&frames).is_some_and(|code| code != 0), "{what}: {:?}", frames.last());
        assert!(taken < FRAMES, "{what}");
    }
    lab.assert_unharmed().await;
}

#[tokio::test(start_paused = true)]
async fn a_header_list_that_is_too_large_is_refused_also_when_it_is_small_on_the_wire() {
    let lab = lab().await;
    // One entry of the dynamic table, and one byte for each time that it is meant.
    let mut entry = literal("x-bomb", &"x".repeat(3000));
    entry[0] = 0x40;
    let bomb = [block(), entry, vec![0xbe; 4000]].concat();
    let long =
        [block(), literal("x-long", &"x".repeat(usize::try_from(HEADER_BYTES_MAX).unwrap()))];
    let long = long.concat();
    for (what, block) in [("compressed", bomb), ("long", long)] {
        let (mut read, mut half) = lab.connect().await;
        let (first, rest) = block.split_at(block.len().min(16_000));
        let mut frames = frame(HEADERS, if rest.is_empty() { END_HEADERS } else { 0 }, 1, first);
        if !rest.is_empty() {
            frames.extend(frame(CONTINUATION, END_HEADERS, 1, rest));
        }
        half.write_all(&frames).await.unwrap();
        let answer = loop {
            match next(&mut read).await {
                Some(answer @ Frame { kind: HEADERS | RST_STREAM | GOAWAY, .. }) => break answer,
                Some(_) => {}
                None => panic!("{what}: it says why"),
            }
        };
        let is_431 = answer.kind == HEADERS && answer.payload.starts_with(STATUS_431);
        let is_ended = answer.kind == GOAWAY && answer.error_code() == ENHANCE_YOUR_CALM;
        assert!(is_431 || is_ended, "{what}: {answer:?}");
    }
    lab.assert_unharmed().await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_and_reads_no_answer_is_read_no_further() {
    const PINGS: usize = 4_000_000 / 17;
    let lab = lab().await;
    let (read, mut half) = lab.connect().await;
    let hundred: Vec<u8> = (0..100).flat_map(|_| frame(PING, 0, 0, &[7; 8])).collect();
    let taken = write(&mut half, (0..PINGS / 100).map(|_| hundred.clone())).await;
    // The pipe is full on the way back, and so the server does not read on: it hoards no answers.
    assert!(taken < PINGS / 100, "{taken}");
    drop((read, half));
    lab.assert_unharmed().await;
}
