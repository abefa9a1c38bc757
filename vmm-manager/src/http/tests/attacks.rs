//! Under attack: those who may not, hosts that are not ours, requests too large, too slow or not as HTTP should be.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use vmm_proto::principal::{Principal, Role};
use vmm_proto::server::{Caller, Service};
use vmm_proto::v1::{self, Fault, Reply};

use super::peer::{Peer, statuses};
use super::{Api, START, whole};
use crate::agents::BoxFuture;
use crate::http::routes::ROUTES;
use crate::tests::Pool;

/// Answers pings, and panics at anything else.
pub(super) struct Fragile;

impl Service for Fragile {
    fn call(&self, _: Caller, request: v1::Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        Box::pin(async move {
            match request {
                v1::Request::Ping(ping) => Ok(Reply::Pong(ping)),
                other => panic!("no {}", v1::verb(&other).name),
            }
        })
    }
}

fn fragile() -> Api {
    Api::before(Arc::new(Fragile))
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn bearing(api: &Api, authorization: &str) -> (u16, String) {
    let request = Request::builder().uri("/api/v1/ping").header("host", "localhost");
    let request = request.header("authorization", authorization).body(Body::empty());
    let answer = whole(api.send(request.expect("a request")).await).await;
    (answer.status.as_u16(), answer.body.to_string())
}

#[tokio::test(start_paused = true)]
async fn who_shows_no_good_token_learns_nothing() {
    let api = fragile();
    let good = api.token(Role::Admin);
    assert_eq!(bearing(&api, &format!("Bearer {good}")).await.0, 200);
    assert_eq!(bearing(&api, &format!("bearer {good}")).await.0, 200);
    let refused = bearing(&api, "Bearer x").await;
    assert_eq!(refused.0, 401);
    let revoked = api.token(Role::Viewer);
    let id = revoked.split('_').nth(1).expect("an id").to_owned();
    api.tokens.revoke(&id).expect("it is there");
    let ends = (START, START + Duration::from_secs(60));
    let expired = api.tokens.make(&Principal::admin("bob"), ends).expect("made");
    tokio::time::advance(Duration::from_secs(61)).await;
    let mut wrong = good.clone().into_bytes();
    let last = wrong.len() - 8;
    wrong[last] = if wrong[last] == b'A' { b'B' } else { b'A' };
    for bad in [
        format!("Bearer {revoked}"),
        format!("Bearer {}", expired.as_str()),
        format!("Bearer {}", String::from_utf8(wrong).expect("text")),
        format!("Bearer {}", &good[..good.len() - 1]),
        format!("Bearer {good}{}", "A".repeat(300)),
        format!("Basic {good}"),
        good.clone(),
        String::new(),
    ] {
        assert_eq!(bearing(&api, &bad).await, refused, "{bad}");
    }
    for path in ["/api/v1/vms", "/api/v1/nothing", "/", "/healthz/x"] {
        let request = Request::get(path).header("host", "localhost").body(Body::empty());
        let answer = whole(api.send(request.expect("a request")).await).await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"smps-vmm\"");
        assert_eq!((answer.status.as_u16(), answer.body.to_string()), refused, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_another_host_is_refused_before_all_else() {
    let api = fragile();
    let token = api.token(Role::Admin);
    let check = async |head: &str, expect: u16| {
        let mut peer = Peer::of(&api);
        let close = format!("{head}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        peer.write(close.as_bytes()).await;
        assert_eq!(statuses(&peer.rest().await.0), [expect], "{head}");
    };
    check("GET /api/v1/ping HTTP/1.1\r\nHost: localhost:9\r\n", 200).await;
    check("GET http://localhost/api/v1/ping HTTP/1.1\r\nHost: localhost\r\n", 200).await;
    check("GET /api/v1/ping HTTP/1.1\r\nHost: evil.example\r\n", 421).await;
    check("GET /api/v1/ping HTTP/1.1\r\nHost: localhost.evil.example\r\n", 421).await;
    check("GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 421).await;
    check("GET http://evil.example/api/v1/ping HTTP/1.1\r\nHost: localhost\r\n", 421).await;
    check("GET /api/v1/ping HTTP/1.1\r\n", 421).await;
    check("GET /openapi.json HTTP/1.1\r\nHost: evil.example\r\n", 421).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused() {
    let api = fragile();
    let token = api.token(Role::Admin);
    let head = |more: &str| {
        format!(
            "POST /api/v1/vms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\r\n"
        )
    };
    let check = async |bytes: Vec<u8>, expect: u16| {
        let mut peer = Peer::of(&api);
        peer.write(&bytes).await;
        let answered = statuses(&peer.rest().await.0);
        assert_eq!(answered.first(), Some(&expect), "{answered:?}");
    };
    let large = vec![b' '; 300_000];
    let mut whole = head("Content-Length: 300000\r\n").into_bytes();
    whole.extend(&large);
    check(whole, 413).await;
    let mut chunked = head("Transfer-Encoding: chunked\r\n").into_bytes();
    chunked.extend(format!("{:x}\r\n", large.len()).bytes().chain(large));
    check(chunked, 413).await;
    check(head(&format!("X-Large: {}\r\n", "a".repeat(20_000))).into_bytes(), 431).await;
    check(head(&"X-Many: 1\r\n".repeat(80)).into_bytes(), 431).await;
    let long = get(&format!("/api/v1/{}", "a".repeat(20_000)), &token);
    check(long.into_bytes(), 431).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_is_not_waited_for() {
    let api = fragile();
    let token = api.token(Role::Admin);
    let check = async |bytes: String, expect: &[u16]| {
        let mut peer = Peer::of(&api);
        peer.write(bytes.as_bytes()).await;
        let (text, after) = peer.rest().await;
        assert_eq!(statuses(&text), expect, "{text}");
        assert!(after <= Duration::from_secs(25), "{after:?}");
    };
    check(String::new(), &[]).await;
    check("GET /api/v1/ping HTTP/1.1\r\nHost: local".to_owned(), &[]).await;
    // A whole request, and then nothing.
    check(get("/api/v1/ping", &token), &[200]).await;
    let head = format!(
        "POST /api/v1/vms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    check(head, &[408]).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_behind_a_good_request_ends_the_connection() {
    let api = fragile();
    let token = api.token(Role::Admin);
    let good = get("/api/v1/ping", &token);
    for (garbage, expect) in [
        ("\x16\x03\x01\x02\x00\x01\x00", vec![200, 400]),
        ("GET\r\n\r\n", vec![200, 400]),
        ("GET /api/v1/ping HTTP/9.9\r\n\r\n", vec![200, 400]),
        (
            "POST /api/v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            vec![200, 400],
        ),
    ] {
        let mut peer = Peer::of(&api);
        peer.write(format!("{good}{garbage}").as_bytes()).await;
        assert_eq!(statuses(&peer.rest().await.0), expect, "{garbage:?}");
    }
    let mut peer = Peer::of(&api);
    let close = good.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    peer.write(format!("{good}{good}{close}").as_bytes()).await;
    assert_eq!(statuses(&peer.rest().await.0), [200, 200, 200]);
}

#[tokio::test(start_paused = true)]
async fn tricks_with_paths_lead_nowhere() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    for path in [
        "/api/v1/../v1/vms",
        "/api/v1/./vms",
        "//api/v1/vms",
        "/api/v1//vms",
        "/api/v1/vms/",
        "/API/V1/vms",
        "/api/v1/vms/..",
        "/api/v1/vms/%2e%2e",
        "/api/v1/vms/a%2Fstart",
        "/api/v1/vms/%00",
        "/api/v1/vms/%ff",
        "/api/v1/vms/%",
        "/api/v2/vms",
        "/api/v1/vms/web/../../hosts",
        "/etc/passwd",
    ] {
        let answer = api.get(path).await;
        let status = answer.status.as_u16();
        assert!([400, 404].contains(&status), "{path}: {status} {}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn no_page_is_told_anything_and_no_look_changes_anything() {
    let api = fragile();
    for method in ["OPTIONS", "TRACE", "PATCH", "PUT"] {
        let headers =
            [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
        let answer = api.ask_with(method, "/api/v1/vms", Role::Admin, (None, &headers)).await;
        assert_eq!(answer.status.as_u16(), 405, "{method}");
        assert!(answer.headers.contains_key("allow"), "{method}");
        let told = answer.headers.keys().any(|name| name.as_str().starts_with("access-control"));
        assert!(!told, "{method}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let form = [("content-type", "text/plain")];
    let request = Request::post("/api/v1/vms/web/start").header("host", "localhost");
    let token = format!("Bearer {}", api.token(Role::Admin));
    let request = request.header(form[0].0, form[0].1).header("authorization", token);
    let request = request.body(Body::from("{}")).expect("a request");
    whole(api.send(request).await).await.refuses(415, "BadRequest", "application/json");
    for route in ROUTES.iter().filter(|route| route.method.as_str() == "get") {
        let verb = super::super::shape::Shapes::known().verb(route.verb).expect("a verb");
        assert!(!verb.mutating, "{}", route.path);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_request() {
    let api = fragile();
    let token = api.token(Role::Admin);
    let mut peer = Peer::of(&api);
    let (bad, good) = (get("/api/v1/vms", &token), get("/api/v1/ping", &token));
    peer.write(format!("{bad}{good}").as_bytes()).await;
    let (text, _) = peer.rest().await;
    assert_eq!(statuses(&text), [500, 200]);
    assert!(text.contains("\"code\":\"Internal\"") && !text.contains("no ListVms"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_more_than_his_share() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let page = api.get("/api/v1/events").await.is(200);
    let path = format!("/api/v1/events?wait=50&cursor={}", page["cursor"].as_str().expect("text"));
    let waits = (0..16).map(|_| api.get(&path));
    let waiting = futures_util::future::join_all(waits);
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answer = api.get("/api/v1/ping").await;
        assert_eq!(answer.headers["retry-after"], "1");
        answer.refuses(503, "Busy", "16 requests");
        // Another role is another principal.
        api.ask("GET", "/api/v1/ping", Role::Admin, None).await.is(200);
    };
    let (answers, ()) = tokio::join!(waiting, late);
    assert!(answers.iter().all(|answer| answer.status.as_u16() == 200));
    api.get("/api/v1/ping").await.is(200);
}
