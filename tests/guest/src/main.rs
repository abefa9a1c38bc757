//! `workload`: the one program of a lab guest. It works as it is told, checks its own work, and says every second on the
//! console how it goes, in lines that tests read.
//!
//! ```text
//!  kernel command line ─► plan ─► burn, dirty, disk, echo, ask, tools, hostile…: a thread each ─► Tally ─► report (1 line a second)
//!                                 hotplug: CPUs and memory that Xen added are put to use ◄──────────┘
//! ```
//!
//! It runs as PID 1: an error is printed as `VMM-GUEST-FAILED` and then ends it, which panics the kernel and shows in Xen as a crash.
//! Damage that a check finds does not end it: it is printed once as `VMM-GUEST-BAD` and every line from then on says so.

mod ask;
mod burn;
mod dirty;
mod disk;
mod echo;
mod hostile;
mod hotplug;
mod machine;
mod pattern;
mod plan;
mod report;
mod tally;
mod tools;
mod xenbus;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use plan::{Plan, Work};
use tally::Tally;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            println!("VMM-GUEST-FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<std::convert::Infallible> {
    let words = std::env::args().nth(1).unwrap_or_default();
    let plan: Plan = words.parse().with_context(|| format!("workload={words}"))?;
    let tally = Arc::new(Tally::default());
    report::hello()?;
    for work in plan.works {
        let tally = Arc::clone(&tally);
        thread::Builder::new().spawn(move || start(work, &tally)).context("start a thread")?;
    }
    report::every_second(&tally)
}

fn start(work: Work, tally: &Tally) {
    match work {
        Work::Burn => burn::forever(tally),
        Work::Dirty { rate_mib, set_mib } => dirty::forever(rate_mib, set_mib, tally),
        Work::Disk { blocks_per_s } => disk::write_forever(blocks_per_s, tally),
        Work::DiskCheck => disk::check(tally),
        Work::Echo => echo::forever(tally),
        Work::Ask(peer) => ask::forever(peer, tally),
        Work::CrashOnPlug => machine::crash_on_plug(),
        Work::Tools => tools::forever(),
        Work::Hostile(kind) => hostile::forever(kind, tally),
    }
}
