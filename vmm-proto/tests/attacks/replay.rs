//! The same bytes again: later, at once, out of order, back to their sender, in another session, by another principal.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::Config;
use vmm_proto::envelope::replay::WINDOW;
use vmm_proto::principal::Principal;

use crate::peer::{Link, Peer, between, inner};
use crate::support::{Pool, SERVER};

fn serve(pool: &Pool) {
    drop(pool.serve_as(&Principal::agent(SERVER)).task);
}

async fn lab() -> (Pool, Peer, Link) {
    let pool = Pool::new();
    serve(&pool);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    (pool, peer, link)
}

/// What the text says: a number once, and none that is 1024 or more below the newest.
#[derive(Default)]
struct Model {
    seen: HashSet<u64>,
    newest: Option<u64>,
}

impl Model {
    fn take(&mut self, seq: u64) -> bool {
        let is_old = self.newest.is_some_and(|newest| seq + WINDOW <= newest);
        let is_new = !is_old && self.seen.insert(seq);
        if is_new {
            self.newest = self.newest.max(Some(seq));
        }
        is_new
    }
}

/// Where the next message's number lies.
#[derive(Clone, Debug)]
enum Step {
    Ahead(u64),
    Behind(u64),
    Again(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..8).prop_map(Step::Ahead),
        1 => (900_u64..1200).prop_map(Step::Ahead),
        3 => (0_u64..40).prop_map(Step::Behind),
        2 => (1000_u64..1050).prop_map(Step::Behind),
        3 => any::<usize>().prop_map(Step::Again),
    ]
}

async fn follow(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (pool, peer, link) = lab().await;
    let session = peer.session(&link).await;
    let (mut model, mut newest, mut sent) = (Model::default(), 0_u64, Vec::<(u64, String)>::new());
    for step in steps {
        let (seq, message) = match step {
            Step::Again(index) if !sent.is_empty() => sent[index % sent.len()].clone(),
            step => {
                let seq = match step {
                    Step::Ahead(by) => newest + by,
                    Step::Behind(by) => newest.saturating_sub(by),
                    Step::Again(_) => 0,
                };
                let header = session.header_of(seq);
                (seq, session.seal(&header, &inner(&header, "", "<Ping text=\"x\"/>")))
            }
        };
        newest = newest.max(seq);
        let calls = pool.service.calls.load(Ordering::SeqCst);
        let answer = link.rpc(message.clone()).await;
        let expected = model.take(seq);
        prop_assert_eq!(answer.is_ok(), expected, "seq {}", seq);
        let done = pool.service.calls.load(Ordering::SeqCst) - calls;
        prop_assert_eq!(done, usize::from(expected), "seq {}", seq);
        if !expected {
            answer.assert_refused("a replay");
        }
        sent.push((seq, message));
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_server_carries_out_each_number_once_as_the_model_says(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(follow(steps))?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_copies_at_once_over_many_connections_one_is_carried_out() {
    let (pool, peer, link) = lab().await;
    let session = peer.session(&link).await;
    let mut links = vec![link];
    for _ in 0..3 {
        links.push(peer.link(&pool).await);
    }
    // Large, so that opening one takes long enough for another to begin.
    let element = format!("<Ping text=\"{}\"/>", "x".repeat(64 << 10));
    for round in 1..=8 {
        let message = Bytes::from(session.request(&element));
        let start = Arc::new(tokio::sync::Barrier::new(8));
        let copies = (0..8).map(|copy| {
            let (link, message, start) = (links[copy % 4].clone(), message.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                link.rpc(message).await
            })
        });
        let copies: Vec<_> = copies.collect();
        let mut carried_out = 0;
        for copy in copies {
            let answer = copy.await.unwrap();
            carried_out += usize::from(answer.is_ok());
            if !answer.is_ok() {
                answer.assert_refused("a copy");
            }
        }
        assert_eq!(carried_out, 1);
        assert_eq!(pool.service.calls.load(Ordering::SeqCst), round);
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_answer_sent_to_the_server_is_refused() {
    let (pool, peer, link) = lab().await;
    let session = peer.session(&link).await;
    let answer = link.rpc(session.ping()).await;
    let answer = String::from_utf8(answer.body.to_vec()).unwrap();
    session.open(answer.as_bytes()).unwrap();
    link.rpc(answer.clone()).await.assert_refused("as it is");
    let turned = answer.replace("\"s2c\"", "\"c2s\"").replace("/s2c/", "/c2s/");
    assert_ne!(turned, answer);
    link.rpc(turned.clone()).await.assert_refused("turned");
    // Also under a number that the server has not seen.
    let fresh = turned.replace("seq=\"0\"", "seq=\"9\"").replace("/c2s/0<", "/c2s/9<");
    link.rpc(fresh).await.assert_refused("turned, with a new number");
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_good_in_its_session_alone() {
    let (pool, peer, link) = lab().await;
    let (first, second) = (peer.session(&link).await, peer.session(&link).await);
    let (mine, other) = (first.ping(), second.ping());
    let value = |message: &str| between(message, "Value>", "</").to_owned();
    for (what, spliced) in [
        ("another session's header", mine.replace(&first.id, &second.id)),
        ("another session's ciphertext", mine.replace(&value(&mine), &value(&other))),
        (
            "another session's name in KeyInfo",
            mine.replace(&format!("{}/", first.id), &format!("{}/", second.id)),
        ),
    ] {
        assert_ne!(spliced, mine, "{what}");
        link.rpc(spliced).await.assert_refused(what);
    }
    assert!(link.rpc(mine).await.is_ok() && link.rpc(other).await.is_ok());
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_its_principals_alone_also_on_another_connection() {
    let (pool, peer, link) = lab().await;
    let session = peer.session(&link).await;
    let message = session.ping();
    for stranger in [Principal::manager("n"), Principal::admin("m"), Principal::agent("m")] {
        let stranger_link = Peer::new(&pool, &stranger).link(&pool).await;
        stranger_link.rpc(message.clone()).await.assert_refused(&stranger.to_string());
    }
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 0);
    // Another certificate of the same principal is the same principal.
    let again = Peer::new(&pool, &Principal::manager("m")).link(&pool).await;
    assert!(again.rpc(message).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_ciphertext_belongs_to_its_request_id_and_number() {
    let (pool, peer, link) = lab().await;
    let session = peer.session(&link).await;
    let (first, second) = (session.ping(), session.ping());
    let value = |message: &str| between(message, "Value>", "</").to_owned();
    link.rpc(first.replace(&value(&first), &value(&second))).await.assert_refused("swapped");
    link.rpc(second.replace(&value(&second), &value(&first))).await.assert_refused("swapped");
    // A sender that holds the keys and lies inside is no better.
    for field in ["session", "dir", "seq", "id"] {
        let header = session.header();
        let good = inner(&header, "", "<Ping text=\"x\"/>");
        let old = format!(" {field}=\"{}\"", between(&good, &format!(" {field}=\""), "\""));
        let new = match field {
            "session" => old.replace(&session.id, &"0".repeat(32)),
            "dir" => old.replace("c2s", "s2c"),
            _ => old.replace(&header.seq.to_string(), "77"),
        };
        let lie = good.replacen(&old, &new, 1);
        assert_ne!(lie, good, "{field}");
        link.rpc(session.seal(&header, &lie)).await.assert_refused(field);
        let silent = good.replacen(&old, "", 1);
        let header = session.header();
        link.rpc(session.seal(&header, &silent)).await.assert_refused(field);
    }
    assert!(link.rpc(first).await.is_ok() && link.rpc(second).await.is_ok());
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 2);
}
