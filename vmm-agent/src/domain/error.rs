//! Why a change of a VM did not happen: a step of it ([`StepError`]), or the change as a whole ([`ChangeError`]).

use std::time::Duration;

use vmm_core::units::Kib;
use vmm_core::vm::admission::Denied;
use xen_bindings::{StoreError, XenError, XenErrorKind};

use crate::dom0::{Dom0Error, Dom0ErrorKind};
use crate::journal::JournalError;
use crate::memory::NoRoom;
use crate::saved::SavedError;

/// One step on the host that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Xen(#[from] XenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Dom0(#[from] Dom0Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{what} did not happen within {} s", limit.as_secs())]
    Waited { what: String, limit: Duration },
    #[error("the guest did not {what} within {} s: {note}", limit.as_secs_f32())]
    GuestDidNot { what: String, limit: Duration, note: &'static str },
    #[error(transparent)]
    Saved(#[from] SavedError),
    #[error("the guest ended meanwhile")]
    GuestEnded,
    #[error(
        "the disk image {disk} is in use by VM {by}; stop that VM, or make both disks read-only"
    )]
    DiskInUse { disk: String, by: String },
    #[error("the disk image {disk} is in use outside of this agent: {by}; end that")]
    DiskInUseElsewhere { disk: String, by: String },
    #[error("the domain or its backend may still write to {0}")]
    ImageInUse(String),
    #[error("the transfer between the hosts failed: {0}")]
    Transfer(String),
    /// Of this host's own accord: the other one knows only that nothing more came.
    #[error("the guest was not sent: {0}")]
    NotSent(String),
    #[error("the migration was taken back")]
    Discarded,
    #[error("the change was cancelled")]
    Cancelled,
    #[error("{0} is missing, which an earlier step makes")]
    OutOfOrder(&'static str),
}

/// A change that did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("another change of this VM is under way; wait for it, or destroy the VM")]
    Busy,
    #[error("the agent is stopping; try again when it runs")]
    Stopping,
    #[error("the change was ended by another one: {0}")]
    Superseded(&'static str),
    #[error(
        "the host has {free} free for VMs, and {needed} are needed; free some, or use another host"
    )]
    OutOfMemory { needed: Kib, free: Kib },
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    TimedOut(String),
    #[error("the VM stopped meanwhile: {0}")]
    Stopped(String),
    /// The VM has ended, and not everything of it is off the host.
    #[error("{0}; destroy the VM again")]
    LeftOver(String),
    #[error("step {step} failed: {source}{}", left_over_note(left_over))]
    Step { step: &'static str, source: StepError, left_over: Vec<&'static str> },
}

fn left_over_note(left_over: &[&'static str]) -> String {
    if left_over.is_empty() {
        "; everything is taken back".into()
    } else {
        format!("; left over after the attempt to take it back: {}", left_over.join(", "))
    }
}

impl ChangeError {
    /// A single step that had nothing to take back.
    pub(crate) fn step(step: &'static str, source: impl Into<StepError>) -> Self {
        Self::Step { step, source: source.into(), left_over: Vec::new() }
    }

    /// Something is on the host that was not there before.
    pub(crate) fn has_left_over(&self) -> bool {
        matches!(self, Self::Step { left_over, .. } if !left_over.is_empty())
    }
}

/// What a caller can do about a failed step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    NameAnotherFile,
    UseAnotherImage,
    FreeMemory,
    StopTheOther,
    LookAtTheGuest,
    NameAFreePath,
    UseAnotherFile,
    None,
}

impl StepError {
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::Xen(error) => match error.kind() {
                XenErrorKind::NotFound => Remedy::NameAnotherFile,
                XenErrorKind::BadImage => Remedy::UseAnotherImage,
                XenErrorKind::OutOfMemory => Remedy::FreeMemory,
                _ => Remedy::None,
            },
            Self::Dom0(error) if error.kind == Dom0ErrorKind::NotFound => Remedy::NameAnotherFile,
            Self::DiskInUse { .. } | Self::DiskInUseElsewhere { .. } => Remedy::StopTheOther,
            Self::Saved(SavedError::NotFound(_)) => Remedy::NameAnotherFile,
            Self::Saved(SavedError::Exists(_)) => Remedy::NameAFreePath,
            Self::Saved(SavedError::Xen(_) | SavedError::Io { .. }) => Remedy::None,
            Self::Saved(_) => Remedy::UseAnotherFile,
            Self::GuestDidNot { .. } | Self::GuestEnded => Remedy::LookAtTheGuest,
            _ => Remedy::None,
        }
    }

    /// Whoever decides has taken it back.
    pub(crate) fn is_discard(&self) -> bool {
        matches!(self, Self::Discarded)
    }

    pub(crate) fn is_cancel(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Saved(SavedError::Cancelled))
    }
}
