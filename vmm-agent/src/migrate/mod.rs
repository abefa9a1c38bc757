//! The data path of live migration: a guest's memory and state, from the host where it runs to the one where it will.
//!
//! ```text
//!   source host                                                         destination host
//!   sender/   Policy ◄─► driver ── log, types, map, copy, encode ──► frames ── PageLink ──► arrival/   decode, check
//!                │                                                                             │  libxc's image
//!              Pilot (the domain's owner: balloon, brake, suspend)                            pipe ──► GuestImage::restore
//! ```
//!
//! - [`frames`]: what travels: ours, versioned, from an untrusted sender.
//! - [`link`]: what it travels over: a seam, and a cap on its bandwidth.
//! - [`lanes`]: several connections as one such link.
//! - [`sender`]: drives [`vmm_core::migration::Layered`] over a PVH guest; a PV guest is saved by libxenguest, and what that writes is sent.
//! - [`arrival`]: turns frames into libxc's image as they come, for a restore that runs at the same time.
//!
//! Nothing here decides who owns the guest: a sender ends with the guest suspended and all of it handed over, an arrival with a domain
//! that is whole and paused. Which of the two goes on is [`crate::domain`]'s affair, and the manager's.
//!
//! # What must hold
//!
//! The destination's memory is the source's, byte by byte, when the tail is there; or there is no tail. No frame is missing and none
//! too many. Both hosts are as before after any other end: no log, no brake, no mapping, no thread, no half domain that nobody knows
//! of. `tests/` holds each on two simulated machines, at every kind of end.
//!
//! # Traps of Xen's, and where each is met
//!
//! | trap | effect | here |
//! |---|---|---|
//! | a page of zeros only allocated | another domain's data in it | the arrival writes 4096 zeros; its image knows no other page |
//! | balloon up while it is copied | no log tells | [`Pilot::pin`]; and it is looked again which frames there are, once it is suspended |
//! | balloon down while it is copied | frames too many | told as GONE, released after the restore and before the guest runs |
//! | a frame that goes and comes back between two looks | old contents | nobody can tell: this is what [`Pilot::pin`] is for |
//! | counts taken for the truth | a silent hang | a second look is left out only if Xen counts what it counted, and no frame was missing in between |
//! | numbers of pages far above the memory | a second for each scan | upwards, then down from the top, until Xen's count is reached |
//! | a log that is off reads as clean | lost writes | a [`DirtyLog`](xen_bindings::DirtyLog) exists while it is on, and the last reading asks whether it still is |
//! | frames that Xen itself writes | lost writes | the last reading is `clean_final` |
//! | a log left on by an agent that died | no log to be had | taken over: the domain is ours |
//! | a frame never mentioned | missing, and nobody says so | the sender compares before its tail; the tail counts; the arrival compares |
//! | private records in the image | skipped, and the guest breaks | frames of ours end in the arrival; only what Xen knows is written |
//! | a truncated image | -1 without a reason | an arrival says by itself what was missing, and closes the pipe |
//! | fewer vCPUs, no room | refused, late | for the plan that makes the shell: same vCPUs, limits with slack, the claim |
//! | a processor that can less | restored without a word, and the guest breaks | the arrival compares what was promised before it takes a page |
//! | the destination's `memory/target` as at boot | the guest inflates | for who writes its tree: [`Arrived`](arrival::Arrived) says what it holds |
//! | resumed as PV guests are | it panics | for who resumes: as after any suspend that was taken back |
//! | crashed instead of suspended | taken for suspended | [`Pilot::suspend`] looks at the reason |
//! | a PV guest's page that is told as absent while it runs | one that has only changed too fast | passed on in its place in the stream: the last word counts |
//! | a save that was killed | leaves the log on | `end_log`, after each one that failed and by the next agent |
//!
//! # What is weaker than it might be
//!
//! Frames are decoded in the agent itself, in safe code but for Zstandard's; only the restore runs in the confined worker. One connection that breaks costs the whole migration.

pub(crate) mod arrival;
pub(crate) mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub(crate) mod lanes;
pub(crate) mod link;
pub(crate) mod sender;
#[cfg(test)]
mod tests;

pub(crate) use arrival::{Arrival, ArrivalError, Bounds};
pub(crate) use link::{LinkError, PageLink};
pub(crate) use sender::{COPIES_BYTES, Pilot, PilotError, SendError, Sending, Sent, options, send};
