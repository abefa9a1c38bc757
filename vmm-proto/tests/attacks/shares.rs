//! One principal takes what it can get: the others have their share.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use tokio::time::{Duration, sleep};
use vmm_proto::endpoint::{CONTENT_TYPE as XVMP, HEALTH_PATH, RPC_PATH, STREAM_COUNT_MAX};
use vmm_proto::principal::Principal;
use vmm_proto::server::ServerOptions;

use crate::peer::Peer;
use crate::support::{Pool, SERVER};

#[tokio::test(start_paused = true)]
async fn long_polls_of_one_principal_over_many_connections_leave_another_its_share() {
    let pool = Pool::new();
    let options = ServerOptions { request_count_max: 100, request_share_max: 80, ..pool.options() };
    let _server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let greedy = Peer::new(&pool, &Principal::manager("m"));
    let (first, second) = (greedy.link(&pool).await, greedy.link(&pool).await);
    let session = greedy.session(&first).await;
    for number in 0..120 {
        let link = if number < STREAM_COUNT_MAX { &first } else { &second };
        let (link, message) = (link.clone(), session.request("<Ping text=\"for ever\"/>"));
        tokio::spawn(async move { link.rpc(message).await });
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pool.service.callers.lock().unwrap().len(), 80);
    let third = greedy.link(&pool).await;
    let answer = third.rpc(session.ping()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    let other = Peer::new(&pool, &Principal::admin("ann"));
    let link = other.link(&pool).await;
    let session = other.session(&link).await;
    assert!(link.rpc(session.ping()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_its_place_back() {
    let pool = Pool::new();
    let options = ServerOptions { request_share_max: 1, ..pool.options() };
    let _server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    let session = peer.session(&link).await;
    for _ in 0..5 {
        let answer = link.rpc(session.request("<Ping text=\"panic\"/>")).await;
        assert!(session.open(&answer.body).unwrap().contains("code=\"Internal\""));
    }
    let answer = link.rpc(session.ping()).await;
    assert!(session.open(&answer.body).unwrap().contains("<Pong"));
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn bad_messages_of_one_principal_end_no_session_of_another() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let (owner, eve) =
        (Peer::new(&pool, &Principal::manager("m")), Peer::new(&pool, &Principal::viewer("eve")));
    let (link, eves) = (owner.link(&pool).await, eve.link(&pool).await);
    let session = owner.session(&link).await;
    let message = session.ping();
    // She knows the id: a bad tag would count, if the session were hers.
    for _ in 0..20 {
        let bad = crate::peer::with_value(&message, |bytes| bytes[20] ^= 1);
        eves.rpc(bad).await.assert_refused("not hers");
    }
    assert!(link.rpc(message).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_under_a_call_does_not_stop_it_and_leaves_nothing_behind() {
    let pool = Pool::new();
    let options = ServerOptions { request_share_max: 4, ..pool.options() };
    let _server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    for round in 1..=3 {
        let link = peer.link(&pool).await;
        let session = peer.session(&link).await;
        let calls = (0..4).map(|_| {
            let (link, message) = (link.clone(), session.request("<Ping text=\"slow\"/>"));
            tokio::spawn(async move { link.rpc(message).await })
        });
        let calls: Vec<_> = calls.collect();
        sleep(Duration::from_secs(1)).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        drop(link);
        join_all(calls).await;
        sleep(Duration::from_secs(3)).await;
        assert_eq!(pool.service.calls.load(Ordering::SeqCst), round * 4, "they were finished");
    }
    let health = Request::get(HEALTH_PATH).body(Full::<Bytes>::default()).unwrap();
    assert!(peer.link(&pool).await.send(health).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_keep_their_places() {
    let pool = Pool::new();
    let options = ServerOptions { request_share_max: 8, ..pool.options() };
    let _server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let greedy = Peer::new(&pool, &Principal::manager("m"));
    let session = greedy.session(&greedy.link(&pool).await).await;
    let element = format!("<Ping text=\"{}\"/>", "x".repeat(100_000));
    let mut unread = Vec::new();
    let mut statuses = Vec::new();
    // One byte of each answer may come, and over several connections.
    for _ in 0..4 {
        let link = greedy.link_with_window(&pool, 1).await;
        for _ in 0..4 {
            let response = link.sender.clone().send_request(rpc(session.request(&element))).await;
            let response = response.unwrap();
            statuses.push(response.status());
            unread.push((response, link.clone()));
        }
    }
    let served = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    assert_eq!(served, 8, "{statuses:?}");
    assert_eq!(statuses[8], StatusCode::SERVICE_UNAVAILABLE);
    let other = Peer::new(&pool, &Principal::admin("ann"));
    let link = other.link(&pool).await;
    let others = other.session(&link).await;
    assert!(link.rpc(others.ping()).await.is_ok());
    // Who hangs up gives them back.
    drop(unread);
    sleep(Duration::from_secs(1)).await;
    let link = greedy.link(&pool).await;
    assert!(link.rpc(session.ping()).await.is_ok());
}

fn rpc(message: String) -> Request<Full<Bytes>> {
    let request = Request::post(RPC_PATH).header(CONTENT_TYPE, XVMP);
    request.body(Full::new(Bytes::from(message))).unwrap()
}
