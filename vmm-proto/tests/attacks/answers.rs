//! What somebody who ends TLS in the middle can make a client believe: nothing. A call gives the server's answer to this request, or
//! an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::StatusCode;
use tokio::sync::{Barrier, Mutex};
use vmm_proto::client::{CallError, CallOptions, Client, Hop};
use vmm_proto::endpoint::{BODY_BYTES_MAX, OPEN_PATH, RPC_PATH};
use vmm_proto::envelope::Sealed;
use vmm_proto::principal::Principal;
use vmm_proto::server::BAD_MESSAGE;
use vmm_proto::v1::{Reply, Request};

use crate::middle;
use crate::peer::{Link, Peer, Session, inner, with_value};
use crate::support::{Pool, SERVER, ping, pong};

struct Lab {
    pool: Pool,
    agent: Peer,
    manager: Peer,
    onward: Link,
}

async fn lab() -> Lab {
    let pool = Pool::new();
    let agent = Peer::new(&pool, &Principal::agent(SERVER));
    drop(pool.serve(agent.credentials.clone(), pool.options()).task);
    let manager = Peer::new(&pool, &Principal::manager("m"));
    let onward = manager.link(&pool).await;
    Lab { pool, agent, manager, onward }
}

impl Lab {
    /// A client whose sessions are opened by the server, and whose requests are answered by `meddle`.
    fn client<F>(&self, meddle: impl Fn(String) -> F + Send + Sync + 'static) -> Client
    where
        F: Future<Output = (StatusCode, Bytes)> + Send + 'static,
    {
        let onward = self.onward.clone();
        let answer = move |path: String, body: Bytes| -> BoxFuture<'static, _> {
            if path == RPC_PATH {
                return meddle(String::from_utf8(body.to_vec()).unwrap()).boxed();
            }
            let onward = onward.clone();
            async move {
                let answer = onward.post(OPEN_PATH, body).await;
                (answer.status, answer.body)
            }
            .boxed()
        };
        let config = middle::config(&self.pool, &self.agent.credentials);
        middle::listen(&self.pool, config, Arc::new(answer));
        middle::client(&self.pool, self.manager.credentials.clone())
    }

    /// The server's answer, after a change.
    fn changing(&self, change: impl Fn(String) -> String + Send + Sync + 'static) -> Client {
        let (onward, change) = (self.onward.clone(), Arc::new(change));
        self.client(move |body| {
            let (onward, change) = (onward.clone(), change.clone());
            async move {
                let answer = String::from_utf8(onward.rpc(body).await.body.to_vec()).unwrap();
                (StatusCode::OK, Bytes::from(change(answer)))
            }
        })
    }
}

async fn call(client: &Client, request: Request) -> Result<Reply, CallError> {
    let options = CallOptions { idempotency_key: Some("k".to_owned()), ..CallOptions::default() };
    client.call(request, options).await
}

