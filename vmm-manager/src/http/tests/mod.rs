//! The JSON API before a manager with scripted agents, on a paused clock: in use, and under attack. Connections are in memory, so that a
//! paused clock is no race.

mod asks;
mod attacks;
mod document;
mod follow;
mod listening;
mod peer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::principal::{Principal, Role};
use vmm_proto::server::Service;

use super::edge::router;
use super::guard::{Names, Shared, Shares};
use super::tokens::Tokens;
use crate::tests::Pool;

const START: Duration = Duration::from_secs(1_800_000_000);
const VALID: Duration = Duration::from_secs(86_400);

/// The API, before some service.
struct Api {
    router: Router,
    tokens: Tokens,
    stop: CancellationToken,
    _directory: tempfile::TempDir,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    fn before(service: Arc<dyn Service>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tokens = Tokens::of(directory.path().join("tokens"));
        let clock: Arc<dyn WallClock> = Arc::new(TokioClock::starting_at(START));
        let names = Names::new("127.0.0.1:8441".parse().expect("an address"), &[]);
        let (stop, shares) = (CancellationToken::new(), Arc::new(Shares::default()));
        let shared =
            Shared { service, clock, tokens: tokens.clone(), names, stop: stop.clone(), shares };
        Self { router: router(Arc::new(shared)), tokens, stop, _directory: directory }
    }

    fn of(pool: &Pool) -> Self {
        Self::before(Arc::clone(&pool.manager) as Arc<dyn Service>)
    }

    fn token(&self, role: Role) -> String {
        let principal = Principal { role, id: "ann".into() };
        self.tokens.make(&principal, (START, START + VALID)).expect("made").as_str().to_owned()
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        let service = TowerToHyperService::new(self.router.clone());
        service.call(request).await.expect("infallible")
    }

    async fn ask(&self, method: &str, path: &str, role: Role, body: Option<Value>) -> Answer {
        self.ask_with(method, path, role, (body, &[])).await
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        role: Role,
        (body, headers): (Option<Value>, &[(&str, &str)]),
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8441")
            .header("authorization", format!("Bearer {}", self.token(role)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            None => Body::empty(),
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        whole(self.send(request.body(body).expect("a request")).await).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Role::Viewer, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Role::Admin, Some(body)).await
    }
}

async fn whole(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body }
}

impl Answer {
    #[track_caller]
    fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// A problem of this code, which says this.
    #[track_caller]
    fn refuses(self, status: u16, code: &str, says: &str) -> Value {
        let form = self.headers.get("content-type").and_then(|form| form.to_str().ok());
        assert_eq!(form, Some("application/problem+json"), "{}", self.body);
        let body = self.is(status);
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()), "{body}");
        assert_eq!(body["type"], format!("urn:smps-vmm:fault:{code}"));
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{body}");
        body
    }
}
