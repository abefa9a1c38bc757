//! Changes in several steps. Each step is an [`Action`] and its undo; `vmm_core::task::Workflow` says what comes next.
//!
//! ```text
//!   create   reserve ─► build ─► mark running        undo: forget ◄─ destroy on the agent
//!   start    reserve ─► build ─► mark running        undo: release ◄─ destroy on the agent
//!   grow     charge more ─► tell the guest           undo: charge as before ◄─ tell as before
//!   shrink   tell the guest, then charge less
//!   others   tell the agent, then record what it did
//! ```
//!
//! The first step of create and start is stored together with the task, before the caller hears of it. A step that tells an
//! agent carries a key made of task and step, so that saying it twice does it once.
//!
//! Cancellation is looked at between steps, and while a call is being repeated because its outcome is not known. A manager
//! that stops leaves a change where it is, exactly as a crash would: the next one finds the task in the store.

mod act;
mod call;
mod job;
mod plans;
mod record;

pub(crate) use job::Job;
pub(crate) use plans::{build_plan, grow_plan, resume_plan, tell_plan};

use std::time::Duration;

use vmm_proto::v1::{Request, VmPhase};

use crate::store::Charge;

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Done when the task was stored.
    Reserved,
    /// Takes a definition back.
    Forget,
    /// Takes a reservation back; the definition stays.
    Release,
    /// The agent builds and runs it.
    Build,
    /// After a restart: looks whether the agent has built it.
    Adopt,
    /// The agent destroys it, if it is there.
    Unbuild,
    /// It runs.
    MarkRunning,
    /// Charges this.
    Charge(Charge),
    /// Stores a phase.
    Phase(VmPhase),
    /// Tells the agent, for at most this long, and records what came of it.
    Tell(Box<Request>, Duration),
}
