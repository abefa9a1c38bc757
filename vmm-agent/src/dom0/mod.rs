//! What the agent does to dom0's Linux, as four small traits and their sum, [`Dom0`].
//!
//! ```text
//!   Dom0 ─┬─ BlockDevices   what is behind a path; loop devices; growing both
//!         ├─ Network        bridges and their ports
//!         ├─ Counters       of backends and of the host's own devices
//!         ├─ Consoles       terminals of xenconsoled
//!         └─ now            the clock
//!
//!   linux   the real one: ioctls of the loop driver, netlink, sysfs, a pty (feature `libxc`)
//!   sim     tables in memory over a simulated machine; touches no device
//! ```
//!
//! Everything blocks for a short time and is called where [`crate::Blocking`] says, but for [`ConsoleSource`], which is
//! asynchronous. Nothing is started to do it: no script, no `ip`, no `losetup`. Failures are [`Dom0Error`]: the operation, what
//! it was about, what Linux said, and a kind for decisions.

use std::time::Duration;

mod block;
mod console;
mod counters;
mod error;
mod file;
#[cfg(feature = "libxc")]
pub mod linux;
mod network;
pub mod sim;

pub use block::{AttachedLoop, Backing, BlockDevices, DeviceNumber, FileId, LoopIndex};
pub use console::{ConsoleSource, Consoles};
pub use counters::Counters;
pub use error::{Dom0Error, Dom0ErrorKind};
pub use network::{BridgePort, Network};

/// dom0's Linux.
pub trait Dom0: BlockDevices + Network + Counters + Consoles + Send + Sync {
    /// The host's monotonic clock.
    fn now(&self) -> Duration;
}
