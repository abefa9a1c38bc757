//! Who may open a session, and what a first message can do that somebody sends again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use vmm_proto::client::{CallError, CallOptions, Hop};
use vmm_proto::credentials::Identity;
use vmm_proto::endpoint::OPEN_PATH;
use vmm_proto::principal::Principal;
use vmm_proto::session::SESSIONS_PER_PRINCIPAL;

use crate::forge::{Claims, Forger};
use crate::middle::{self, Meddle};
use crate::peer::{Link, Peer, between};
use crate::support::{Pool, SERVER, list_vms};

/// Passes everything on.
fn forward(link: Link) -> Meddle {
    Arc::new(move |path, body| {
        let link = link.clone();
        async move {
            let answer = link.post(&path, body).await;
            (answer.status, answer.body)
        }
        .boxed()
    })
}

struct Lab {
    pool: Pool,
    agent: Peer,
    manager: Peer,
}

fn lab() -> Lab {
    let pool = Pool::new();
    let agent = Peer::new(&pool, &Principal::agent(SERVER));
    drop(pool.serve(agent.credentials.clone(), pool.options()).task);
    let manager = Peer::new(&pool, &Principal::manager("m"));
    Lab { pool, agent, manager }
}

impl Lab {
    /// What the manager's client hears through the middle.
    async fn call(&self) -> Result<(), CallError> {
        let client = middle::client(&self.pool, self.manager.credentials.clone());
        client.call(list_vms(), CallOptions::default()).await.map(|_| ())
    }

    fn carried_out(&self) -> usize {
        self.pool.service.calls.load(Ordering::SeqCst)
    }
}

#[track_caller]
fn assert_no_session(result: Result<(), CallError>) {
    let error = result.unwrap_err();
    assert!(matches!(&error, CallError::Transport { hop: Hop::Session, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_ends_tls_with_another_certificate_of_the_same_name_and_inner_key_breaks_the_handshake()
{
    let lab = lab();
    let onward = lab.manager.link(&lab.pool).await;
    // With the server's own key nothing is noticed, and nothing is read: this is what a leaked TLS key is worth.
    let config = middle::config(&lab.pool, &lab.agent.credentials);
    middle::listen(&lab.pool, config.clone(), forward(onward.clone()));
    lab.call().await.unwrap();
    assert_eq!(lab.carried_out(), 1);
    // Issued by mistake: all that the server's certificate says, for another key.
    let inner_key = Identity::of(&onward.server).unwrap().inner_key;
    let forged = Forger::of(&lab.pool).certify(&Claims::of("xvmp://smps-vmm/agent/h1", &inner_key));
    let mut config = config;
    config.cert_resolver = forged.resolver();
    middle::listen(&lab.pool, config, forward(onward));
    assert_no_session(lab.call().await);
    assert_eq!(lab.carried_out(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_passes_messages_on_under_its_own_name_opens_no_session() {
    let lab = lab();
    for other in [Principal::manager("n"), Principal::admin("eve"), Principal::agent("h2")] {
        let onward = Peer::new(&lab.pool, &other).link(&lab.pool).await;
        let config = middle::config(&lab.pool, &lab.agent.credentials);
        middle::listen(&lab.pool, config, forward(onward));
        assert_no_session(lab.call().await);
    }
    assert_eq!(lab.carried_out(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_takes_no_answer_to_its_first_message_but_the_servers_own() {
    let lab = lab();
    let onward = lab.manager.link(&lab.pool).await;
    let (_, other_hello) = lab.manager.start(&onward.server);
    let recorded = onward.post(OPEN_PATH, other_hello).await.body;
    let noise = between(std::str::from_utf8(&recorded).unwrap(), "<Noise>", "</Noise>").to_owned();
    let carrier = |noise: &str| {
        format!(
            "<SessionOpened xmlns=\"urn:smps-vmm:xvmp:1\" version=\"1\"><Noise>{noise}</Noise></SessionOpened>"
        )
    };
    for (what, answer) in [
        ("of another handshake", String::from_utf8(recorded.to_vec()).unwrap()),
        ("cut short", carrier(&noise[..noise.len() - 4])),
        ("empty", carrier("")),
        ("of low order", carrier(&"A".repeat(192))),
        ("no document", String::new()),
    ] {
        let config = middle::config(&lab.pool, &lab.agent.credentials);
        let answer = Bytes::from(answer);
        let meddle: Meddle = Arc::new(move |_, _| {
            let answer = answer.clone();
            async move { (StatusCode::OK, answer) }.boxed()
        });
        middle::listen(&lab.pool, config, meddle);
        let error = lab.call().await.unwrap_err();
        assert!(
            matches!(&error, CallError::Transport { hop: Hop::Session, .. }),
            "{what}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_sent_again_and_again_fills_its_principals_share_and_does_nothing() {
    let lab = lab();
    let link = lab.manager.link(&lab.pool).await;
    let neighbour = Peer::new(&lab.pool, &Principal::manager("n"));
    let neighbour_link = neighbour.link(&lab.pool).await;
    let neighbours = neighbour.session(&neighbour_link).await;
    assert!(neighbour_link.rpc(neighbours.ping()).await.is_ok());
    let owners = lab.manager.session(&link).await;
    assert!(link.rpc(owners.ping()).await.is_ok());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let (_, hello) = lab.manager.start(&link.server);
    for _ in 0..SESSIONS_PER_PRINCIPAL * 4 {
        assert!(link.post(OPEN_PATH, hello.clone()).await.is_ok());
    }
    assert_eq!(lab.carried_out(), 2);
    assert!(link.rpc(owners.ping()).await.is_ok(), "what its owner uses stands");
    assert!(
        neighbour_link.rpc(neighbours.ping()).await.is_ok(),
        "another principal's session stands"
    );
    let session = lab.manager.session(&link).await;
    assert!(link.rpc(session.ping()).await.is_ok(), "its owner opens one as before");
    // Nobody else can send it at all.
    neighbour_link.post(OPEN_PATH, hello).await.assert_refused("another's first message");
}
