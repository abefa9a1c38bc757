//! The inner layer with a peer in another language, written from the text: its Noise is `noiseprotocol`'s, its AES that of
//! `cryptography`.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use serde_json::{Value, json};
use vmm_proto::client::CallOptions;
use vmm_proto::credentials::Identity;
use vmm_proto::endpoint::OPEN_PATH;
use vmm_proto::principal::Principal;

use crate::middle::{self, Meddle};
use crate::peer::{Peer, between, open_session, prologue};
use crate::programs::Xvmp;
use crate::support::{Pool, SERVER, ping, pong};

const NAMESPACE: &str = "urn:smps-vmm:xvmp:1";
const SESSION: &str = "ffeeddccbbaa99887766554433221100";
const ROUNDS: u8 = 8;

fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn bytes(answer: &Value, field: &str) -> Vec<u8> {
    STANDARD.decode(answer[field].as_str().unwrap()).unwrap()
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap()
}

fn public(private: [u8; 32]) -> [u8; 32] {
    x25519_dalek::x25519(private, x25519_dalek::X25519_BASEPOINT_BYTES)
}

fn builder(private: &[u8; 32]) -> snow::Builder<'_> {
    let pattern = "Noise_IK_25519_AESGCM_SHA256".parse().unwrap();
    snow::Builder::new(pattern).local_private_key(private).unwrap().prologue(b"prologue").unwrap()
}

/// Both ends have the same hash and the same keys.
fn assert_agree(mut state: snow::HandshakeState, answer: &Value) {
    assert_eq!(bytes(answer, "hash"), state.get_handshake_hash());
    let (k1, k2) = state.dangerously_get_raw_split();
    assert_eq!((bytes(answer, "k1"), bytes(answer, "k2")), (k1.to_vec(), k2.to_vec()));
}

