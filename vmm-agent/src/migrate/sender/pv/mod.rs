//! A PV guest that is sent: its page tables name the host's own frames, so libxenguest copies it, in rounds, and what it writes is sent here.
//!
//! ```text
//!   worker: xc_domain_save ── pipe ──► tap.rs ── records ─► hold.rs ── kept or not ─► encode.rs ── frames ─► wire.rs ─► PageLink
//!        │                               │ what is no page: prologue and epilogue
//!        └── "n rounds, so many written" ──► departure.rs ──► drive.rs ── Rounds: another one, stop, stay
//!        └── "suspend it"                ──►                     └─────── Pilot
//! ```
//!
//! The filter in [`hold`] withholds pages that come again in consecutive rounds; what it has is sent once they have come to rest, or once the
//! guest stands still, before the machine's state. So each page's last word in libxenguest's stream is its last word on the wire, and the receiver's
//! image holds what a stock receiver's would. The stream is a stranger's as well, for the worker has read the guest's tables: it is read by
//! the codec, within the numbers that its own table of frames ends at.
//!
//! A question is answered when all that was written before it has been read. Between two rounds the link is waited for, so that what stands in
//! its queue does not stand between a stop and a start; and the log is not taken again within [`drive::ROUND_MIN`].
//!
//! Where Xen has no shadow paging nobody logs what a PV guest writes. It is suspended before the save then, if it may stand still for all of its memory,
//! and the save asks nothing.
//!
//! There is no brake and no squeezing of the balloon yet: a guest that writes too fast stays.
//!
//! # The way out
//!
//! As of all senders: whatever [`send`] answers, the save has ended, and nobody logs. libxenguest switches the log off by itself; behind one that
//! died it is done here. A future that is dropped closes the pipe, and the save ends by that. A worker that dies is an error of Xen's, with what it
//! said last.

mod departure;
mod drive;
mod hold;
mod tap;
#[cfg(test)]
mod tests;

use super::drive::Ends;
use super::{Pilot, SendError, Sending, Sent};
use crate::migrate::link::PageLink;

/// Sends a PV guest.
pub(super) async fn send<L: PageLink, P: Pilot>(
    sending: Sending,
    ends: Ends<'_, L, P>,
) -> Result<Sent, SendError> {
    let mut driver = drive::Driver::begin(sending, ends);
    let outcome = driver.run().await;
    driver.tidy(outcome).await
}
