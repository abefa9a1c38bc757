//! All policies on all traces.

use std::time::Duration;

use vmm_core::migration::reference::qemu::{Features, Qemu};
use vmm_core::migration::reference::xen::Xen;
use vmm_core::migration::{self, Layered, Limits, Options, Pack, Policy, Tricks};
use vmm_core::units::Kib;

use super::clairvoyant::bound;
use super::guest::{Guest, WORKLOADS, Workload};
use super::world::{Outcomes, Setting, World};
use crate::report::Report;

/// 512 MiB.
const PAGES: u32 = 131_072;
/// A quarter of … 1 GiB over a gigabit, in the same proportion.
const LINK: f64 = 58.5e6;
const ALLOWED: Duration = Duration::from_millis(300);
const FIXED_S: f64 = 0.02;
const LIMIT_S: f64 = 60.0;
const SEEDS: u64 = 3;
const REFERENCE: &str = "QEMU zstd+hints+auto-converge";
const OURS: &str = "ours";

fn setting() -> Setting {
    Setting { link: LINK, threads: 2, fixed_s: FIXED_S, copies_max: PAGES / std::env::var("C").ok().and_then(|w| w.parse().ok()).unwrap_or(8) }
}

fn guest_of(guest: &Guest) -> migration::Guest {
    let free = guest.free().count();
    migration::Guest {
        pages: PAGES,
        held: Kib(u64::from(PAGES) * 4),
        used: Some(Kib(u64::from(PAGES - free) * 4)),
        floor: Kib::ZERO,
        gives_hints: true,
        link_bytes_per_s: LINK as u64,
        threads: 2,
        fixed: Duration::from_secs_f64(FIXED_S),
    }
}

fn limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(50),
        downtime_weight: std::env::var("W").ok().and_then(|w| w.parse().ok()).unwrap_or(1.0),
        ..Limits::default()
    }
}

/// What is told even where it does not converge.
fn forced() -> Limits {
    Limits { downtime_max: Duration::from_secs(60), ..limits() }
}

const NAMES: [&str; 8] = [
    "Xen 4.17",
    "Xen before 4.7",
    "QEMU auto-converge",
    "QEMU xbzrle+auto-converge",
    REFERENCE,
    "layering alone",
    "compaction alone",
    OURS,
];
const ABLATIONS: [&str; 5] =
    ["ours, no compaction", "ours, no layering", "ours, no delta", "ours, no packing", "ours, no brake"];

fn make(name: &str, guest: &Guest) -> Box<dyn Policy> {
    let link = LINK as u64;
    let facts = guest_of(guest);
    let qemu = |features| Qemu::new(PAGES, link, ALLOWED, features);
    let all = Options::default();
    let (limits, options) = match name {
        "Xen 4.17" => return Box::new(Xen::today(PAGES)),
        "Xen before 4.7" => return Box::new(Xen::legacy(PAGES)),
        "QEMU auto-converge" => {
            return Box::new(qemu(Features { auto_converge: true, ..Features::default() }));
        }
        "QEMU xbzrle+auto-converge" => {
            return Box::new(qemu(Features { auto_converge: true, xbzrle: true, ..Features::default() }));
        }
        REFERENCE => {
            let features = Features { auto_converge: true, zstd: true, hints: true, xbzrle: false };
            return Box::new(qemu(features));
        }
        "layering alone" => (forced(), Options { layering: true, ..Options::plain() }),
        "compaction alone" => (forced(), Options { compaction: true, ..Options::plain() }),
        "ours, no compaction" => (limits(), Options { compaction: false, ..all }),
        "ours, no layering" => (limits(), Options { layering: false, ..all }),
        "ours, no delta" => {
            (limits(), Options { tricks: Tricks { delta: false, ..all.tricks }, ..all })
        }
        "ours, no packing" => (limits(), Options { packs: Vec::new(), ..all }),
        "ours, no brake" => (forced(), Options { brake: false, ..all }),
        _ => (limits(), all),
    };
    Box::new(Layered::new(facts, limits, options))
}

pub(super) fn run(report: &mut Report) {
    for scale in [1.0, 4.0] {
        for workload in WORKLOADS {
            if std::env::var("ONLY").is_ok_and(|only| !only.contains(workload.name)) { continue; }
            trace(workload, scale, report);
        }
    }
}

fn trace(workload: Workload, scale: f64, report: &mut Report) {
    println!("\n{} x{scale}", workload.name);
    let guest = |seed| Guest::new(PAGES, workload, scale, seed);
    let mut bounds = Vec::new();
    for seed in 1..=SEEDS {
        let of = bound(guest(seed), &setting(), ALLOWED.as_secs_f64(), 20.0);
        bounds.push(of.map_or(f64::NAN, |of| of.total_s()));
    }
    let mean_bound = bounds.iter().sum::<f64>() / SEEDS as f64;
    println!("  bound {mean_bound:.2} s");
    for name in NAMES.iter().chain(&ABLATIONS) {
        if std::env::var("QUICK").is_ok() && *name != OURS { continue; }
        let mut sum = Outcomes::default();
        let mut aborted = 0;
        for seed in 1..=SEEDS {
            let guest = guest(seed);
            let mut policy = make(name, &guest);
            let of = World::new(guest, setting()).run(policy.as_mut(), LIMIT_S);
            sum.total_s += of.total_s / SEEDS as f64;
            sum.downtime_s += of.downtime_s / SEEDS as f64;
            sum.bytes += of.bytes / SEEDS as f64;
            sum.braked_s += of.braked_s / SEEDS as f64;
            sum.logged_s += of.logged_s / SEEDS as f64;
            sum.lost_pages += of.lost_pages;
            sum.harvests += of.harvests / SEEDS as u32;
            aborted += u32::from(of.aborted.is_some());
        }
        println!(
            "  {name:<32} {:>7.2} s {:>7.0} ms {:>6.2} x {:>6.2} braked {:>6.3} logged  regret {:>5.2}  lost {} aborted {aborted} harvests {}",
            sum.total_s,
            sum.downtime_s * 1e3,
            sum.bytes / f64::from(PAGES) / 4096.0,
            sum.braked_s,
            sum.logged_s,
            sum.total_s / mean_bound,
            sum.lost_pages,
            sum.harvests,
        );
    }
    let _ = (report, Pack::Raw);
}
