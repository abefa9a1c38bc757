//! Who gives memory back when a host has too little of it, and who gets it when there is some: the balloon policy, pure.
//!
//! ```text
//!   snapshot (free, reserve, claimed; each VM: range, held, limit, target, standing) + wish
//!       │
//!     plan() ──► targets to set, VMs to name as stuck ──► the caller carries it out, looks again, asks again
//!       │
//!       └──────► Done │ Wait (memory is on its way) │ Cannot (so much is missing)
//! ```
//!
//! The caller keeps one [`Progress`] a VM and shows it every look; from it comes whether a guest follows its target. Nothing else
//! is remembered from one plan to the next, so a plan can be replayed from its inputs.
//!
//! # The rules
//!
//! - **Range.** No target below a VM's `dynamic_min` or above its `dynamic_max`.
//! - **Fair.** What is missing is shared in proportion to what each VM can still give, what is to spare in proportion to what each
//!   lacks; a weight makes a VM give less and get more. ([`share`](mod@share))
//! - **Steps.** A target moves at most a step ahead of what the guest holds, so that a guest that cannot follow is found out
//!   before it is asked for everything, and so that others who are faster leave less to ask for.
//! - **Stuck guests.** One that makes no progress for [`STUCK_AFTER`] is named, left alone, and tried again after a pause that
//!   doubles with each failure; the others carry its share.
//! - **Monotone.** More memory wanted never asks less of a VM, as long as it can be had at all. What cannot be had is refused
//!   before anybody is asked.
//! - **Hysteresis.** To make room lowers targets and never raises one; to give back raises and never lowers, and leaves
//!   [`HEADROOM`] free. Where both have nothing to do, nothing moves.
//! - **It ends.** While room is made targets only fall, by a page at least, and not below the minimum; a guest that does not
//!   follow is stuck after a bounded time.
//!
//! # Beside XAPI's squeezed
//!
//! Its policy is of the same kind (proportional, stuck guests left out) and was the model. Different here: it sets every VM on the
//! same share of its range, in both directions at once, so that a start moves memory between VMs that have nothing to do with
//! it; it asks for everything in one step; when it cannot succeed, it says so only after all guests are at their minimum; it
//! calls a guest stuck after 5 s without any movement, so one that gives a page and takes it back is never stuck, and one that
//! was stuck is not tried again until it moves by itself; VMs have no weight.

mod plan;
mod progress;
pub mod share;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::id::VmId;
use crate::units::Kib;

pub use plan::plan;
pub use progress::{Progress, RETRY_MAX, RETRY_MIN, STUCK_AFTER};

/// A target is reached within this much: a domain's special pages are counted with its memory.
pub const TOLERANCE: Kib = Kib::from_mib(1);
/// What giving back leaves free, so that the next small wish moves nobody.
pub const HEADROOM: Kib = Kib::from_mib(32);
/// A target runs ahead of what the guest holds by no more than this, …
pub const STEP_MIN: Kib = Kib::from_mib(64);
/// … or one part of so many of what it holds, whichever is more.
pub const STEP_PARTS: u64 = 8;

/// Whether a VM takes part now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Able,
    /// A change of its own is under way; it is left alone until that is over.
    Busy,
    /// It did not follow; it is left alone until it is tried again.
    Stuck,
}

/// One VM that may be ballooned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmBalloon {
    /// Which.
    pub vm: VmId,
    /// The least that it may be taken down to.
    pub dynamic_min: Kib,
    /// The most that it may be given: what was agreed.
    pub dynamic_max: Kib,
    /// What it holds.
    pub held: Kib,
    /// What it may hold without asking anybody: Xen's limit. Memory below that is not free, whoever holds it.
    pub limit: Kib,
    /// What it is asked to hold.
    pub target: Kib,
    /// When it last made progress towards a lower target, or was last at its target.
    pub moved_at: Duration,
    /// Whether it takes part.
    pub standing: Standing,
    /// Its weight among the others; never 0.
    pub weight: u32,
}

impl VmBalloon {
    /// What is not free because of it.
    #[must_use]
    pub fn grip(&self) -> Kib {
        self.held.max(self.limit)
    }

    /// What it was asked to give back and has not.
    #[must_use]
    pub fn owes(&self) -> Kib {
        match self.grip().saturating_sub(self.target) {
            owed if owed > TOLERANCE => owed,
            _ => Kib::ZERO,
        }
    }

    /// All that it could give. A guest that rests near its minimum has nothing more.
    fn could_give(&self) -> Kib {
        let rests = self.target <= self.dynamic_min && self.owes() == Kib::ZERO;
        if rests { Kib::ZERO } else { self.grip().saturating_sub(self.dynamic_min) }
    }
}

/// The host at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When, on any clock that does not go back.
    pub now: Duration,
    /// Memory that nobody holds.
    pub free: Kib,
    /// What of it must stay free.
    pub reserve: Kib,
    /// What of it is spoken for: claims, promises, and what VMs may take up to their limits.
    pub claimed: Kib,
    /// The VMs that may be ballooned.
    pub vms: Vec<VmBalloon>,
}

impl Snapshot {
    /// What can be used at once.
    #[must_use]
    pub fn room(&self) -> Kib {
        self.free.saturating_sub(self.claimed).saturating_sub(self.reserve)
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// So much room in all.
    Room(Kib),
    /// Nothing: whoever has less than its maximum may have what is to spare.
    GiveBack,
}

/// What to do with one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask it to hold this much.
    SetTarget {
        /// Whom.
        vm: VmId,
        /// How much.
        target: Kib,
    },
    /// It does not follow: name it, ask it for no more than it has given, and tell its [`Progress`].
    Stuck {
        /// Who.
        vm: VmId,
        /// What it was asked for and kept.
        kept: Kib,
    },
}

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The wish is fulfilled, as far as it can be.
    Done,
    /// Memory is on its way: look again soon.
    Wait,
    /// So much would be missing if everybody who can gave all that it may.
    Cannot {
        /// How much.
        missing: Kib,
    },
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do, each VM at most once.
    pub actions: Vec<Action>,
    /// How things stand.
    pub verdict: Verdict,
}
