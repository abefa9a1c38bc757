//! The one change of a VM that waits for its guest, and who waits for it.

use std::time::Duration;

use tokio::time::Instant;

use super::hotplug::{MemoryWait, VcpuWait};
use super::runner::Reply;
use super::{ChangeError, Outcome};

/// A change that waits for its guest.
pub(crate) enum Pending {
    Down(DownWait),
    Vcpus(VcpuWait),
    Memory(MemoryWait),
}

/// Requests that one going down answers.
const JOINED_MAX: usize = 16;

/// What a guest can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Poweroff,
    Reboot,
}

impl Wish {
    /// The word in `control/shutdown`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
        }
    }
}

/// A guest was asked to go down.
pub(crate) struct DownWait {
    pub(super) wish: Wish,
    pub(super) wait: Duration,
    pub(super) deadline: Instant,
    replies: Vec<Reply>,
}

impl DownWait {
    pub(super) fn new(wish: Wish, wait: Duration, deadline: Instant, reply: Reply) -> Self {
        Self { wish, wait, deadline, replies: vec![reply] }
    }

    /// One more who wants the same.
    pub(crate) fn join(&mut self, reply: Reply) {
        if self.replies.len() < JOINED_MAX {
            self.replies.push(reply);
        } else {
            let _ = reply.send(Err(ChangeError::Busy));
        }
    }
}

impl Pending {
    /// When the timer must ring.
    pub(crate) fn due(&self) -> Instant {
        match self {
            Self::Down(wait) => wait.deadline,
            Self::Vcpus(wait) => wait.due(),
            Self::Memory(wait) => wait.due(),
        }
    }

    /// Ends the wait with an answer for all who asked.
    pub(crate) fn answer(self, outcome: Outcome) {
        for reply in self.into_replies() {
            let _ = reply.send(outcome.clone());
        }
    }

    pub(super) fn into_replies(self) -> Vec<Reply> {
        match self {
            Self::Down(wait) => wait.replies,
            Self::Vcpus(wait) => vec![wait.reply],
            Self::Memory(wait) => vec![wait.reply],
        }
    }

    pub(super) fn wish(&self) -> Option<Wish> {
        match self {
            Self::Down(wait) => Some(wait.wish),
            _ => None,
        }
    }
}
