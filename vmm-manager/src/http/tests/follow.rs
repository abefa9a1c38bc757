//! Events as they come.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use vmm_proto::principal::Role;

use super::Api;
use crate::tests::Pool;

/// One who follows.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    async fn open(api: &Api, token: &str, last: Option<&str>) -> Self {
        let mut request = Request::builder()
            .uri("/api/v1/events?pools=true")
            .header("host", "localhost")
            .header("accept", "text/event-stream")
            .header("authorization", format!("Bearer {token}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = api.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next message, comments left out: its id and its data. Nothing at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                if !message.starts_with(':') {
                    return Some(read(&message));
                }
            }
            let frame = self.body.frame().await?.expect("infallible");
            let bytes = frame.into_data().expect("no trailers");
            self.text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }
}

fn read(message: &str) -> (String, Value) {
    let field = |name: &str| {
        let line = message.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    (field("id: "), serde_json::from_str(&field("data: ")).expect("JSON"))
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_told_what_there_is_and_then_what_changes() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let token = api.token(Role::Viewer);
    let mut stream = Stream::open(&api, &token, None).await;
    let (first, all) = stream.next().await.expect("a message");
    assert_eq!(
        (&all["host"][0]["name"], &all["pool"][0]["name"]),
        (&"h1".into(), &"default".into())
    );
    pool.create("web").await;
    let (mut last, mut names) = (first.clone(), Vec::new());
    while names.is_empty() {
        let (id, changes) = stream.next().await.expect("a message");
        names.extend(changes["vm"].as_array().into_iter().flatten().cloned());
        last = id;
    }
    assert_eq!(names[0]["spec"]["name"], "web");
    drop(stream);
    // Who comes again is told what he missed, and no more.
    let (_, missed) = Stream::open(&api, &token, Some(&first)).await.next().await.expect("missed");
    assert_eq!(missed["vm"][0]["spec"]["name"], "web");
    assert!(missed["resync"] == false && last != first);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_token_with_the_manager_and_with_a_bad_cursor() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let token = api.token(Role::Viewer);
    let mut stream = Stream::open(&api, &token, None).await;
    assert!(stream.next().await.is_some());
    api.tokens.revoke("ann").expect("it is there");
    while stream.next().await.is_some() {}
    let token = api.token(Role::Viewer);
    let (id, problem) = Stream::open(&api, &token, Some("x")).await.next().await.expect("one");
    assert_eq!((id.as_str(), &problem["code"]), ("", &"BadRequest".into()));
    let mut stream = Stream::open(&api, &token, None).await;
    assert!(stream.next().await.is_some());
    api.stop.cancel();
    while stream.next().await.is_some() {}
}
