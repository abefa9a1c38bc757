//! Changes in several steps. Each step is an [`Action`] and its undo; `vmm_core::task::Workflow` says what comes next.
//!
//! ```text
//!   create   reserve ─► build ─► mark running        undo: forget ◄─ destroy on the agent
//!   start    reserve ─► build ─► mark running        undo: release ◄─ destroy on the agent
//!   restore  as start, from a file                   undo: saved as before, unless the guest may have gone on
//!   save     note the file ─► tell the agent         undo: phase as before
//!   define   tell the agent, then store it           undo: tell the opposite, if it may have been done
//!   grow     charge more ─► tell the guest           undo: charge as before ◄─ tell as before
//!   shrink   tell the guest, then charge less
//!   move     charge both ─► destination prepares ─► source sends ─► the VM is the destination's ─► it starts ─► the source lets go
//!   others   tell the agent, then record what it did
//! ```
//!
//! A restored guest that may have gone on is not taken back: its file is used up, and destroying it would be the end of it. It stays
//! on its host, and that host's report decides.
//!
//! A definition is its name, devices and settings; it is stored as changed exactly when the agent is known to have done it. When
//! that is not known in the end, because the agent was heard neither then nor when it was told to take it back, the definition
//! stays as it was, and the task says so.
//!
//! The first step of create, start and restore is stored together with the task, before the caller hears of it. A step that tells an
//! agent carries a key made of task and step, so that saying it twice does it once.
//!
//! Cancellation is looked at between steps, and while a call is being repeated because its outcome is not known. A manager
//! that stops leaves a change where it is, exactly as a crash would. Plan and position are stored with the task before a step is begun, so the next
//! manager goes on there: forwards or backwards, with the step that was under way once more. Agents are told again with the same key; of a build
//! only the host's report tells whether it was begun, so the host is looked at instead.

mod act;
mod call;
mod define;
#[cfg(test)]
mod halt;
mod job;
mod moves;
mod plans;
mod record;

pub(crate) use define::{applied, taken_back};
#[cfg(test)]
pub(crate) use halt::{Halts, Moment};
pub(crate) use job::Job;
pub(crate) use moves::{Leg, Move};
pub(crate) use plans::{Construction, Plan};

use std::time::Duration;

use vmm_proto::v1::{Request, VmPhase};

use crate::store::{Charge, SavedState};

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Done when the task was stored.
    Reserved,
    /// Takes a definition back.
    Forget,
    /// Takes a reservation back; the definition stays.
    Release,
    /// The agent builds and runs it, from this saved file if there is one.
    Build(Option<String>),
    /// After a restart: looks whether the agent has built it.
    Adopt,
    /// The agent destroys it, if it is there.
    Unbuild,
    /// Nothing, if the agent has refused to restore it; otherwise it cannot be taken back.
    Unrestore,
    /// It runs.
    MarkRunning,
    /// Charges this.
    Charge(Charge),
    /// Stores a phase.
    Phase(VmPhase),
    /// Its memory is being saved there.
    Saving(Box<SavedState>),
    /// Tells the agent, for at most this long, and records what came of it.
    Tell(Box<Request>, Duration),
    /// Takes the first back by the second, for at most this long each, if the first may have been done.
    TellBack(Box<(Request, Request)>, Duration),
    /// A leg of a move between hosts.
    Move(Box<Move>, Leg),
}

impl Action {
    /// May it come to nothing? What follows once a VM has moved is done, or left to a reconciler.
    #[cfg(test)]
    pub(crate) fn may_fail(&self) -> bool {
        !matches!(self, Self::Move(_, Leg::Release))
    }
}