async fn assert_not_believed(what: &str, client: &Client) {
    let error = call(client, ping("x")).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { hop: Hop::Answer, .. }), "{what}: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_back_is_no_answer() {
    let lab = lab().await;
    let reflect = |body: String| async move { (StatusCode::OK, Bytes::from(body)) };
    assert_not_believed("as it is", &lab.client(reflect)).await;
    let turn = |body: String| body.replace("\"c2s\"", "\"s2c\"").replace("/c2s/", "/s2c/");
    let reflect = move |body| async move { (StatusCode::OK, Bytes::from(turn(body))) };
    assert_not_believed("turned", &lab.client(reflect)).await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_answer_is_no_answer() {
    let lab = lab().await;
    let same = lab.changing(|answer| answer);
    assert_eq!(call(&same, ping("x")).await.unwrap(), pong("x"));
    let mut length = 0;
    let session = lab.manager.session(&lab.onward).await;
    let answer = lab.onward.rpc(session.ping()).await.body;
    with_value(std::str::from_utf8(&answer).unwrap(), |bytes| length = bytes.len());
    for at in 0..length {
        let flip = move |answer: String| with_value(&answer, |bytes| bytes[at] ^= 1 << (at % 8));
        assert_not_believed(&format!("byte {at}"), &lab.changing(flip)).await;
    }
    for tag_bytes in 0..16 {
        let cut = move |answer: String| {
            with_value(&answer, |bytes| bytes.truncate(bytes.len() - 16 + tag_bytes))
        };
        assert_not_believed(&format!("a tag of {tag_bytes}"), &lab.changing(cut)).await;
    }
    for (from, to) in [
        ("version=\"1\"", "version=\"2\""),
        ("seq=\"0\"", "seq=\"1\""),
        ("dir=\"s2c\"", "dir=\"c2s\""),
        ("session=\"", "session=\"0"),
        ("2009/xmlenc11#aes256-gcm", "2001/04/xmlenc#aes256-cbc"),
        ("<xenc:CipherData>", "<xenc:CipherData><xenc:CipherReference URI=\"file:///x\"/>"),
    ] {
        let edit = move |answer: String| answer.replacen(from, to, 1).replace("/s2c/0<", "/s2c/1<");
        assert_not_believed(to, &lab.changing(edit)).await;
    }
    for answer in ["", "<html/>", BAD_MESSAGE] {
        assert_not_believed(answer, &lab.changing(|_| answer.to_owned())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_is_no_answer() {
    let lab = lab().await;
    // The first answer, to every request.
    let first = Arc::new(Mutex::new(None::<Bytes>));
    let onward = lab.onward.clone();
    let client = lab.client(move |body| {
        let (onward, first) = (onward.clone(), first.clone());
        async move {
            let answer = onward.rpc(body).await.body;
            (StatusCode::OK, first.lock().await.get_or_insert(answer).clone())
        }
    });
    assert_eq!(call(&client, ping("first")).await.unwrap(), pong("first"));
    assert_not_believed("the first answer again", &client).await;
    // Also when it is said to be for this request.
    let kept = Arc::new(Mutex::new(None::<(String, String)>));
    let onward = lab.onward.clone();
    let client = lab.client(move |body| {
        let (onward, kept) = (onward.clone(), kept.clone());
        async move {
            let id = Sealed::parse(body.as_bytes()).unwrap().header().id.clone();
            let answer = String::from_utf8(onward.rpc(body).await.body.to_vec()).unwrap();
            let (first_id, first) =
                kept.lock().await.get_or_insert_with(|| (id.clone(), answer)).clone();
            (StatusCode::OK, Bytes::from(first.replace(&first_id, &id)))
        }
    });
    assert_eq!(call(&client, ping("first")).await.unwrap(), pong("first"));
    assert_not_believed("the first answer under this id", &client).await;
}

#[tokio::test(start_paused = true)]
async fn two_answers_that_change_places_are_none() {
    let lab = lab().await;
    let (kept, both) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Barrier::new(2)));
    let onward = lab.onward.clone();
    let client = lab.client(move |body| {
        let (onward, kept, both) = (onward.clone(), kept.clone(), both.clone());
        async move {
            let answer = onward.rpc(body).await.body;
            let mine = {
                let mut kept = kept.lock().await;
                kept.push(answer);
                kept.len() - 1
            };
            both.wait().await;
            // Neither was delivered yet, so that both are new to the client.
            (StatusCode::OK, kept.lock().await[1 - mine].clone())
        }
    });
    let (first, second) = tokio::join!(call(&client, ping("x")), call(&client, ping("y")));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(error, CallError::Transport { hop: Hop::Answer, .. }), "{error}");
    }
}

/// The same principal's other session answers, under the id of this request.
async fn elsewhere(onward: Link, other: Arc<Session>, body: String) -> (String, String) {
    let header = Sealed::parse(body.as_bytes()).unwrap().header().clone();
    let mut asked = other.header();
    asked.id = header.id;
    let message = other.seal(&asked, &inner(&asked, "", "<Ping text=\"of elsewhere\"/>"));
    let answer = onward.rpc(message).await.body;
    assert!(other.open(&answer).unwrap().contains("of elsewhere"));
    (String::from_utf8(answer.to_vec()).unwrap(), header.session)
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_session_is_no_answer() {
    let lab = lab().await;
    let other = Arc::new(lab.manager.session(&lab.onward).await);
    for is_renamed in [false, true] {
        let (onward, other) = (lab.onward.clone(), other.clone());
        let client = lab.client(move |body| {
            let (onward, other) = (onward.clone(), other.clone());
            async move {
                let (answer, session) = elsewhere(onward, other.clone(), body).await;
                let answer = match is_renamed {
                    true => answer.replace(&other.id, &session),
                    false => answer,
                };
                (StatusCode::OK, Bytes::from(answer))
            }
        });
        assert_not_believed("of another session", &client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_ever_ends_the_call_after_one_more_session() {
    let lab = lab().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let client = lab.client(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { (StatusCode::BAD_REQUEST, Bytes::from(BAD_MESSAGE)) }
    });
    let error = call(&client, ping("x")).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { hop: Hop::Session, .. }), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit_is_not_read_to_its_end() {
    let lab = lab().await;
    let client =
        lab.client(|_| async { (StatusCode::OK, Bytes::from(vec![b' '; BODY_BYTES_MAX + 1])) });
    let error = call(&client, ping("x")).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { hop: Hop::Http, .. }), "{error}");
}
