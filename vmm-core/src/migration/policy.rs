//! The seam between what decides and what carries out: what happened goes in, what to do next comes out.
//!
//! ```text
//!            observe(now, Event)                 decide(now) -> Action
//!   driver ────────────────────────► Policy ────────────────────────► driver
//!     ▲   harvested, sent, acked,            send, harvest, wait, cap,    │
//!     │   lost, balloon, suspended           suspend, commit, abort       │
//!     └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The driver is a sender on Xen, or a simulator; a policy cannot tell. It asks for the next action when the last one is done, and
//! asks for a batch only while its own queue has room: how much is in flight is the driver's affair, for it knows the link.
//! A page counts as sent when it is handed over; if it may not have arrived, [`Event::Lost`] brings it back.

use std::time::Duration;

use super::{Bitmap, Pfn};
use crate::units::Kib;

/// How a page may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encoding {
    /// 4096 zero bytes.
    Zero,
    /// The same as a page that the destination has.
    Same,
    /// What differs from the last sent copy.
    Delta,
    /// Blocks that differ from what was last sent, by their sums.
    Blocks,
    /// Packed by LZ4.
    Lz4,
    /// Packed by Zstandard.
    Zstd,
    /// As it is.
    Raw,
}

impl Encoding {
    /// All, in the order in which a receiver numbers them.
    pub const ALL: [Self; 7] =
        [Self::Zero, Self::Same, Self::Delta, Self::Blocks, Self::Lz4, Self::Zstd, Self::Raw];
}

/// How a page shall be packed when nothing better than packing is found for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// Not at all.
    Raw,
    /// By LZ4, if that makes it smaller.
    Lz4,
    /// By Zstandard, if that makes it smaller.
    Zstd,
}

/// What may be tried on a page before it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tricks {
    /// Find pages of zeros.
    pub zero: bool,
    /// Find pages that the destination has under another number.
    pub same: bool,
    /// Send what differs from what was last sent, where something is remembered of it.
    pub delta: bool,
}

/// What is remembered of a page as it was sent, so that the next time what differs is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Nothing.
    #[default]
    Nothing,
    /// Sums of its blocks: 128 bytes.
    Sums,
    /// All of it: 4096 bytes.
    Copy,
}

/// One page of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub page: Pfn,
    /// How to pack it.
    pub pack: Pack,
    /// What to remember of it; less when there is no room.
    pub keep: Keep,
}

/// Pages to send together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// At most [`super::BATCH_PAGES_MAX`], in the order in which they are to be sent.
    pub items: Vec<Item>,
    /// What may be tried on each.
    pub tricks: Tricks,
}

/// What became of a page of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it went.
    pub encoding: Encoding,
    /// Its size on the wire.
    pub bytes: u16,
    /// Processor time that it took, in nanoseconds.
    pub nanos: u32,
    /// What is remembered of it now.
    pub kept: Keep,
}

/// What the balloon and the guest behind it look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalloonReading {
    /// What the guest holds now.
    pub held: Kib,
    /// The guest says that it is short of memory: it swaps, or stalls.
    pub is_pressed: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The balloon was looked at.
    Balloon(BalloonReading),
    /// Log-dirty runs: whatever is written from now on will be in a harvest. These pages do not exist.
    Logging {
        /// Holes and pages that were ballooned out.
        absent: &'a Bitmap,
    },
    /// Pages that the guest says hold nothing. Asked for after logging began, so that a later write is in a harvest.
    Free {
        /// Which.
        pages: &'a Bitmap,
    },
    /// What was written since the last harvest; the log is clean again.
    Harvested {
        /// Which pages.
        dirty: &'a Bitmap,
    },
    /// What was written since the last harvest; the log stays.
    Peeked {
        /// Which pages.
        dirty: &'a Bitmap,
    },
    /// How many pages were written since the last harvest; the log stays.
    Counted {
        /// How many.
        pages: u32,
    },
    /// A batch is encoded and on its way.
    Sent {
        /// As it was asked for.
        batch: &'a Batch,
        /// One for each item, in their order.
        outcomes: &'a [Outcome],
    },
    /// What was to be weighed would take this.
    Weighed {
        /// One for each item, in their order.
        outcomes: &'a [Outcome],
    },
    /// So much has arrived.
    Acked {
        /// How many of [`Action::Send`] and [`Action::Release`] are done with it.
        sends: u32,
        /// How much.
        bytes: u64,
        /// How long the link was busy with it.
        busy: Duration,
    },
    /// These may not have arrived.
    Lost {
        /// How many of [`Action::Send`] and [`Action::Release`] they were.
        sends: u32,
        /// Which.
        pages: &'a Bitmap,
    },
    /// The guest stands still. This was written since the last harvest, and nothing more will be.
    Suspended {
        /// Which pages.
        dirty: &'a Bitmap,
    },
    /// The guest did not suspend and runs on.
    SuspendFailed,
}

