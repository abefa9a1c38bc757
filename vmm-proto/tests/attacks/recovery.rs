//! Sessions that are gone, and changes that may have happened: the client finds its way back, and nothing happens twice unasked.

use std::future::{pending, ready};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;
use vmm_proto::client::CallOptions;
use vmm_proto::endpoint::OPEN_PATH;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Server, Service};
use vmm_proto::session::SESSIONS_PER_PRINCIPAL;
use vmm_proto::v1::{CancelTask, Done, Fault, Reply, Request};

use crate::peer::Peer;
use crate::support::{Pool, SERVER, list_vms, ping, pong};

#[tokio::test(start_paused = true)]
async fn a_restarted_server_knows_no_session_and_takes_no_old_message() {
    let pool = Pool::new();
    let credentials = pool.issue(&Principal::agent(SERVER));
    let first = pool.serve(credentials.clone(), pool.options());
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    let session = peer.session(&link).await;
    let (_, hello) = peer.start(&link.server);
    let (sent, unsent) = (session.ping(), session.ping());
    assert!(link.rpc(sent.clone()).await.is_ok());
    first.stop.cancel();
    first.task.await.unwrap().unwrap();

    let _second = pool.serve(credentials, pool.options());
    let link = peer.link(&pool).await;
    for message in [sent, unsent, session.ping()] {
        link.rpc(message).await.assert_refused("of before the restart");
    }
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 1);
    // A first message of before gives a place in the table, and no session that anybody can use.
    assert!(link.post(OPEN_PATH, hello).await.is_ok());
    let session = peer.session(&link).await;
    assert!(link.rpc(session.ping()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_session_was_pushed_out_opens_another_within_the_call() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let credentials = pool.issue(&Principal::manager("m"));
    let client = pool.client(credentials.clone());
    client.call(list_vms(), CallOptions::default()).await.unwrap();
    let peer = Peer::of(credentials);
    let link = peer.link(&pool).await;
    // The one that was used longest ago goes, and the clock stands.
    sleep(Duration::from_millis(1)).await;
    for _ in 0..SESSIONS_PER_PRINCIPAL {
        let session = peer.session(&link).await;
        assert!(link.rpc(session.ping()).await.is_ok(), "unused ones would go first");
    }
    pool.service.calls.store(0, Ordering::SeqCst);
    let options = CallOptions { idempotency_key: Some("k".to_owned()), ..CallOptions::default() };
    assert_eq!(client.call(ping("back"), options).await.unwrap(), pong("back"));
    // The refused message was not carried out, so that the call was made once.
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 1);
}

/// Holds the first call for ever, as a server that is cut off under it, and answers the others.
#[derive(Default)]
struct FirstNever {
    callers: Mutex<Vec<Caller>>,
}

impl Service for FirstNever {
    fn call(&self, caller: Caller, _: Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        let mut callers = self.callers.lock().unwrap();
        callers.push(caller);
        if callers.len() == 1 { pending().boxed() } else { ready(Ok(Reply::Done(Done {}))).boxed() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_with_a_key_is_sent_again_as_the_same_and_one_without_is_not() {
    for key in [Some("key-1".to_owned()), None] {
        let pool = Pool::new();
        let credentials = pool.issue(&Principal::agent(SERVER));
        let service = Arc::new(FirstNever::default());
        let serve = || {
            let server = Server::new(credentials.clone(), service.clone(), pool.options());
            tokio::spawn(server.serve(pool.network.listener(SERVER), CancellationToken::new()))
        };
        let first = serve();
        let client = pool.client(pool.issue(&Principal::manager("m")));
        let options = CallOptions { idempotency_key: key.clone(), ..CallOptions::default() };
        let call = tokio::spawn(async move {
            let change = Request::CancelTask(CancelTask { task: "t".to_owned() });
            client.call(change, options).await
        });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(service.callers.lock().unwrap().len(), 1, "it has begun");
        // The host goes away under it and comes back.
        pool.network.unplug(SERVER);
        first.abort();
        let _second = serve();
        let result = call.await.unwrap();
        let callers = service.callers.lock().unwrap();
        match (key, callers.as_slice()) {
            (Some(_), [first, second]) => {
                result.unwrap();
                assert_eq!(first.request_id, second.request_id);
                assert_eq!(first.idempotency_key, second.idempotency_key);
                assert_eq!(first.idempotency_key.as_deref(), Some("key-1"));
            }
            (None, [_]) => assert!(result.is_err()),
            (key, callers) => panic!("{key:?}: {callers:?}"),
        }
    }
}
