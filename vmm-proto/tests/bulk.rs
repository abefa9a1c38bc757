//! Bulk streams over the whole wire: back and forth, cut and taken up again, several at once.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use support::{Pool, Running, SERVER, ping};
use vmm_proto::aead::Backend;
use vmm_proto::bulk::{BulkError, BulkService, IncomingStream, Received, StreamName};
use vmm_proto::client::{CallOptions, Client};
use vmm_proto::principal::Principal;
use vmm_proto::v1::{Fault, FaultCode};

/// Keeps what was sent to it, and gives it back. Fails in the ways that the transfer's first byte asks for.
#[derive(Default)]
struct Depot {
    kept: Mutex<HashMap<StreamName, Vec<u8>>>,
}

const GOOD: u8 = 1;
const REFUSED: u8 = 2;
const FAILS_LATE: u8 = 3;
const HANGS_UP: u8 = 4;
const NEVER_READS: u8 = 5;

fn stream(kind: u8, number: u32) -> StreamName {
    let mut transfer = [9; 16];
    transfer[0] = kind;
    StreamName { transfer, number }
}

fn fault() -> Fault {
    Fault::new(FaultCode::OutOfMemory, "the disk is full")
}

impl Depot {
    fn kept(&self, name: StreamName) -> Vec<u8> {
        self.kept.lock().unwrap().get(&name).cloned().unwrap_or_default()
    }

    async fn take(&self, incoming: IncomingStream) -> Result<(), BulkError> {
        let name = incoming.name;
        let (kind, mut kept) = (name.transfer[0], self.kept(name));
        if kind == REFUSED {
            return incoming.refuse(fault()).await;
        }
        if !incoming.wants_to_send() {
            let mut sender = incoming.send().await?;
            let from = usize::try_from(sender.offset()).unwrap();
            sender.send(&kept[from..]).await?;
            return sender.finish().await;
        }
        let mut receiver = incoming.receive(kept.len() as u64).await?;
        if kind == NEVER_READS {
            return std::future::pending().await;
        }
        loop {
            match receiver.receive().await? {
                Received::Data(bytes) => kept.extend_from_slice(bytes),
                Received::End => {
                    self.kept.lock().unwrap().insert(name, kept);
                    return receiver.finish().await;
                }
            }
            self.kept.lock().unwrap().insert(name, kept.clone());
            receiver.acknowledge().await?;
            match kind {
                FAILS_LATE => return receiver.fail(fault()).await,
                HANGS_UP if kept.len() < 2_000_000 => return Ok(()),
                _ => {}
            }
        }
    }
}

impl BulkService for Depot {
    fn stream(&self, incoming: IncomingStream) -> BoxFuture<'_, ()> {
        assert_eq!(incoming.principal, Principal::manager("m"));
        async move {
            if let Err(error) = self.take(incoming).await {
                eprintln!("the depot: {error}");
            }
        }
        .boxed()
    }
}

