//! One request: read, asked of the manager as any XVMP request is, and answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Extension, RawPathParams, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;
use vmm_proto::server::Caller;
use vmm_proto::v1::{self, Fault, FaultCode, Reply, TaskState, WaitTask};

use super::ask::{self, Asked};
use super::guard::{Shared, Who};
use super::problem::Problem;
use super::routes::{EVENTS, Method, ROOT, Route};
use super::{events, json};

/// Longer than every wait that can be asked for, and what an agent may take for a look.
const CALL_WAIT: Duration = Duration::from_secs(70);
pub(super) const JSON: &str = "application/json";
pub(super) const STREAM: &str = "text/event-stream";

/// Answers a route.
pub(super) async fn answer(
    route: &'static Route,
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response<Body> {
    let answered = answered(route, (shared, who), path, request).await;
    answered.unwrap_or_else(|problem| problem.response())
}

async fn answered(
    route: &'static Route,
    (shared, who): (Arc<Shared>, Who),
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let path = path.map_err(|_| Problem::bad("the path is no UTF-8"))?;
    let path = path.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let (parts, body) = request.into_parts();
    let asked = ask::read(route, path, (&parts, body)).await?;
    if route.verb == EVENTS && accepts_stream(&parts.headers) {
        return events::follow(shared, who, asked.request, &parts.headers);
    }
    let Asked { request, key, wait, wanted } = asked;
    let reply = call(&shared, &who, request, key).await?;
    match reply {
        Reply::Task(task) if route.method != Method::Get => {
            let task = ended(&shared, &who, *task, wait).await?;
            of_task(task, wait.is_some())
        }
        reply => {
            let body = shown(&reply)?;
            Ok(whole(
                StatusCode::OK,
                &wanted.map_or_else(|| body.clone(), |wanted| wanted.of(body.clone())),
            ))
        }
    }
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|form| form.split(';').next().is_some_and(|form| form.trim() == STREAM))
}

/// Asks the manager, in a task of its own: it goes on when the caller goes away, and a panic is a fault.
pub(super) async fn call(
    shared: &Arc<Shared>,
    who: &Who,
    request: v1::Request,
    key: Option<String>,
) -> Result<Reply, Problem> {
    let caller = Caller {
        principal: who.principal.clone(),
        request_id: key.clone().unwrap_or_else(|| "http".to_owned()),
        idempotency_key: key,
        deadline: Some(CALL_WAIT),
    };
    let (service, place) = (Arc::clone(&shared.service), Arc::clone(&who.place));
    let calling = tokio::spawn(async move {
        // A place counts as taken until its answer is there.
        let _place = place;
        service.call(caller, request).await
    });
    match tokio::time::timeout(CALL_WAIT, calling).await {
        Ok(Ok(reply)) => Ok(reply?),
        Ok(Err(error)) => {
            tracing::error!(%error, "a request of the JSON API panicked");
            let message = "a defect of this software; the manager's log says more";
            Err(Fault::new(FaultCode::Internal, message).into())
        }
        Err(_) => Err(Fault::new(FaultCode::TimedOut, "the manager took too long").into()),
    }
}

/// The task, when it is over or the wait is.
async fn ended(
    shared: &Arc<Shared>,
    who: &Who,
    task: v1::Task,
    wait: Option<Duration>,
) -> Result<v1::Task, Problem> {
    let Some(wait) = wait.filter(|_| is_open(&task)) else { return Ok(task) };
    let wait_ms_max = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let request = v1::Request::WaitTask(WaitTask { task: task.task.clone(), wait_ms_max });
    match call(shared, who, request, None).await {
        Ok(Reply::Task(task)) => Ok(*task),
        Ok(_) => Ok(task),
        Err(problem) => Err(problem.of_task(task.task)),
    }
}

fn is_open(task: &v1::Task) -> bool {
    matches!(task.state, TaskState::Running | TaskState::Cancelling)
}

/// 202 while it is under way. Whoever waited for the end hears of a failure as of any other.
fn of_task(task: v1::Task, waited: bool) -> Result<Response<Body>, Problem> {
    let (id, open) = (task.task.clone(), is_open(&task));
    if let Some(fault) = task.fault.clone().filter(|_| waited && !open) {
        return Err(Problem::from(fault).of_task(id));
    }
    let status = if open { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = whole(status, &shown(&Reply::Task(Box::new(task)))?);
    if let Ok(location) = HeaderValue::from_str(&format!("{ROOT}/tasks/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) fn shown(reply: &Reply) -> Result<Value, Problem> {
    let shown = json::reply(reply).map(|(_, body)| body);
    shown.map_err(|error| {
        Fault::new(FaultCode::Internal, format!("the answer has no form in JSON: {error}")).into()
    })
}

pub(super) fn whole(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
