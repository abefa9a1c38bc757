//! The OpenAPI document: as published, as the router answers, as the table of verbs says, and as a validator from outside wants it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use vmm_proto::principal::Role;
use vmm_proto::server::{Caller, Service};
use vmm_proto::v1::{self, Fault, FaultCode, Reply};

use super::super::routes::{LEFT_OUT, ROUTES, Route, default_of};
use super::super::shape::{Form, Shapes};
use super::super::{document, problem};
use super::Api;
use crate::agents::BoxFuture;

/// Writes the published document anew instead of comparing it.
const REWRITE: &str = "OPENAPI";

/// Refuses everything, and says what it was asked for.
struct Echo;

impl Service for Echo {
    fn call(&self, _: Caller, request: v1::Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        let name = v1::verb(&request).name;
        Box::pin(async move { Err(Fault::new(FaultCode::Cancelled, name)) })
    }
}

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json")
}

#[test]
fn every_verb_of_the_manager_has_a_route_or_a_reason() {
    let routed: BTreeSet<&str> = ROUTES.iter().map(|route| route.verb).collect();
    let left_out: BTreeSet<&str> = LEFT_OUT.iter().map(|(verb, _)| *verb).collect();
    assert!(routed.is_disjoint(&left_out) && LEFT_OUT.iter().all(|(_, why)| !why.is_empty()));
    let answered = Shapes::known().verbs().filter(|verb| verb.manager.is_some());
    let answered: BTreeSet<&str> = answered.map(|verb| verb.name).collect();
    let reachable: BTreeSet<&str> = routed.union(&left_out).copied().collect();
    assert_eq!(reachable, answered);
}

#[test]
fn every_route_is_of_its_verb() {
    let mut seen = BTreeSet::new();
    for route in ROUTES {
        let shape = Shapes::known().request(route.verb);
        let verb = Shapes::known().verb(route.verb).expect("a verb");
        assert_eq!(verb.mutating, route.method.as_str() != "get", "{}", route.path);
        assert!(Shapes::known().reply(route.reply).is_some(), "{}", route.reply);
        for name in route.in_path() {
            assert!(shape.iter().any(|part| part.plain == name), "{} in {}", name, route.path);
        }
        assert!(seen.insert((route.method, route.path)), "{} twice", route.path);
        assert!(route.about.starts_with(char::is_uppercase) && !route.about.ends_with('.'));
    }
}

/// What the fields that must be said are, made up.
fn asked(route: &Route) -> (String, Value) {
    let mut path = route.whole_path();
    let mut body = json!({});
    for part in Shapes::known().request(route.verb) {
        let in_path = route.in_path().any(|name| name == part.plain);
        if in_path {
            let text = if part.form == Form::Text { "x" } else { "1" };
            path = path.replace(&format!("{{{}}}", part.plain), text);
        } else if part.required && default_of(route, &part.plain).is_none() {
            body[&part.plain] = made_up(&part.form);
        }
    }
    (path, body)
}

fn made_up(form: &Form) -> Value {
    match form {
        Form::Text => json!("x"),
        Form::Flag => json!(true),
        Form::Whole(_) | Form::Fraction => json!(1),
        Form::Words(words) => json!(words[0]),
        Form::Many(each) => json!([made_up(each)]),
        Form::Object(name) => {
            let parts = Shapes::known().object(name).iter().filter(|part| part.required);
            parts.map(|part| (part.plain.clone(), made_up(&part.form))).collect()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_router_answers_what_the_document_says_with_the_verb_that_it_says() {
    let (api, document) = (Api::before(Arc::new(Echo)), document());
    let mut operations = 0;
    for route in ROUTES {
        let operation = &document["paths"][route.whole_path()][route.method.as_str()];
        assert_eq!(operation["x-xvmp-verb"], route.verb, "{}", route.path);
        operations += 1;
        let (path, body) = asked(route);
        let body = route.method.has_body().then_some(body);
        let method = route.method.as_str().to_uppercase();
        let answer = api.ask(&method, &path, Role::Admin, body).await;
        answer.refuses(409, "Cancelled", route.verb);
    }
    let paths = document["paths"].as_object().expect("paths");
    let written: usize = paths.values().filter_map(Value::as_object).map(|path| path.len()).sum();
    assert_eq!(written, operations);
    let served = api.send(
        axum::http::Request::get("/openapi.json")
            .header("host", "localhost")
            .body(axum::body::Body::empty())
            .expect("a request"),
    );
    assert_eq!(super::whole(served.await).await.is(200), document);
}

#[test]
fn every_code_has_a_status_and_the_document_has_every_code() {
    let fault = Shapes::known().object("Fault");
    let code = fault.iter().find(|part| part.plain == "code").expect("a code");
    let Form::Words(words) = &code.form else { panic!("words") };
    for word in *words {
        let code: FaultCode = serde_json::from_value(json!(word)).expect("a code");
        assert!(problem::status_of(code).as_u16() >= 400, "{word}");
    }
    let document = document();
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    assert_eq!(listed, &json!(words));
}

#[test]
fn the_published_document_is_what_is_answered() {
    let text = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    if std::env::var_os(REWRITE).is_some_and(|value| value == "write") {
        std::fs::write(published(), &text).expect("written");
    }
    let found = std::fs::read_to_string(published()).expect("docs/openapi.json");
    assert!(
        found == text,
        "docs/openapi.json is old: `{REWRITE}=write cargo test -p vmm-manager document` writes it"
    );
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a validator from outside, in a test only")]
fn a_validator_from_outside_accepts_it() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/venv/bin/python3");
    let interpreter = std::env::var_os("XVMP_PYTHON").map_or(default, PathBuf::from);
    let install = "`cargo xtask test --install` makes it";
    assert!(interpreter.exists(), "{} is missing: {install}", interpreter.display());
    let mut python = std::process::Command::new(interpreter);
    python.args(["-I", "-m", "openapi_spec_validator", "--schema", "3.1"]).arg(published());
    let output = python.output().unwrap_or_else(|error| panic!("{error}: {install}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
