//! The agent: the daemon in dom0 of one Xen host. It builds, grows, watches and ends VMs as the manager says, and reports what is.
//!
//! ```text
//!            manager ── XVMP/1 ──► server/    role, idempotency, one file a group of verbs
//!                                     │
//!                                  domain/    a task for each VM: build, lifecycle, hotplug, adopt
//!                                     │   └── device/   disk trees, console
//!      kernels/  unpacked once ────────┤
//!      journal.rs ◄── intents ────────┤       stats/    samples every two seconds, rates
//!      migrate/  pages to another host┤
//!      (disk)                         │       watch.rs  xenstore says "look again"
//!                       ┌─────────────┴─────────────┐
//!                    Xen (xen-bindings)           Dom0 (dom0/)
//!                    libxc or simulator           Linux or simulator      chosen in main: [`Backend`]
//! ```
//!
//! # A VM's way
//!
//! BuildVm comes in and is admitted: is there room, is the disk free, does the VM run already? A task is made for the VM. It
//! writes its intent to the journal, carries out the start step by step, and answers when the guest runs. From then on it waits:
//! for requests, for the guest's end, for the guest to do what it was asked. When the domain has ended, whoever ended it, the
//! task takes everything off the host, publishes why, and ends.
//!
//! # Who owns what
//!
//! The journal owns what shall be and what may be left over. Xen and xenstore own what is: the agent keeps no copy that it would
//! believe against them. A VM's task owns its domain, its device trees and its loop device; nothing else changes them, and no
//! domain is touched that no record names. The [`Agent`] owns all tasks: dropped, they end where they are, as in a crash.
//!
//! # How it fails
//!
//! - A step fails: what was begun is taken back, last first, each undo tried several times; what stays is named in the VM's
//!   reason and tried again with the next DestroyVm.
//! - The agent dies: guests run on. The next agent reads the journal, adopts what runs, and removes what was half-way.
//! - A guest does not answer: the request ends with a report of what is so. No other VM waits for it.
//! - xenstored is gone: every operation fails with that; dom0 must be looked at, for xenstored cannot be restarted alone.
//!
//! # Time
//!
//! All waiting is tokio's, all blocking goes through [`Blocking`], randomness comes in with [`Env`]: on a paused clock and the
//! simulator, an agent does the same thing each time.

pub mod agent;
pub mod config;
mod core;
mod cpu;
mod device;
pub mod dom0;
mod domain;
pub mod env;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod join;
mod journal;
pub mod kernels;
mod memory;
mod migrate;
pub mod run;
#[allow(dead_code, reason = "saving and restoring ask it from the next change on")]
mod saved;
mod server;
mod share;
pub mod sim;
mod stats;
mod watch;
pub mod worker;

pub use agent::{Agent, StartError};
pub use config::AgentConfig;
pub use env::{Backend, Blocking, Dial, Env, Peers};
pub use journal::JournalError;
