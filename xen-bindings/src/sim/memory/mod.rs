//! A guest's memory in real bytes, of which zeros cost nothing, and the log of who writes to it.
//!
//! ```text
//!   Ram ── Extents    which frames there are: ranges, since a guest has few of them
//!    ├──── Contents   what a frame holds, for those that hold something: a pattern of 16 bytes, or its bytes
//!    ├──── log        which were written to since they were looked at, if somebody wants to know
//!    └──── Writer     what the guest writes, by the time that it has run
//! ```
//!
//! A guest's writes are owed until somebody looks: however long it ran, each writer then makes only as many as it has pages, and leaves
//! what it would have left. A machine whose memory nobody looks at costs nothing.
//!
//! Xen's own rules, the ugly ones too: what the balloon takes or brings is not logged; frames that Xen itself writes to are in the log
//! only when it is read for the last time; a log that is off reads as clean; and a page that is only allocated holds what somebody else
//! left there.

mod contents;
mod extents;
mod holdings;
mod image;
mod ram;
mod traits;
mod writer;

pub use image::{MemoryDifference, MemoryImage};
pub(crate) use ram::{Ram, SPECIAL_GFNS};
pub use writer::MemoryWriter;