/// How much of its processor time a guest is denied, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Brake(u8);

impl Brake {
    /// It runs as it likes.
    pub const OFF: Self = Self(0);

    /// So many percent are denied, at most 99: a guest that gets nothing would be suspended, not braked.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self(if percent > 99 { 99 } else { percent })
    }

    /// The same in percent, 0 to 99.
    #[must_use]
    pub const fn in_percent(self) -> u8 {
        self.0
    }

    /// The share that is denied, 0 to 0.99.
    #[must_use]
    pub fn denied(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// Why a migration is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The guest writes faster than the link carries, and the brake may not be pulled harder or longer.
    #[error(
        "the guest writes faster than the link carries: it would stand still for {downtime_ms} ms where {allowed_ms} ms are allowed; \
         allow it a longer downtime or more of a slowdown, or use a faster network"
    )]
    DoesNotConverge {
        /// What a stop would cost now.
        downtime_ms: u64,
        /// What may be.
        allowed_ms: u64,
    },
    /// Nobody logs what it writes, so it stands still for all of it.
    #[error(
        "its host's Xen has no shadow paging and cannot log what a PV guest writes, so that the guest stands still while it is copied: \
         for {downtime_ms} ms where {allowed_ms} ms are allowed; allow a longer downtime, or use a faster network"
    )]
    MustStand {
        /// How long.
        downtime_ms: u64,
        /// What may be.
        allowed_ms: u64,
    },
    /// It takes too long.
    #[error(
        "not done after {seconds} s, with {left_bytes} bytes left; allow more time or use a faster network"
    )]
    Deadline {
        /// The time that was allowed.
        seconds: u64,
        /// What is left to send.
        left_bytes: u64,
    },
    /// The guest would not stop.
    #[error(
        "the guest did not suspend when asked {asked} times; look whether its kernel answers the toolstack"
    )]
    WouldNotSuspend {
        /// How often.
        asked: u32,
    },
    /// The link loses what is sent.
    #[error(
        "pages were lost {losses} times while the guest stood still; look at the network between the hosts"
    )]
    LinkLost {
        /// How often.
        losses: u32,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the guest to hold this much, look again soon.
    Balloon {
        /// How much.
        target: Kib,
    },
    /// Let the balloon move no more until the end; then begin to log.
    PinAndLog,
    /// Ask which pages hold nothing.
    AskFree,
    /// Tell the destination that these hold nothing: allocated, no contents.
    Release {
        /// Which.
        pages: Bitmap,
    },
    /// Take and clean the log.
    Harvest,
    /// Look at the log.
    Peek,
    /// Count what is in the log.
    Count,
    /// Encode and send.
    Send(Batch),
    /// Encode as if to send, and say what each would take. Nothing is sent, and nothing of it is remembered.
    Weigh(Batch),
    /// Brake the guest.
    Cap(Brake),
    /// Do nothing until then, or until something happens.
    Wait {
        /// On the clock of `now`.
        until: Duration,
    },
    /// Stop the guest, take the last of the log.
    Suspend,
    /// Everything has been sent and has arrived: hand over.
    Commit,
    /// Give up: the guest runs on here, the log is switched off, the balloon unpinned, the copy destroyed. The brake is off.
    Abort(Reason),
}

/// What decides how a guest moves.
///
/// The clock of `now` begins where the driver likes and does not go back.
pub trait Policy {
    /// Something happened.
    fn observe(&mut self, now: Duration, event: &Event<'_>);

    /// What to do next. After [`Action::Commit`] and [`Action::Abort`] the answer stays the same.
    fn decide(&mut self, now: Duration) -> Action;
}
