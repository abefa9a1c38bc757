//! A guest that is sent: a policy says what comes next, and this does it.
//!
//! ```text
//!               ┌── decide ◄── Layered ◄── observe ──┐
//!   drive.rs    │                                    │          one action after the other, each a few blocking steps
//!               ├─ Harvest, Peek, Suspend ─► source.rs ── DirtyLog, which frames there are, the machine's state
//!               ├─ Send ─► encode.rs ── types, map, copy ─► pack.rs, several at once ─► a frame ─► wire.rs ─► PageLink
//!               ├─ Wait ─► wire.rs, flow.rs ◄── how far the receiver is
//!               └─ Balloon, Cap, Suspend ─► Pilot
//! ```
//!
//! A frame is handed over while the next one is encoded. Its pages count as sent from the moment that they are copied: whatever is written
//! later is in the log. Whatever the link loses ends the migration: there is no going on over a
//! second connection yet. Blocks by sums ([`Options::sums`]) are off: a receiver would have to read back a page that it has handed to
//! libxenguest, or keep them all.
//!
//! A PV guest is copied by libxenguest, and sent by [`pv`].
//!
//! # The way out
//!
//! Once [`send`] answers, whatever it answers, the log is off and the brake is off. After an error the balloon is free as well, and a
//! guest that was suspended still is: the caller resumes it. After success the guest stands still and its balloon is held: who lets it go
//! on here after all releases both. A future that is dropped leaves the brake and the balloon as they are, and the log is off once the
//! step is done that was under way.

mod budget;
mod drive;
mod encode;
mod error;
mod flow;
mod pack;
mod pv;
mod share;
mod source;
mod wire;

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vmm_core::migration::layered::Progress;
use vmm_core::migration::{BalloonReading, Brake, Encoding, Limits, Options, Pack, Tricks};
use vmm_core::units::Kib;
use xen_bindings::{DomId, GuestKind};

use super::link::{Capped, PageLink};
use crate::env::{Backend, Blocking};

pub(crate) use error::{PilotError, SendError};
use share::Spent;

/// Memory for copies of pages that are written again and again, here and at the receiver.
pub(crate) const COPIES_BYTES: usize = 64 << 20;
/// What stop, the machine's state and start were measured to take, pages apart.
pub(crate) const FIXED: Duration = Duration::from_millis(150);

/// What the domain's owner does for a sender. A future may be dropped before it is done when the migration is cancelled.
pub(crate) trait Pilot: Send + Sync {
    /// Asks the guest to hold this much.
    fn balloon(&self, target: Kib) -> impl Future<Output = Result<(), PilotError>> + Send;

    /// What its balloon looks like.
    fn reading(&self) -> impl Future<Output = Result<BalloonReading, PilotError>> + Send;

    /// Nobody changes its memory, vCPUs and devices from now on, and its balloon's target is what it holds.
    fn pin(&self) -> impl Future<Output = Result<(), PilotError>> + Send;

    /// Takes [`Pilot::pin`] back. Called after errors only, also when it was not pinned.
    fn unpin(&self) -> impl Future<Output = ()> + Send;

    /// Denies it so much of its processor time.
    fn brake(&self, brake: Brake) -> impl Future<Output = Result<(), PilotError>> + Send;

    /// Asks it to suspend itself, and waits until it has. False when it runs on, and is not asked any more. Who resumes it after a
    /// migration that was cancelled in here must wait: a guest that has heard the request suspends a moment later.
    ///
    /// # Errors
    /// It has ended, or crashed.
    fn suspend(&self) -> impl Future<Output = Result<bool, PilotError>> + Send;
}

/// What is to be sent, and how.
pub(crate) struct Sending {
    pub(crate) backend: Backend,
    pub(crate) blocking: Blocking,
    /// A guest that runs.
    pub(crate) domid: DomId,
    pub(crate) kind: GuestKind,
    pub(crate) limits: Limits,
    pub(crate) options: Options,
    /// The most that the link carries, in bytes a second; `None` and 0: all that it can.
    pub(crate) bandwidth: Option<u64>,
    /// What it says that it uses, if it does, and what it may not be made smaller than.
    pub(crate) used: Option<Kib>,
    pub(crate) floor: Kib,
    /// What the link is expected to carry until it was measured.
    pub(crate) link_bytes_per_s: u64,
    /// A look at all frames that takes less is repeated once the guest stands still, whether or not anything tells that it is needed.
    pub(crate) look_max: Duration,
    /// Drawn at random for each migration.
    pub(crate) seed: [u8; 16],
}

/// A guest that was handed over whole, and stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// What the guest has.
    pub(crate) ram_bytes: u64,
    /// Bytes of the stream.
    pub(crate) sent_bytes: u64,
    /// How often the log was taken.
    pub(crate) rounds: u32,
    /// From the first byte to the last.
    pub(crate) elapsed: Duration,
    /// When the guest stood still, from the first byte on.
    pub(crate) stopped_at: Duration,
    /// What it lost of its time by the brake.
    pub(crate) lost: Duration,
    /// Where the time went.
    pub(crate) spent: Spent,
    /// Pages by encoding, in the order of [`Encoding::ALL`].
    pub(crate) encodings: [u64; Encoding::ALL.len()],
}

/// What a sender can do of what a policy may ask.
pub(crate) fn options() -> Options {
    Options {
        compaction: true,
        layering: true,
        brake: true,
        tricks: Tricks { zero: true, same: true, delta: true },
        sums: false,
        packs: vec![Pack::Lz4, Pack::Zstd],
    }
}

/// Sends a guest until it stands still and all of it is handed over. Where it stands goes to `progress`.
///
/// # Errors
/// [`SendError`]. The guest may go on here.
pub(crate) async fn send(
    sending: Sending,
    link: impl PageLink,
    pilot: impl Pilot,
    progress: watch::Sender<Option<Progress>>,
    cancel: &CancellationToken,
) -> Result<Sent, SendError> {
    let link = Capped::new(link, sending.bandwidth);
    let ends = drive::Ends { link, pilot: &pilot, progress, cancel };
    if sending.kind == GuestKind::Pv {
        return pv::send(sending, ends).boxed().await;
    }
    let mut driver = drive::Driver::begin(sending, ends).await?;
    let outcome = driver.run().await;
    driver.tidy(outcome.is_err()).await;
    outcome
}
