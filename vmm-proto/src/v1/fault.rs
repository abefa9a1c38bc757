//! Faults: a closed list. Each says what to do.

use serde::{Deserialize, Serialize};

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultCode {
    /// No VM has this id or name.
    UnknownVm,
    /// No host has this id or name.
    UnknownHost,
    /// No task has this id.
    UnknownTask,
    /// No pool has this id or name.
    UnknownPool,
    /// No site has this id or name.
    UnknownSite,
    /// No group has this id or name.
    UnknownGroup,
    /// The request's contents are refused.
    BadRequest,
    /// Not in this state.
    BadState,
    /// The name is taken, or something else runs with this id.
    Conflict,
    /// No host can take the VM.
    NoCapacity,
    /// The host has not enough memory.
    OutOfMemory,
    /// A file that the request names is missing on the host.
    FileNotFound,
    /// A kernel or initramfs cannot be used.
    BadImage,
    /// The caller may not do this.
    Denied,
    /// This peer has no such verb.
    Unsupported,
    /// The host's agent cannot be reached.
    HostUnreachable,
    /// It took too long. What happened so far is in the message.
    TimedOut,
    /// It was cancelled and taken back.
    Cancelled,
    /// The idempotency key was used for another request.
    IdempotencyMismatch,
    /// Too much at once; try again later.
    Busy,
    /// Xen, xenstore or dom0 refused.
    HostFailed,
    /// A defect of this software.
    Internal,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// For programs.
    #[serde(rename = "@code")]
    pub code: FaultCode,
    /// Where it failed: `manager`, or `agent NAME`.
    #[serde(rename = "@hop")]
    pub hop: String,
    /// Would the same request make sense again?
    #[serde(rename = "@retryable")]
    pub retryable: bool,
    /// For people: what happened and what to do.
    #[serde(rename = "@message")]
    pub message: String,
}

impl Fault {
    /// A fault that is retryable if its code says so; the hop is filled in by whoever answers.
    #[must_use]
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        let retryable = matches!(
            code,
            FaultCode::Busy
                | FaultCode::HostUnreachable
                | FaultCode::TimedOut
                | FaultCode::NoCapacity
        );
        Self { code, hop: String::new(), retryable, message: message.into() }
    }

    /// Names the hop, unless a hop behind this one did.
    #[must_use]
    pub fn at(mut self, hop: &str) -> Self {
        if self.hop.is_empty() {
            hop.clone_into(&mut self.hop);
        }
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        if self.hop.is_empty() { Ok(()) } else { write!(f, " [{:?} at {}]", self.code, self.hop) }
    }
}

impl std::error::Error for Fault {}
