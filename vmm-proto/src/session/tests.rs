//! Sessions from both ends, without HTTP between them.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::credentials::{CertificateAuthority, Credentials, Identity};
use crate::envelope::Sealed;
use crate::principal::Principal;

const TODAY: Duration = Duration::from_secs(1_790_000_000);

struct Parties {
    server: Credentials,
    client: Credentials,
}

fn identity(credentials: &Credentials) -> Identity {
    Identity::of(&credentials.certificate).unwrap()
}

fn parties() -> Parties {
    let authority = CertificateAuthority::create(TODAY).unwrap();
    Parties {
        server: authority.issue(&Principal::agent("h1"), TODAY).unwrap(),
        client: authority.issue(&Principal::manager("m"), TODAY).unwrap(),
    }
}

impl Parties {
    fn open(&self) -> (ClientSession, ServerSession) {
        let (opening, document) =
            Opening::start(&self.client, &self.server.certificate, &identity(&self.server))
                .unwrap();
        let (server, document) =
            ServerSession::accept(&self.server, &identity(&self.client), document.as_bytes())
                .unwrap();
        (opening.finish(document.as_bytes()).unwrap(), server)
    }
}

fn request(client: &ClientSession, text: &str) -> Sealed {
    let header = client.next_header("m").unwrap();
    Sealed::parse(&client.seal(&header, text.as_bytes()).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn both_ends_understand_each_other() {
    let (client, server) = parties().open();
    let sealed = request(&client, "<a/>");
    assert_eq!(server.open(&sealed).unwrap().as_slice(), b"<a/>");
    let header = server.next_header("m");
    let answer = server.seal(&header, b"<b/>").unwrap();
    assert_eq!(client.open("m", &answer).unwrap().1.as_slice(), b"<b/>");
    assert!(matches!(client.open("m", &answer), Err(SessionError::Replayed { seq: 0 })));
    assert!(matches!(client.open("n", &answer), Err(SessionError::Elsewhere { field: "id" })));
}

#[tokio::test(start_paused = true)]
async fn a_replayed_request_is_refused_and_costs_nothing() {
    let (client, server) = parties().open();
    let sealed = request(&client, "<a/>");
    server.open(&sealed).unwrap();
    for _ in 0..20 {
        assert!(matches!(server.open(&sealed), Err(SessionError::Replayed { seq: 0 })));
    }
    assert!(!server.is_over());
}

#[tokio::test(start_paused = true)]
async fn requests_may_arrive_in_any_order_within_the_window() {
    let (client, server) = parties().open();
    let mut requests: Vec<Sealed> = (0..1100).map(|_| request(&client, "<a/>")).collect();
    server.open(requests.last().unwrap()).unwrap();
    requests.pop();
    requests.reverse();
    let accepted = requests.iter().filter(|sealed| server.open(sealed).is_ok()).count();
    assert_eq!(accepted, 1023);
}

#[tokio::test(start_paused = true)]
async fn eight_bad_tags_end_a_session() {
    let (client, server) = parties().open();
    let (stranger, _) = parties().open();
    for count in 0..BAD_TAG_COUNT_MAX {
        assert!(!server.is_over(), "after {count}");
        assert!(server.open(&request(&stranger, "<a/>")).is_err());
    }
    assert!(server.is_over());
    assert!(matches!(server.open(&request(&client, "<a/>")), Err(SessionError::Ended)));
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_read_another_sessions_messages() {
    let parties = parties();
    let (first, _) = parties.open();
    let (_, second) = parties.open();
    assert!(matches!(second.open(&request(&first, "<a/>")), Err(SessionError::Envelope(_))));
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_session_ends_soon_and_a_confirmed_one_later() {
    let (client, server) = parties().open();
    let (_, silent) = parties().open();
    server.open(&request(&client, "<a/>")).unwrap();
    tokio::time::sleep(CONFIRM_TIMEOUT).await;
    assert!(silent.is_over());
    assert!(!server.is_over() && !client.is_due());
    tokio::time::sleep(LIFETIME * 3 / 4).await;
    assert!(!server.is_over() && client.is_due());
    tokio::time::sleep(LIFETIME / 4).await;
    assert!(server.is_over());
}

#[tokio::test(start_paused = true)]
async fn a_first_message_of_another_principal_is_refused() {
    let parties = parties();
    let other = CertificateAuthority::create(TODAY).unwrap();
    let other = other.issue(&Principal::manager("m"), TODAY).unwrap();
    let (_, document) =
        Opening::start(&other, &parties.server.certificate, &identity(&parties.server)).unwrap();
    // TLS said it is the client, but the inner key is another's.
    let error =
        ServerSession::accept(&parties.server, &identity(&parties.client), document.as_bytes());
    assert!(matches!(error, Err(SessionError::InnerKey { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_with_another_certificate_breaks_the_handshake() {
    let parties = parties();
    let mut claimed = identity(&parties.server);
    let (_, document) =
        Opening::start(&parties.client, &parties.client.certificate, &claimed).unwrap();
    let accept = |document: &str| {
        ServerSession::accept(&parties.server, &identity(&parties.client), document.as_bytes())
            .map(|_| ())
    };
    assert!(matches!(accept(&document), Err(SessionError::Noise(_))));
    // Another name of the server, or another key, as well.
    claimed.principal = Principal::agent("h2");
    let start = |server: &Identity| {
        Opening::start(&parties.client, &parties.server.certificate, server).unwrap().1
    };
    assert!(matches!(accept(&start(&claimed)), Err(SessionError::Noise(_))));
    claimed = identity(&parties.client);
    claimed.principal = Principal::agent("h1");
    assert!(matches!(accept(&start(&claimed)), Err(SessionError::Noise(_))));
}

#[tokio::test(start_paused = true)]
async fn handshake_documents_that_are_none_are_refused() {
    let parties = parties();
    let accept = |document: &str| {
        ServerSession::accept(&parties.server, &identity(&parties.client), document.as_bytes())
    };
    let ns = crate::v1::NAMESPACE;
    for document in [
        String::new(),
        "<OpenSession/>".to_owned(),
        format!("<OpenSession xmlns=\"{ns}\" version=\"1\"><Noise>AAAA</Noise></OpenSession>"),
        format!("<OpenSession xmlns=\"{ns}\" version=\"1\"><Noise>*</Noise></OpenSession>"),
        format!("<OpenSession xmlns=\"{ns}\" version=\"2\"><Noise>AAAA</Noise></OpenSession>"),
        format!("<SessionOpened xmlns=\"{ns}\" version=\"1\"><Noise>AAAA</Noise></SessionOpened>"),
    ] {
        assert!(accept(&document).is_err(), "{document}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_table_holds_so_many_of_a_principal_and_drops_the_unused() {
    let parties = parties();
    let table = SessionTable::default();
    let mut ids = Vec::new();
    for _ in 0..SESSIONS_PER_PRINCIPAL + 3 {
        let (_, session) = parties.open();
        ids.push(session.id().to_owned());
        table.insert(session).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(table.len(), SESSIONS_PER_PRINCIPAL);
    let find = |id: &str| table.find(id, &Principal::manager("m"));
    assert!(find(&ids[2]).is_none() && find(&ids[3]).is_some());
    assert!(table.find(&ids[3], &Principal::manager("n")).is_none());
    tokio::time::sleep(CONFIRM_TIMEOUT).await;
    assert!(find(&ids[3]).is_none());
    assert_eq!(table.len(), SESSIONS_PER_PRINCIPAL - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_copies_one_wins() {
    let (client, server) = parties().open();
    let server = Arc::new(server);
    for _ in 0..20 {
        let sealed = Arc::new(request(&client, "<a/>"));
        let copies = (0..8).map(|_| {
            let (server, sealed) = (server.clone(), sealed.clone());
            tokio::task::spawn_blocking(move || server.open(&sealed).is_ok())
        });
        let copies: Vec<_> = copies.collect();
        let mut won = 0;
        for copy in copies {
            won += usize::from(copy.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}
