//! The scheduler beside other policies, on one trace in one run; its speed; and beside Ganeti's own tools.
//!
//! - [`policies`], [`world`]: thirteen policies place the same arrivals; what is refused, what disk and network demand finds no capacity, how evenly hosts are loaded.
//! - [`speed`]: decisions a second of the index.
//! - [`durable`]: decisions a second that are stored before they are told.
//! - [`ganeti`]: hbal and hail on the same clusters.
//! - [`replay`]: days of changing load, with and without rebalancing.
//!
//! CPU and memory of the arrivals are the trace's. Disk and network demand is synthetic, whatever the trace: no public one has it.

mod durable;
mod ganeti;
mod policies;
mod replay;
mod scheduled;
mod speed;
mod world;

use anyhow::Result;

use crate::report::Report;
use crate::trace::Trace;
use policies::{BEST_FIT, NAMES, OURS_DENSITY};
use world::{Outcome, host_count, simulate};

/// Peak demand over what the hosts have: a pool that is nearly full.
const FULL: f64 = 0.98;
const SEEDS: u64 = 5;
const SYNTHETIC_DAYS: f64 = 30.0;

/// A part of the suite.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Policies side by side.
    Policies,
    /// Decisions a second.
    Speed,
    /// Decisions a second that are on the disk.
    Durable,
    /// Ganeti's tools.
    Ganeti,
    /// Days with and without rebalancing.
    Replay,
}

pub(crate) fn run(trace: &Trace, only: Option<Part>) -> Result<Report> {
    let mut report = Report::new("placement");
    let wants = |part| only.is_none_or(|only| only == part);
    if wants(Part::Policies) {
        println!("arrivals: {}; disk and network demand is synthetic, {SEEDS} seeds", trace.source);
        compare(trace, true, &mut report);
        compare(trace, false, &mut report);
    }
    if wants(Part::Speed) {
        speed::run(&mut report);
    }
    if wants(Part::Durable) {
        durable::run(&mut report)?;
    }
    if wants(Part::Ganeti) {
        ganeti::run(&mut report)?;
    }
    if wants(Part::Replay) {
        replay::run(trace, &trace.source, &mut report);
        let days = Trace::days(SYNTHETIC_DAYS);
        replay::run(&days, &days.source, &mut report);
    }
    Ok(report)
}

fn compare(trace: &Trace, known: bool, report: &mut Report) {
    let demand = if known { "demand known" } else { "class known" };
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); NAMES.len()];
    for seed in 1..=SEEDS {
        let arrivals = trace.arrivals(seed);
        let hosts = host_count(&arrivals, FULL);
        for (name, outcomes) in NAMES.iter().zip(&mut outcomes) {
            let mut policy = policies::make(name, hosts, seed);
            outcomes.push(simulate(policy.as_mut(), hosts, &arrivals, known));
        }
    }
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
    let means: Vec<Outcome> = outcomes.iter().map(|of| Outcome::fold(of, mean)).collect();
    println!(
        "\n{demand}: means over {SEEDS} seeds\n{:<22} {:>8} {:>9} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7} {:>8}",
        "policy",
        "refused",
        "vCPU %",
        "disk %",
        "net %",
        "sd cpu",
        "sd mem",
        "sd disk",
        "hosts",
        "ns"
    );
    for (name, of) in NAMES.iter().zip(&means) {
        println!(
            "{name:<22} {:>8.1} {:>9.4} {:>8.4} {:>8.4} {:>7.4} {:>7.4} {:>7.4} {:>7.1} {:>8.0}",
            of.refused,
            of.refused_vcpus,
            of.disk_over,
            of.network_over,
            of.deviation[0],
            of.deviation[1],
            of.deviation[2],
            of.hosts_used,
            of.decision_ns
        );
        report.tell(format!("{demand}: {name}: refused"), of.refused_vcpus, "% vCPU");
        report.tell(format!("{demand}: {name}: disk demand above capacity"), of.disk_over, "%");
        report.tell(
            format!("{demand}: {name}: network demand above capacity"),
            of.network_over,
            "%",
        );
        report.tell(format!("{demand}: {name}: decision"), of.decision_ns, "ns");
    }
    println!();
    goals(demand, known, &means, report);
}

fn goals(demand: &str, known: bool, means: &[Outcome], report: &mut Report) {
    let of = |wanted: &str| {
        let found = NAMES.iter().zip(means).find(|(name, _)| **name == wanted);
        found.map_or_else(Outcome::default, |(_, outcome)| *outcome)
    };
    let (ours, best_fit) = (of(OURS_DENSITY), of(BEST_FIT));
    if known {
        let more = ours.refused_vcpus - best_fit.refused_vcpus;
        report.at_most(format!("{demand}: refused beyond best-fit's"), more, "points", 0.02);
    }
    let overload = ours.disk_over / best_fit.disk_over.max(1e-12);
    let limit = if known { 0.01 } else { 0.2 };
    report.at_most(format!("{demand}: disk overload to best-fit's"), overload, "ratio", limit);
}
