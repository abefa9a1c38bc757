//! From HTTP to a verb: path, query and body become the fields of one request.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use vmm_proto::v1::{self, FaultCode};

use super::fields::Wanted;
use super::json;
use super::problem::Problem;
use super::routes::{Method, Route, default_of, field_of, parameter_of};
use super::shape::{Part, Shapes};

/// Bytes of a body.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;
/// How long a body may take to come.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Parameters of a query.
const PARAMETERS_MAX: usize = 32;
/// The longest wait that can be asked for: less than what proxies take for silence.
pub(super) const WAIT_S_MAX: u64 = 55;
const KEY_BYTES_MAX: usize = 128;
const KEY_HEADER: &str = "idempotency-key";
const WAIT: &str = "wait";
const WAIT_FIELD: &str = "wait_ms_max";
const FIELDS: &str = "fields";

/// What was asked for.
pub(super) struct Asked {
    pub(super) request: v1::Request,
    /// Of a change.
    pub(super) key: Option<String>,
    /// How long to wait for the end of a task.
    pub(super) wait: Option<Duration>,
    pub(super) wanted: Option<Wanted>,
}

type Parameters = BTreeMap<String, String>;

/// Reads all of a request; `path` has the fields that stand in its path.
pub(super) async fn read(
    route: &Route,
    path: Vec<(String, String)>,
    (parts, body): (&Parts, Body),
) -> Result<Asked, Problem> {
    let verb = Shapes::known().verb(route.verb);
    let mut parameters = parameters(parts)?;
    let wanted = parameters.remove(FIELDS).map(|text| match route.method {
        Method::Get => Wanted::parse(&text, route.reply),
        _ => Err(Problem::bad("fields: only what is read can be cut")),
    });
    let wanted = wanted.transpose()?;
    let mut wait = parameters.remove(WAIT).map(|text| seconds(&text)).transpose()?;
    let shape = Shapes::known().request(route.verb);
    let mut fields = Map::new();
    if let Some(for_event) = wait.filter(|_| route.method == Method::Get) {
        if !shape.iter().any(|part| part.plain == WAIT_FIELD) {
            return Err(Problem::bad("wait: this is answered at once"));
        }
        let ms = u64::try_from(for_event.as_millis()).unwrap_or(u64::MAX);
        fields.insert(WAIT_FIELD.to_owned(), ms.into());
        wait = None;
    }
    for (name, text) in path {
        put_text(shape, &mut fields, &name, &text)?;
    }
    let body = body_of(&parts.headers, body).await?;
    if route.method.has_body() {
        if let Some(name) = parameters.keys().next() {
            return Err(Problem::bad(format!("{name}: fields of a change stand in its body")));
        }
        put_body(&mut fields, &body)?;
    } else {
        if !body.is_empty() {
            return Err(Problem::bad("this has no body: its fields stand in the query"));
        }
        for (name, text) in parameters {
            put_text(shape, &mut fields, field_of(&name), &text)?;
        }
    }
    for part in shape.iter().filter(|part| part.required) {
        if let (false, Some(value)) =
            (fields.contains_key(&part.plain), default_of(route, &part.plain))
        {
            fields.insert(part.plain.clone(), value);
        }
    }
    let request =
        json::request(route.verb, fields).map_err(|error| Problem::bad(error.to_string()))?;
    let key =
        if verb.is_some_and(|verb| verb.mutating) { Some(key_of(&parts.headers)?) } else { None };
    Ok(Asked { request, key, wait, wanted })
}

fn parameters(parts: &Parts) -> Result<Parameters, Problem> {
    let unreadable = |_| Problem::bad("the query cannot be read: write name=value with & between");
    let Query(pairs) =
        Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(unreadable)?;
    if pairs.len() > PARAMETERS_MAX {
        return Err(Problem::bad(format!("at most {PARAMETERS_MAX} parameters")));
    }
    let mut parameters = Parameters::new();
    for (name, text) in pairs {
        if parameters.insert(name.clone(), text).is_some() {
            return Err(Problem::bad(format!("{name} stands twice in the query")));
        }
    }
    Ok(parameters)
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= WAIT_S_MAX);
    let refused = || Problem::bad(format!("wait: write seconds, at most {WAIT_S_MAX}"));
    seconds.map(Duration::from_secs).ok_or_else(refused)
}

fn put_text(
    shape: &[Part],
    fields: &mut Map<String, Value>,
    name: &str,
    text: &str,
) -> Result<(), Problem> {
    let part = shape.iter().find(|part| part.plain == name).ok_or_else(|| {
        let known: Vec<&str> = shape.iter().map(|part| parameter_of(&part.plain)).collect();
        Problem::bad(format!("{name} is not known here; known are: {}", known.join(", ")))
    })?;
    let value = part.form.of_text(text).ok_or_else(|| {
        Problem::bad(format!("{} must be {}", parameter_of(name), part.form.expected()))
    })?;
    match fields.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Problem::bad(format!("{} is said twice", parameter_of(name)))),
    }
}

fn put_body(fields: &mut Map<String, Value>, body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    let read: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::bad(format!("the body is no JSON: {error}")))?;
    let Value::Object(read) = read else {
        return Err(Problem::bad("the body must be an object: {\"field\": value, …}"));
    };
    for (name, value) in read {
        if fields.contains_key(&name) {
            return Err(Problem::bad(format!("{name} stands in the path already")));
        }
        fields.insert(name, value);
    }
    Ok(())
}

/// All of it, in time and within its limit.
async fn body_of(headers: &HeaderMap, body: Body) -> Result<bytes::Bytes, Problem> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_WAIT, whole).await {
        Err(_) => {
            let message = format!("the body did not come within {} s", BODY_WAIT.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, FaultCode::TimedOut, message));
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("a body has at most {BODY_BYTES_MAX} bytes");
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                FaultCode::BadRequest,
                message,
            ));
        }
        Ok(Err(_)) => return Err(Problem::bad("the body cannot be read")),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let form = headers.get(CONTENT_TYPE).and_then(|form| form.to_str().ok()).unwrap_or_default();
    let is_json = form
        .split(';')
        .next()
        .is_some_and(|form| form.trim().eq_ignore_ascii_case("application/json"));
    if body.is_empty() || is_json {
        return Ok(body);
    }
    let message = "a body is application/json; say so in Content-Type";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, FaultCode::BadRequest, message))
}

/// The caller's, or one of its own: then nobody can ask for the same change again.
fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let mut all = headers.get_all(KEY_HEADER).iter();
    let Some(key) = all.next() else { return fresh_key() };
    let text = key.to_str().ok().filter(|text| {
        all.next().is_none()
            && (1..=KEY_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
    });
    let refused = || {
        Problem::bad(format!(
            "Idempotency-Key: one of 1 to {KEY_BYTES_MAX} visible ASCII characters"
        ))
    };
    text.map(str::to_owned).ok_or_else(refused)
}

fn fresh_key() -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            FaultCode::Internal,
            "the system gives no random bytes",
        )
    })?;
    Ok(bytes.iter().fold("http-".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}
