//! Hears one host: a long poll after the other, with growing pauses while it does not answer.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vmm_core::id::HostId;
use vmm_proto::v1::{AgentReport, AwaitReport, Reply, Request};

use crate::agents::AgentCall;
use crate::app::App;

/// The first pause after a failure; doubles up to the configured maximum.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// An agent that has news again and again is not asked more often than this: what happens together is told together.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// Runs until the host is removed or the manager stops.
pub(super) async fn hear(app: Arc<App>, host: HostId, end: CancellationToken) {
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = poll_on(&app, host) => {}
    }
}

async fn poll_on(app: &App, host: HostId) {
    let mut cursor = String::new();
    let mut backoff = BACKOFF_FIRST;
    let mut answers = true;
    loop {
        let Some(poll) = app.begin_poll(host) else { return };
        if poll.everything {
            cursor.clear();
        }
        let heard = match ask(app, host, &cursor).await {
            Ok(report) => take(app, host, poll.number, &report).map(|()| report.cursor),
            Err(why) => Err(why),
        };
        match heard {
            Ok(next) => {
                if !answers {
                    tracing::info!(host_id = %host, "the host is heard again");
                }
                (cursor, backoff, answers) = (next, BACKOFF_FIRST, true);
                tokio::time::sleep(POLL_PAUSE).await;
            }
            Err(why) => {
                if answers {
                    tracing::warn!(host_id = %host, why, "the host is not heard");
                }
                answers = false;
                cursor.clear();
                tokio::time::sleep(app.jittered(backoff)).await;
                backoff = (backoff * 2).min(app.config.backoff_max);
            }
        }
    }
}

async fn ask(app: &App, host: HostId, cursor: &str) -> Result<AgentReport, String> {
    let wait_ms_max = u64::try_from(app.config.poll_wait.as_millis()).unwrap_or(u64::MAX);
    let call = AgentCall {
        request: Request::AwaitReport(AwaitReport { cursor: cursor.to_owned(), wait_ms_max }),
        deadline: app.config.poll_wait + app.config.call_margin,
        key: None,
    };
    match app.call_once(host, call).await {
        Ok(Reply::AgentReport(report)) => Ok(report),
        Ok(_) => Err("it answered with something else than a report".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn take(app: &App, host: HostId, poll: u64, report: &AgentReport) -> Result<(), String> {
    app.take_report(host, poll, report)
        .map_err(|another| format!("{another}; remove the host and add it again if that is meant"))
}
