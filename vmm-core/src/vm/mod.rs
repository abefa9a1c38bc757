//! A VM: what it shall be ([`VmSpec`]), what it does now ([`VmState`]), and what one may ask of it ([`admission`]).
//!
//! ```text
//!              ┌─────────────────── destroy, or any failure of the build ──────────────────┐
//!              │                                                                           ▼
//!  (defined) ──► Starting ──► Running ◄──► Paused            ShuttingDown ──────────► Stopped(reason)
//!                               │  ▲                           ▲                          │
//!                               │  └── Rebooting ◄── reboot ───┤                          │
//!                               └──────────── shutdown ────────┘        start ────────────┘──► Starting
//! ```
//!
//! One task owns one VM; it asks [`admission::admit`] before it acts, and nothing else changes the VM.

pub mod admission;
mod overhead;
mod spec;
mod state;

pub use overhead::{MAXMEM_SLACK, overhead, paging_pool};
pub use spec::{Demand, DiskSpec, SpecError, VCPUS_LIMIT, VmName, VmSpec};
pub use state::{StopReason, VmState};