#[test]
fn noiseprotocol_as_either_end_has_our_hash_and_our_keys() {
    let mut python = Xvmp::start();
    let mut buffer = vec![0; 4096];
    for round in 0..ROUNDS {
        let (ours, theirs) = ([0x40 + round; 32], [0x80 + round; 32]);
        let payload = "x".repeat(usize::from(round) * 50);
        let theirs_text = b64(&theirs);
        let first = python.ask(&json!({
            "do": "start", "private": theirs_text, "server": b64(&public(ours)),
            "prologue": b64(b"prologue"), "payload": payload,
        }));
        let mut state = builder(&ours).build_responder().unwrap();
        let length = state.read_message(&bytes(&first, "message"), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], payload.as_bytes());
        assert_eq!(state.get_remote_static(), Some(public(theirs).as_slice()));
        let length = state.write_message(b"welcome", &mut buffer).unwrap();
        let end = python.ask(&json!({ "do": "finish", "message": b64(&buffer[..length]) }));
        assert_eq!(text(&end, "payload"), "welcome");
        assert_agree(state, &end);

        let server = public(theirs);
        let mut state =
            builder(&ours).remote_public_key(&server).unwrap().build_initiator().unwrap();
        let length = state.write_message(payload.as_bytes(), &mut buffer).unwrap();
        let end = python.ask(&json!({
            "do": "answer", "private": theirs_text, "prologue": b64(b"prologue"),
            "message": b64(&buffer[..length]), "payload": "welcome",
        }));
        assert_eq!(
            (text(&end, "payload"), bytes(&end, "client")),
            (payload.as_str(), public(ours).to_vec())
        );
        let length = state.read_message(&bytes(&end, "message"), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"welcome");
        assert_agree(state, &end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_in_python_is_served() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    let mut python = Xvmp::start();
    let server = Identity::of(&link.server).unwrap();
    let first = python.ask(&json!({
        "do": "start", "private": b64(&peer.inner_key), "server": b64(&server.inner_key),
        "prologue": b64(&prologue(&link.server)),
        "payload": format!("<Hello xmlns=\"{NAMESPACE}\" min-minor=\"0\" max-minor=\"0\"/>"),
    }));
    let opened = link.post(OPEN_PATH, open_session(&bytes(&first, "message"))).await;
    let opened = std::str::from_utf8(&opened.body).unwrap();
    let end =
        python.ask(&json!({ "do": "finish", "message": between(opened, "<Noise>", "</Noise>") }));
    let session = between(text(&end, "payload"), "session=\"", "\"").to_owned();
    for seq in 0..3 {
        let id = format!("py-{seq}");
        let plaintext = format!(
            "<Request xmlns=\"{NAMESPACE}\" id=\"{id}\" session=\"{session}\" dir=\"c2s\" seq=\"{seq}\">\
             <Ping text=\"hello {seq}\"/></Request>"
        );
        let command =
            json!({ "do": "seal", "dir": "c2s", "seq": seq, "id": id, "plaintext": plaintext });
        let message = text(&python.ask(&command), "document").to_owned();
        let answer = link.rpc(message).await;
        assert!(answer.is_ok(), "{answer:?}");
        let answer = String::from_utf8(answer.body.to_vec()).unwrap();
        let answer = python.ask(&json!({ "do": "unseal", "document": answer }));
        assert_eq!((text(&answer, "dir"), text(&answer, "id")), ("s2c", id.as_str()));
        let expected = format!("<Pong text=\"hello {seq}\"/>");
        assert!(text(&answer, "plaintext").contains(&expected), "{answer}");
    }
}

/// What the server in Python answers to a request: a pong.
fn answer(python: &mut Xvmp, document: &str) -> String {
    let request = python.ask(&json!({ "do": "unseal", "document": document }));
    let echo = between(text(&request, "plaintext"), "<Ping text=\"", "\"");
    let (id, seq) = (text(&request, "id"), text(&request, "seq"));
    let plaintext = format!(
        "<Response xmlns=\"{NAMESPACE}\" re=\"{id}\" session=\"{SESSION}\" dir=\"s2c\" seq=\"{seq}\">\
         <Pong text=\"{echo}\"/></Response>"
    );
    let seq: u64 = seq.parse().unwrap();
    let command =
        json!({ "do": "seal", "dir": "s2c", "seq": seq, "id": id, "plaintext": plaintext });
    text(&python.ask(&command), "document").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_server_in_python_is_understood() {
    let pool = Pool::new();
    let agent = Peer::new(&pool, &Principal::agent(SERVER));
    let config = middle::config(&pool, &agent.credentials);
    let manager = Peer::new(&pool, &Principal::manager("m"));
    // Whom TLS shows is the server of the pool, so that the client's prologue is known.
    let _server = pool.serve(agent.credentials.clone(), pool.options());
    let prologue = prologue(&manager.link(&pool).await.server);
    let python = Arc::new(Mutex::new(Xvmp::start()));
    let private = b64(&agent.inner_key);
    let meddle: Meddle = Arc::new(move |path, body| {
        let mut python = python.lock().unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        let document = match path.as_str() {
            OPEN_PATH => {
                let opened = python.ask(&json!({
                    "do": "answer", "private": private, "prologue": b64(&prologue),
                    "message": between(body, "<Noise>", "</Noise>"), "session": SESSION,
                    "payload": format!(
                        "<Welcome xmlns=\"{NAMESPACE}\" session=\"{SESSION}\" minor=\"0\" \
                         lifetime-s=\"3600\" message-count-max=\"1048576\"/>"
                    ),
                }));
                assert!(text(&opened, "payload").starts_with("<Hello"));
                format!(
                    "<SessionOpened xmlns=\"{NAMESPACE}\" version=\"1\"><Noise>{}</Noise></SessionOpened>",
                    text(&opened, "message")
                )
            }
            _ => answer(&mut python, body),
        };
        async { (StatusCode::OK, Bytes::from(document)) }.boxed()
    });
    middle::listen(&pool, config, meddle);
    let client = middle::client(&pool, manager.credentials.clone());
    for text in ["one", "two", "three"] {
        assert_eq!(client.call(ping(text), CallOptions::default()).await.unwrap(), pong(text));
    }
}
