//! One stream of bytes over several connections at once: lanes.
//!
//! ```text
//!   sender ─► Capped ─► Lanes: pieces, each to the lane with least waiting          Inbound: put in order ─► Arrival
//!                         ├─ queue ─ task ─ lane 0: TCP, TLS, AES-GCM ═══════════ task ─ queue ─┤
//!                         ├─ queue ─ task ─ lane 1: …          ═══════════════════ task ─ queue ─┤
//!                         └─ …                                                            …     ─┘
//!                       ledger ◄─── how much of each lane was taken, when the arrival asks ──────┘
//! ```
//!
//! Everything between two hosts is sealed twice, which keeps one core busy for each connection. Several connections keep several cores busy
//! at both ends, and take several links of a bundle. What travels on a lane stands in [`mod@format`]: a preamble that says which lane of how many it
//! is, then pieces, each with its place in the whole.
//!
//! - [`outbound`]: [`Lanes`], a [`PageLink`]. Nothing waits to be filled: a small hand-over is a small piece, and it goes at once.
//! - [`ledger`]: how much of the whole has arrived, told by how much of each lane has.
//! - [`inbound`]: [`Inbound`], the streams of a transfer as they come, each read by a task of its own.
//! - [`order`]: which piece is next, and everything that must not be.
//!
//! This room knows no TCP: a lane is what implements [`Lane`], and at the other end [`Stream`].
//!
//! # Order, and memory
//!
//! The pieces of one lane go up, so the next piece of the whole is always the first that waits on its lane, and no lane must be searched. Each lane
//! has a short queue at the receiver, and is not read while that is full: together they hold 64 MiB at most. The lane that has the next piece
//! is always read: either the piece stands first in its queue and is taken, or the queue is empty. So nothing can stand still for want of room.
//!
//! A lane's bytes are acknowledged when their pieces were taken in order, never when they were read: the sender believes that it has arrived.
//! The acknowledgement is due when the arrival says so, as on one connection.
//!
//! # How it fails
//!
//! One lane that breaks ends the link: a [`LinkError`] here, a [`LaneError`] there, and no other lane goes on. A receiver takes strangers' bytes: a
//! lane that is none, comes twice or not within [`LANES_WAIT`], a piece twice, a gap, an overlap, a piece too long, an end that the lanes do not agree
//! on are each an error of their own, and no memory is had because a length says so. Who drops either half ends its tasks.
//!
//! A lane could be opened again where it broke: its offset is known at both ends, and what was not acknowledged is what the ledger has. Nobody does
//! it yet: pieces are not kept once they are sent.

mod error;
mod format;
mod inbound;
mod ledger;
mod order;
mod outbound;
#[cfg(test)]
pub(in crate::migrate) mod tests;

use std::time::Duration;

use super::link::{LinkError, PageLink};

pub(crate) use error::LaneError;
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::migrate) use format::{Item, Parser, Preamble};
pub(crate) use inbound::Inbound;
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::migrate) use order::{Next, Order};
pub(crate) use outbound::Lanes;

/// Lanes of one transfer.
pub(crate) const LANES_MAX: usize = 8;
/// Bytes of one piece, its head apart: a frame of a bulk stream has room for it.
pub(crate) const PIECE_BYTES_MAX: usize = 128 << 10;
/// Pieces that wait for one lane at the sender: what is written, and what is written next. More would only be later.
const WAITING_PIECES_MAX: usize = 4;
/// Pieces of one lane that wait for those of others at the receiver.
const HELD_PIECES_MAX: usize = 64;
/// What all lanes hold at the receiver, but for a piece that is being read and one that is looked at.
#[cfg(test)]
const HELD_BYTES_MAX: usize = LANES_MAX * HELD_PIECES_MAX * PIECE_BYTES_MAX;
/// No piece can be so far ahead of the next one: much more than queues and sockets hold.
const AHEAD_BYTES_MAX: u64 = 1 << 30;
/// From the first lane to the last.
pub(crate) const LANES_WAIT: Duration = Duration::from_secs(30);
/// So long one lane may bring nothing while others wait for it. The sender gives up sooner.
const STALL: Duration = Duration::from_secs(90);
/// From the last acknowledgement until the sender has hung up.
const FAREWELL: Duration = Duration::from_secs(10);

/// The sender's end of one lane.
pub(crate) trait Lane: PageLink + 'static {
    /// That was all: waits until the receiver has done with it what it should.
    ///
    /// # Errors
    /// [`LinkError`].
    fn finish(self) -> impl Future<Output = Result<(), LinkError>> + Send;
}

/// A lane that was opened by a sender, and not yet accepted.
pub(crate) trait Stream: Send + 'static {
    /// What reads it.
    type Reader: LaneReader;
    /// What acknowledges it.
    type Acks: LaneAcks<Self::Reader>;

    /// As the connection calls it.
    fn number(&self) -> u32;

    /// Takes it from its beginning.
    fn accept(self) -> impl Future<Output = Result<(Self::Reader, Self::Acks), LinkError>> + Send;
}

/// What reads one lane.
pub(crate) trait LaneReader: Send + 'static {
    /// The next bytes, cut anywhere; `None` when that was all.
    ///
    /// # Errors
    /// [`LinkError`].
    fn receive(&mut self) -> impl Future<Output = Result<Option<&[u8]>, LinkError>> + Send;
}

/// What acknowledges one lane, while it is read.
pub(crate) trait LaneAcks<R>: Send + 'static {
    /// All before this offset of the lane has been taken.
    fn acknowledge(&mut self, offset: u64) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// All of it has, and what was to be done with it is done.
    fn finish(self, reader: R) -> impl Future<Output = Result<(), LinkError>> + Send;
}
