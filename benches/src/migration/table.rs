//! All policies on all traces: figures, goals, and what each part of ours gives.

use std::panic::resume_unwind;
use std::thread;

use vmm_core::migration::Reason;

use super::clairvoyant::bound;
use super::guest::{Guest, WORKLOADS, Workload};
use super::policies::{
    ABLATIONS, ALLOWED, NAMES, OURS, PAGES, REFERENCE, limits, make, setting, setting_of,
};
use super::world::{Outcomes, World};
use crate::report::Report;

const SEEDS: u64 = 3;
/// Names and rates of writing.
const REGIMES: [(&str, f64); 2] = [("", 1.0), ("contended ", 4.0)];
/// Traces longer than this do not converge.
const LIMIT_S: f64 = 60.0;
const BOUND_LIMIT_S: f64 = 20.0;
const REGRET_MAX: f64 = 1.15;

/// Means over the seeds.
#[derive(Clone, Copy, Default)]
struct Mean {
    of: Outcomes,
    aborted: u32,
    /// Aborted otherwise than by saying that it does not converge.
    unstated: u32,
    braked_s_max: f64,
}

pub(super) fn run(report: &mut Report) {
    let mut lost = 0;
    for (regime, scale) in REGIMES {
        for workload in WORKLOADS {
            lost += trace(&format!("{regime}{}", workload.name), workload, scale, report);
        }
    }
    report.at_most("pages lost, all policies, all runs", f64::from(lost), "pages", 0.0);
}

fn trace(name: &str, workload: Workload, scale: f64, report: &mut Report) -> u32 {
    let best_s = best(workload, scale);
    let told = best_s.map_or("none within 20 s".to_owned(), |best| format!("{best:.2} s"));
    println!("\n{name} (writes x{scale}); the clairvoyant bound: {told}");
    println!(
        "{:<30} {:>8} {:>8} {:>7} {:>8} {:>8} {:>7}",
        "policy", "time s", "down ms", "x RAM", "brake s", "log s", "regret"
    );
    let mut means = Vec::new();
    for policy in NAMES.iter().chain(&ABLATIONS) {
        let mean = mean(policy, workload, scale);
        show(policy, &mean, best_s);
        tell(&format!("{name}: {policy}"), &mean, best_s, report);
        means.push((*policy, mean));
    }
    goals(name, &means, best_s, report);
    means.iter().map(|(_, mean)| mean.of.lost_pages).sum()
}

fn best(workload: Workload, scale: f64) -> Option<f64> {
    let bounds = each_seed(|seed| {
        let guest = Guest::new(PAGES, workload, scale, seed);
        Some(bound(guest, &setting(), ALLOWED.as_secs_f64(), BOUND_LIMIT_S)?.total_s())
    });
    bounds.into_iter().sum::<Option<f64>>().map(|sum| sum / SEEDS as f64)
}

/// At the same time: what is simulated does not feel its neighbours.
fn each_seed<T: Send>(run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let run = &run;
        let runs: Vec<_> = (1..=SEEDS).map(|seed| scope.spawn(move || run(seed))).collect();
        let joined = runs.into_iter().map(|run| run.join());
        joined.map(|run| run.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn mean(name: &str, workload: Workload, scale: f64) -> Mean {
    let mut mean = Mean::default();
    let share = 1.0 / SEEDS as f64;
    let runs = each_seed(|seed| {
        let guest = Guest::new(PAGES, workload, scale, seed);
        let mut policy = make(name, &guest);
        World::new(guest, setting_of(name)).run(policy.as_mut(), LIMIT_S)
    });
    for of in runs {
        mean.of.total_s += of.total_s * share;
        mean.of.downtime_s += of.downtime_s * share;
        mean.of.bytes += of.bytes * share;
        mean.of.braked_s += of.braked_s * share;
        mean.of.logged_s += of.logged_s * share;
        mean.of.lost_pages += of.lost_pages;
        mean.aborted += u32::from(of.aborted.is_some());
        let is_stated = matches!(of.aborted, None | Some(Reason::DoesNotConverge { .. }));
        mean.unstated += u32::from(!is_stated);
        mean.braked_s_max = mean.braked_s_max.max(of.braked_s);
    }
    mean
}

fn show(policy: &str, mean: &Mean, best_s: Option<f64>) {
    let of = &mean.of;
    let regret = best_s.map_or("-".to_owned(), |best| format!("{:.2}", of.total_s / best));
    let end = if mean.aborted > 0 {
        format!("  aborted {} of {SEEDS}", mean.aborted)
    } else {
        String::new()
    };
    println!(
        "{policy:<30} {:>8.2} {:>8.0} {:>7.2} {:>8.2} {:>8.3} {regret:>7}{end}",
        of.total_s,
        of.downtime_s * 1e3,
        of.bytes / f64::from(PAGES) / 4096.0,
        of.braked_s,
        of.logged_s,
    );
}

fn tell(name: &str, mean: &Mean, best_s: Option<f64>, report: &mut Report) {
    let of = &mean.of;
    report.tell(format!("{name}: bytes"), of.bytes / f64::from(PAGES) / 4096.0, "x RAM");
    report.tell(format!("{name}: time"), of.total_s, "s");
    report.tell(format!("{name}: downtime"), of.downtime_s * 1e3, "ms");
    report.tell(format!("{name}: guest slowed"), of.braked_s + of.logged_s, "s");
    report.tell(format!("{name}: aborted"), f64::from(mean.aborted), "runs");
    if let Some(best) = best_s {
        report.tell(format!("{name}: regret"), of.total_s / best, "ratio");
    }
}

fn goals(name: &str, means: &[(&str, Mean)], best_s: Option<f64>, report: &mut Report) {
    let find = |wanted| means.iter().find(|(policy, _)| *policy == wanted).map(|(_, mean)| mean);
    let (Some(ours), Some(theirs)) = (find(OURS), find(REFERENCE)) else { return };
    if let Some(best) = best_s {
        report.at_most(
            format!("goal {name}: time to the bound's"),
            ours.of.total_s / best,
            "ratio",
            REGRET_MAX,
        );
        report.at_most(format!("goal {name}: aborted"), f64::from(ours.aborted), "runs", 0.0);
    }
    if theirs.aborted == 0 {
        let time = ours.of.total_s / theirs.of.total_s;
        let downtime = ours.of.downtime_s / theirs.of.downtime_s;
        report.at_most(format!("goal {name}: time to {REFERENCE}"), time, "ratio", 1.0);
        report.at_most(format!("goal {name}: downtime to {REFERENCE}"), downtime, "ratio", 1.0);
    }
    let budget = limits().brake_budget.as_secs_f64();
    // A brake is looked at when the policy is asked, which is every few milliseconds.
    report.at_most(format!("goal {name}: braked at most"), ours.braked_s_max, "s", budget + 0.05);
    report.at_most(
        format!("goal {name}: aborted without its reason"),
        f64::from(ours.unstated),
        "runs",
        0.0,
    );
}
