//! The agent on the simulator, on a paused clock: the same toolstack logic as on Xen, deterministic.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod devices;
mod faults;
mod guests;
mod host;
mod images;
mod journal;
mod lanes;
mod life;
mod memory;
mod migration;
mod pair;
mod policy;
mod requests;
mod restart;
mod shared_disks;
mod shears;
mod shells;
mod stats;
mod suspend;
mod unlogged;
mod wire;
