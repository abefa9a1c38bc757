//! How a running guest moves: which pages, when, packed how, and when to stop it. Pure: what happened goes in, what to do comes out.
//!
//! ```text
//!   compact ──► log ──► first pass ──► sprint ──────────► suspend ──► rest ──► commit
//!   (balloon,   probe    cool pages,    what is left,        │
//!    or hints)  beside   ascending      coolest first        │ stands still
//!                                         │    ▲             │
//!                                         ▼    │ resume      ▼
//!                                        brake ┘           abort from anywhere before commit: as if nothing had been
//! ```
//!
//! - [`policy`]: the seam, [`Policy`], with events, actions and reasons. A sender on Xen and a simulator look the same from inside.
//! - [`layered`]: ours. [`reference`](mod@reference): Xen's loop and QEMU's in the same trait, to be measured beside it.
//! - [`pages`], [`layer`], [`bitmap`]: what is known of each page, in less than 4 bytes.
//! - [`rate`], [`choose`], [`compaction`], [`brake`]: what the link carries, which packer, how small first, how slow at last.
//! - [`forecast`](mod@forecast): how it would go, from a probe. [`bound`]: what the best could have done.
//! - [`rounds`]: when to stop a guest that is copied in rounds by somebody else.
//! - [`codec`]: the encodings themselves.
//!
//! What must hold: every page's last content is sent before [`Action::Commit`], whatever was lost on the way (MIG2); a page is sent at
//! most once between two harvests; it ends, by the deadline at the latest; the guest loses no more than its budget; whatever way
//! out is taken, the brake is off. `tests/` holds each under random writers, losses and refusals.
//!
//! It fails by [`Reason`], which says what would help.

pub mod bitmap;
pub mod bound;
pub mod brake;
pub mod choose;
pub mod codec;
pub mod compaction;
pub mod forecast;
pub mod layer;
pub mod layered;
pub mod pages;
pub mod policy;
pub mod rate;
pub mod reference;
pub mod rounds;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use bitmap::Bitmap;
pub use forecast::forecast;
pub use layered::{Layered, Options};
pub use policy::{
    Action, BalloonReading, Batch, Brake, Encoding, Event, Item, Keep, Outcome, Pack, Policy,
    Reason, Tricks,
};

use crate::units::Kib;

/// A page, of Xen on x86 and of ours.
pub const PAGE_BYTES: u32 = 4096;
/// Pages in a batch: 1 MiB at most, a few milliseconds of a gigabit link, and a quarter of what Xen maps at once.
pub const BATCH_PAGES_MAX: usize = 256;
/// What time is counted in: so often the log is taken.
pub const EPOCH: Duration = Duration::from_millis(50);

/// A page of a guest by its number, as in Xen's linear physical space. Guests of up to 16 TiB have such numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pfn(pub u32);

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What is to be moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// Numbers of pages, holes included: what a log-dirty bitmap covers.
    pub pages: u32,
    /// What it holds.
    pub held: Kib,
    /// What it says it uses; unknown without an agent inside.
    pub used: Option<Kib>,
    /// What it may not be made smaller than.
    pub floor: Kib,
    /// Whether it tells which pages hold nothing.
    pub gives_hints: bool,
    /// What the link is expected to carry, in bytes a second, until it was measured.
    pub link_bytes_per_s: u64,
    /// Encoders that work at once.
    pub threads: u32,
    /// What no page is part of: stop, device state, start.
    pub fixed: Duration,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The guest stands still for no longer, as far as that can be predicted.
    pub downtime_target: Duration,
    /// When that cannot be had, for no longer than this. The same or more.
    pub downtime_max: Duration,
    /// It is over by then, one way or the other: with what is sent after the stop on top.
    pub deadline: Duration,
    /// What the guest may lose of its time to the brake. A stated budget: never exceeded.
    pub brake_budget: Duration,
    /// So many seconds of migration are worth one of downtime. 0: stop as soon as it is allowed.
    pub downtime_weight: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            downtime_target: Duration::from_millis(300),
            downtime_max: Duration::from_millis(300),
            deadline: Duration::from_secs(3600),
            brake_budget: Duration::from_secs(5),
            downtime_weight: 1.0,
        }
    }
}

impl Limits {
    /// Up to so many bytes written again for each that is sent, another pass gains more than it costs: it costs `r·x` seconds and
    /// takes `(1-r)·x` off the downtime, so it pays while `r < w / (1 + w)`.
    #[must_use]
    pub fn ratio_max(&self) -> f64 {
        let weight = self.downtime_weight.max(0.0);
        weight / (1.0 + weight)
    }
}
