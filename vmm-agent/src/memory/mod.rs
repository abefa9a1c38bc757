//! The host's memory among its VMs: the balloon policy ([`vmm_core::balloon`]) carried out.
//!
//! ```text
//!   build, growth ─► room::promise ─ free? ─ yes ─► Promise
//!                                      └─ no ─► make_room: view ─► plan ─► carry_out ─┐
//!                                                  ▲                    │ a Change::Balloon for each VM's own task
//!                                                  └──── LOOK_EVERY ────┘   until there is room, or there can be none
//!   keep_giving_back: every GIVE_BACK_EVERY, after CALM ─► the same with the other wish
//! ```
//!
//! Only VMs that run, with a `memory-min` below their `memory`, take part. What a VM was agreed to have (`memory`, or what an operator
//! set since) is its upper bound; it stands in the domain's own xenstore tree beside its target, so that an agent that
//! restarts knows it. One wish is worked on at a time, in the order in which they came, so that two do not squeeze each other.
//!
//! # Who is charged what
//!
//! The manager charges a VM what was agreed, whatever it holds just now: ballooning never makes it overcommit. It helps when
//! memory is short all the same, because of domains of others, or of a dom0 that has grown.
//!
//! # How it fails
//!
//! - A guest does not follow: it is named, what it kept is its own again, the others are asked for its share; after a pause it is
//!   tried again. When there is nobody left to ask, the change fails with [`NoRoom`], which names who kept what.
//! - A guest takes back what it gave: it cannot, Xen's limit follows what it holds.
//! - The wish is cancelled, or its time is over: targets stay where they are until memory is given back.
//! - A VM's task is busy with a change of its own: it is left alone for a moment.

mod act;
mod give_back;
mod make_room;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::balloon::Progress;
use vmm_core::units::Kib;
use vmm_core::vm::VmName;
use xen_bindings::DomId;

pub(crate) use give_back::keep_giving_back;
pub(crate) use make_room::{can_make_room, make_room};
pub(crate) use view::{Agreement, agreement, anybody};

/// The longest that a change waits for other VMs to give memory back.
pub(crate) const ROOM_WAIT: Duration = Duration::from_secs(30);
/// How often guests that give memory back are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a VM's task may take to set a target.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long a VM that was busy is left alone.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// How often it is looked whether there is memory to give back.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);
/// How long there must have been some, and nobody in need of it.
const CALM: Duration = Duration::from_secs(30);

/// What the agent remembers about ballooning. None of it is believed against what Xen says.
pub(crate) struct Balloons {
    /// The policy's clock counts from here.
    origin: Instant,
    /// Held by the wish that is being worked on.
    turn: tokio::sync::Mutex<()>,
    book: Mutex<Book>,
}

/// By domain, since a new domain is a new guest.
#[derive(Default)]
struct Book {
    progress: BTreeMap<DomId, Progress>,
    /// What a stuck guest kept.
    kept: BTreeMap<DomId, Kib>,
    busy_until: BTreeMap<DomId, Duration>,
    /// When somebody last needed room.
    needed_at: Option<Duration>,
}

impl Default for Balloons {
    fn default() -> Self {
        Self { origin: Instant::now(), turn: tokio::sync::Mutex::default(), book: Mutex::default() }
    }
}

impl Balloons {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A VM that did not give back what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holdout {
    pub(crate) name: VmName,
    pub(crate) kept: Kib,
}

/// There is not enough memory, and ballooning cannot make it or did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct NoRoom {
    pub(crate) needed: Kib,
    pub(crate) free: Kib,
    pub(crate) holdouts: Vec<Holdout>,
    /// How long it was tried; zero when it was not worth trying.
    pub(crate) waited: Duration,
}

/// VMs that are named in a message.
const NAMED_MAX: usize = 8;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needed, free) = (self.needed.0.div_ceil(1024), self.free.mib());
        write!(f, "{needed} MiB are needed and {free} MiB are free for VMs; ")?;
        for Holdout { name, kept } in self.holdouts.iter().take(NAMED_MAX) {
            write!(f, "VM {name} did not give back {} MiB; ", kept.0.div_ceil(1024))?;
        }
        if self.holdouts.len() > NAMED_MAX {
            write!(f, "nor did {} more; ", self.holdouts.len() - NAMED_MAX)?;
        }
        match self.waited {
            Duration::ZERO => f.write_str("what VMs may be ballooned by does not suffice; ")?,
            waited => write!(f, "that is so after {} s; ", waited.as_secs())?,
        }
        f.write_str("free some, or use another host")
    }
}
