//! Live migration: the policy beside Xen's, QEMU's and the clairvoyant bound, and the rates of what it is made of.
//!
//! - [`guest`], [`world`]: a guest that writes, and a driver that runs any policy against it.
//! - [`clairvoyant`]: the bound of the same trace.
//! - [`policies`]: side by side, and what each part of ours gives.

mod clairvoyant;
mod guest;
mod policies;
mod world;

use anyhow::Result;

use crate::report::Report;

/// A part of the suite.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Policies side by side.
    Policies,
}

pub(crate) fn run() -> Result<Report> {
    let mut report = Report::new("migration");
    policies::run(&mut report);
    Ok(report)
}
