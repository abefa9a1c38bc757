//! Why a guest is not sent.

use vmm_core::migration::{Pfn, Reason};
use xen_bindings::XenError;
use xen_bindings::stream::StreamError;

use crate::migrate::link::LinkError;

/// What a pilot could not do, in words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct PilotError {
    pub(crate) reason: String,
}

impl PilotError {
    pub(crate) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Why a guest is not sent. Whatever it is, the log is off, the brake is off and the balloon is free; a guest that was suspended still is:
/// resume it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Policy(#[from] Reason),
    #[error("cancelled")]
    Cancelled,
    #[error("the connection to the other host ended: {0}; migrate again")]
    Link(#[from] LinkError),
    #[error(
        "the other host took nothing for {seconds} s: look at the network and at its load, then migrate again"
    )]
    Stalled { seconds: u64 },
    #[error("{0}")]
    Pilot(#[from] PilotError),
    #[error("the guest cannot be copied: {0}")]
    Xen(#[from] XenError),
    #[error("the guest's state cannot be written down: {0}")]
    State(#[from] StreamError),
    #[error(
        "what the guest was promised of its processor changed while it was copied; migrate again"
    )]
    OtherProcessor,
    #[error("the guest's image is {0}: libxenguest here is another version than this agent knows")]
    Foreign(&'static str),
    #[error("no pipe or no thread is left for a save: {0}")]
    NoPipe(String),
    #[error("there is no such domain")]
    NoDomain,
    #[error("page numbers go up to {end:#x}: guests of more than 16 TiB cannot move")]
    TooLarge { end: u64 },
    #[error("the guest was given memory at its top while it was copied; migrate again")]
    Grew,
    #[error("page {page} could not be copied although it is there; migrate again")]
    Incomplete { page: Pfn },
    #[error("no memory is left for the encoders: {0}")]
    NoRoom(String),
}

impl SendError {
    /// Of the pipes to a save.
    pub(crate) fn pipe(error: std::io::Error) -> Self {
        Self::NoPipe(error.to_string())
    }
}
