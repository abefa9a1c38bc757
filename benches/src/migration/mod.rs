//! Live migration: the policy beside Xen's, QEMU's and the clairvoyant bound, and the rates of what it is made of.
//!
//! - [`guest`], [`world`]: a guest that writes, and a driver that runs any policy against it. Synthetic traces: directions, not absolutes.
//! - [`policies`], [`table`]: who takes part, and how they do; ours with each part switched off in turn.
//! - [`clairvoyant`]: the bound of the same trace.
//! - [`rates`]: a harvest of 64 GiB, the encoders, the state of a page.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a simulator are small and not negative"
)]

mod clairvoyant;
mod guest;
mod policies;
mod rates;
mod table;
mod world;

use anyhow::Result;
use clap::ValueEnum;

use crate::report::Report;

/// A part that can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// A harvest, the encoders, the state of a page: wants a quiet machine.
    Rates,
    /// All policies on all traces: simulated, so the machine's load does not matter.
    Traces,
}

/// All parts, or one.
pub(crate) fn run(only: Option<Part>) -> Result<Report> {
    let mut report = Report::new("migration");
    let wants = |part| only.is_none_or(|only| only == part);
    if wants(Part::Rates) {
        rates::run(&mut report)?;
    }
    if wants(Part::Traces) {
        table::run(&mut report);
    }
    Ok(report)
}
