//! Events as they come: server-sent events around WaitEvents.
//!
//! Each message is one answer of WaitEvents: `event: changes`, its JSON as data, its cursor as id. A client that comes again with
//! `Last-Event-ID` goes on where it was. While nothing happens a comment comes, so that both ends know that the other is there.
//!
//! It ends when the token does, when the manager stops, or with a message `event: problem`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use futures_util::stream;
use vmm_proto::v1::{Events, Reply, Request, WaitEvents};

use super::answer::{STREAM, call, shown};
use super::guard::{Shared, Who};
use super::problem::Problem;

/// Silence is no longer than this.
const WAIT_MS: u64 = 15_000;
const LAST_ID: &str = "last-event-id";

struct Follower {
    shared: Arc<Shared>,
    who: Who,
    wait: WaitEvents,
    is_over: bool,
}

/// Answers with what changes, until somebody goes.
pub(super) fn follow(
    shared: Arc<Shared>,
    who: Who,
    request: Request,
    headers: &HeaderMap,
) -> Result<Response<Body>, Problem> {
    let Request::WaitEvents(mut wait) = request else {
        return Err(Problem::bad("only events can be followed"));
    };
    wait.wait_ms_max = WAIT_MS;
    if let Some(last) = headers.get(LAST_ID) {
        let text = last.to_str().map_err(|_| Problem::bad("Last-Event-ID is no cursor"))?;
        text.clone_into(&mut wait.cursor);
    }
    let follower = Follower { shared, who, wait, is_over: false };
    let messages = stream::unfold(follower, |mut follower| async move {
        let message = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(message)), follower))
    });
    let mut response = Response::new(Body::from_stream(messages));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAM));
    Ok(response)
}

impl Follower {
    async fn next(&mut self) -> Option<String> {
        let shared = &self.shared;
        let known = shared.tokens.find(&self.who.token, shared.clock.now());
        if self.is_over || shared.stop.is_cancelled() || known.as_ref() != Some(&self.who.principal)
        {
            return None;
        }
        let request = Request::WaitEvents(self.wait.clone());
        let told = match call(shared, &self.who, request, None).await {
            Ok(reply @ Reply::Events(_)) => self.told(reply),
            Ok(_) => return None,
            Err(problem) => Err(problem),
        };
        Some(told.unwrap_or_else(|problem| {
            self.is_over = true;
            format!("event: problem\ndata: {}\n\n", problem.text())
        }))
    }

    fn told(&mut self, reply: Reply) -> Result<String, Problem> {
        let body = shown(&reply)?;
        let Reply::Events(events) = reply else { return Ok(String::new()) };
        let is_quiet = is_quiet(&events);
        self.wait.cursor = events.cursor;
        if is_quiet {
            return Ok(": nothing new\n\n".to_owned());
        }
        Ok(format!("id: {}\nevent: changes\ndata: {body}\n\n", self.wait.cursor))
    }
}

fn is_quiet(events: &Events) -> bool {
    let Events { hosts, vms, tasks, pools, sites, gone, .. } = events;
    let counts = [hosts.len(), vms.len(), tasks.len(), pools.len(), sites.len(), gone.len()];
    !events.resync && counts.iter().sum::<usize>() == 0
}
