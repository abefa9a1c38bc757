//! A VM: what it shall be ([`VmSpec`]), what it does now ([`VmState`]), and what one may ask of it ([`admission`]).
//!
//! ```text
//!              ┌─────────────────── destroy, or any failure of the build ──────────────────┐
//!              │                                                                           ▼
//!  (defined) ──► Starting ──► Running ◄──► Paused            ShuttingDown ──────────► Stopped(reason)
//!                               │  ▲                           ▲                          │
//!                               │  └── Rebooting ◄── reboot ───┤                          │
//!                               ├──────────── shutdown ────────┘        start ────────────┘──► Starting
//!                               ├─ suspend ─► Suspending ─► Suspended ─ resume ─► Running
//!                               ├─ save ────► Saving ─► Stopped(Saved) ─ restore ─► Starting
//!                               ├─ move ────► Migrating ─► Stopped(Migrated)   (there: Stopped ─► Arriving ─► Running)
//!                               └─ ends by itself, on_event preserve ─► Preserved ─ destroy ─► Stopped
//! ```
//!
//! One task owns one VM; it asks [`admission::admit`] before it acts, and nothing else changes the VM.

pub mod admission;
mod device;
mod overhead;
mod policy;
mod spec;
mod state;

pub use device::{DISKS_MAX, DiskSpec, Mac, NICS_MAX, NicSpec, device_number};
pub use overhead::{MAXMEM_SLACK, overhead, paging_pool, target_elsewhere};
pub use policy::{Autostart, CpuSet, EventAction, OnEvent, Scheduling};
pub use spec::{Demand, GuestKind, SpecError, VCPUS_LIMIT, VmName, VmSpec, is_absolute_path};
pub use state::{StopReason, VmState};
