//! dom0's real Linux. No `unsafe` of ours.
//!
//! ```text
//!   block     the loop driver through `loopdev`, images through rustix, sizes through sysfs
//!   uses      what dom0 does with a block device: mounts, holders, swap
//!   network   bridges and ports ─► netlink, the one route socket of a call
//!   counters  sysfs of the block backend, one netlink answer an interface, /proc/diskstats
//!   console   a pty through rustix, read by tokio
//! ```
//!
//! Nothing is kept between calls but notes of what was attached where: what other programs change is seen at once. Whatever goes
//! while it is looked at counts as gone, not as a failure.

mod block;
mod console;
mod counters;
mod netlink;
mod network;
mod notes;
mod sysfs;
mod uses;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Dom0;

/// The Linux that this process runs on.
#[derive(Debug, Default)]
pub struct LinuxDom0 {
    notes: notes::Notes,
}

impl Dom0 for LinuxDom0 {
    fn now(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}
