//! How a worker fails, apart from what it answers.

use std::time::Duration;

use xen_bindings::{XenError, XenErrorKind};

const ETIMEDOUT: i32 = 110;

/// A worker that did not answer. What it was at may be half done: the caller takes it back as after any failed step.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum WorkerError {
    #[error("no worker process could be started: {0}")]
    Start(String),
    #[error("all worker processes are busy, and none was free within {} s: try again later", .0.as_secs())]
    Busy(Duration),
    #[error("the worker process took no request: {0}")]
    Send(String),
    #[error("the worker process ended without an answer ({status}){}", words(said))]
    Died { status: String, said: String },
    #[error("the worker process did not end within {} s and was killed{}", limit.as_secs(), words(said))]
    Overdue { limit: Duration, said: String },
    #[error(
        "the worker process answered what no worker says ({what}) and was killed{}",
        words(said)
    )]
    Garbage { what: String, said: String },
}

fn words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}

impl WorkerError {
    /// As a failed operation of Xen.
    pub(super) fn of_operation(&self, operation: &'static str) -> XenError {
        let kind = match self {
            Self::Busy(_) => XenErrorKind::Busy,
            Self::Overdue { .. } => XenErrorKind::Other(ETIMEDOUT),
            _ => XenErrorKind::Other(0),
        };
        XenError::new(operation, kind).detail(self.to_string())
    }
}