fn depot() -> (Pool, Arc<Depot>, Running, Client) {
    let (pool, depot) = (Pool::new(), Arc::new(Depot::default()));
    let mut options = pool.options();
    options.bulk = Some(depot.clone());
    options.bulk_backend = Backend::Portable;
    let server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let client = pool.client(pool.issue(&Principal::manager("m")));
    (pool, depot, server, client)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

async fn fetch(client: &Client, name: StreamName, from: u64) -> Vec<u8> {
    let mut receiver = client.receive_stream(name, from, Backend::Fast).await.unwrap();
    let mut got = Vec::new();
    while let Received::Data(bytes) = receiver.receive().await.unwrap() {
        got.extend_from_slice(bytes);
    }
    receiver.finish().await.unwrap();
    got
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_there_and_comes_back() {
    let (_pool, depot, _server, client) = depot();
    for (number, count) in (0..).zip([0, 1, 15, 16, 17, 1 << 18, (1 << 18) + 1, 3_000_000]) {
        let (name, sent) = (stream(GOOD, number), bytes(count));
        let mut sender = client.send_stream(name, Backend::Fast).await.unwrap();
        sender.send(&sent).await.unwrap();
        sender.finish().await.unwrap();
        assert!(depot.kept(name) == sent, "{count} bytes");
        assert!(fetch(&client, name, 0).await == sent, "{count} bytes");
        let half = count / 2;
        assert!(fetch(&client, name, half as u64).await == sent[half..], "{count} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn several_streams_of_a_transfer_run_at_once() {
    let (_pool, depot, _server, client) = depot();
    let sends = (0..4).map(|number| {
        let client = client.clone();
        async move {
            let mut sender = client.send_stream(stream(GOOD, number), Backend::Fast).await.unwrap();
            for part in bytes(1_000_000).chunks(70_001) {
                sender.send(part).await.unwrap();
            }
            sender.finish().await.unwrap();
        }
    });
    futures_util::future::join_all(sends).await;
    for number in 0..4 {
        assert!(depot.kept(stream(GOOD, number)) == bytes(1_000_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_broke_goes_on_where_the_receiver_has_it() {
    let (_pool, depot, _server, client) = depot();
    let (name, sent) = (stream(HANGS_UP, 0), bytes(3_000_000));
    let mut broken = 0;
    loop {
        let mut sender = client.send_stream(name, Backend::Fast).await.unwrap();
        let from = usize::try_from(sender.offset()).unwrap();
        assert!(depot.kept(name).len() == from && (broken == 0) == (from == 0));
        let mut outcome = Ok(());
        for part in sent[from..].chunks(100_000) {
            outcome = sender.send(part).await;
            if outcome.is_err() {
                break;
            }
        }
        match outcome {
            Ok(()) => match sender.finish().await {
                Ok(()) => break,
                Err(error) => assert!(matches!(error, BulkError::Broken(_)), "{error}"),
            },
            Err(error) => assert!(matches!(error, BulkError::Broken(_)), "{error}"),
        }
        broken += 1;
        assert!(broken < 100);
    }
    assert!(broken > 2, "{broken}");
    assert!(depot.kept(name) == sent, "each byte once");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_gives_up_says_why() {
    let (_pool, _depot, _server, client) = depot();
    let is_ours = |error: BulkError| match error {
        BulkError::Fault(told) => assert_eq!(told.message, fault().message),
        error => panic!("{error}"),
    };
    is_ours(client.send_stream(stream(REFUSED, 0), Backend::Fast).await.err().unwrap());
    let mut sender = client.send_stream(stream(FAILS_LATE, 0), Backend::Fast).await.unwrap();
    let all = bytes(20_000_000);
    match sender.send(&all).await {
        Err(error) => is_ours(error),
        Ok(()) => is_ours(sender.finish().await.unwrap_err()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_read_holds_its_sender_back_and_nothing_else() {
    let (_pool, depot, _server, client) = depot();
    // A session that never carried a message does not last.
    client.call(ping("first"), CallOptions::default()).await.unwrap();
    let mut sender = client.send_stream(stream(NEVER_READS, 0), Backend::Fast).await.unwrap();
    let all = bytes(10_000_000);
    let stuck = tokio::time::timeout(Duration::from_secs(60), sender.send(&all)).await;
    assert!(stuck.is_err(), "{} bytes went into nothing", sender.offset());
    assert!(sender.offset() < 2_000_000, "{}", sender.offset());
    let mut other = client.send_stream(stream(GOOD, 1), Backend::Fast).await.unwrap();
    other.send(b"meanwhile").await.unwrap();
    other.finish().await.unwrap();
    assert_eq!(depot.kept(stream(GOOD, 1)), b"meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_bulk_streams_opens_none_and_a_stop_ends_those_under_way() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    assert!(client.send_stream(stream(GOOD, 0), Backend::Fast).await.is_err());
    let (_pool, _depot, server, client) = depot();
    let mut sender = client.send_stream(stream(GOOD, 0), Backend::Fast).await.unwrap();
    sender.send(b"x").await.unwrap();
    server.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), server.task).await;
    ended.expect("it ends although a stream is open").unwrap().unwrap();
    assert!(sender.finish().await.is_err());
}
