//! The lab suite: the product as its users run it, on real Xen.
//!
//! ```text
//!   vmmctl (process) ──► vmm-manager (process) ──► proxies ──► vmm-agent in dom0 (real Xen, over a forwarded port)
//!                                                   │
//!                                                   └── record every byte; one of them ends TLS with the keys we hold
//!   vmm-agent ──► relay ──► the other vmm-agent: what moves with a VM, counted, held to a rate, cut
//! ```
//!
//! A case is a function that says `Err` with what it saw. Cases run in order and share the pool, as an operator's day does; a
//! failed case does not stop the ones after it. A guest that the emulated processor broke (Xen's log says `Triple fault`) is
//! tried once more and counted; that is neither hidden nor a pass of its own.

pub mod cases;
mod ctl;
mod figures;
mod guest;
mod host;
mod manager;
mod passes;
mod peer;
mod pool;
mod proxy;
mod relay;
mod wire;

pub use ctl::{Ctl, Refused};
pub use figures::{Figures, Goal};
pub use guest::Guest;
pub use host::{LabHost, XlRow};
pub use manager::ManagerProcess;
pub use passes::passes;
pub use peer::{Away, Peer};
pub use pool::{LabPool, create_arguments};
pub use proxy::Proxy;
pub use relay::{Relay, Tap};
pub use wire::{Body, Wire};

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take under emulation, beside builds, before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until the answer is yes.
///
/// # Errors
/// What was still missing after [`PATIENCE`].
pub fn eventually(what: &str, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < PATIENCE {
        match check() {
            Ok(true) => return Ok(()),
            Ok(false) => last = None,
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    match last {
        Some(error) => Err(error.context(format!("not within {PATIENCE:?}: {what}"))),
        None => bail!("not within {PATIENCE:?}: {what}"),
    }
}
