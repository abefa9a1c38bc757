//! Decisions that are on the disk before anybody is told: what a manager stores of a `CreateVm`, by the store's group commit.

use anyhow::Result;
use vmm_manager::StoreLocation;
use vmm_manager::bench_support::durable_decisions;

use crate::report::Report;

/// Who wait at once, and how many decisions they make in all.
const RUNS: [(u64, u64); 3] = [(1, 500), (256, 40_000), (4096, 80_000)];
const GOAL_PER_S: f64 = 20_000.0;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut best = 0.0_f64;
    for (deciders, decisions) in RUNS {
        // Beside the sources, not in a file system in memory: a disk is what is measured.
        let directory = tempfile::tempdir_in(".")?;
        let location = StoreLocation::File(directory.path().join("store.redb"));
        let ran = runtime.block_on(durable_decisions(&location, deciders, decisions))?;
        let per_s = ran.decisions as f64 / ran.elapsed.as_secs_f64();
        best = best.max(per_s);
        let shared = ran.decisions as f64 / ran.transactions.max(1) as f64;
        report.tell(format!("durable decisions, {deciders} at once"), per_s, "/s");
        report.tell(
            format!("durable decisions, {deciders} at once: a transaction"),
            shared,
            "decisions",
        );
    }
    report.at_least("durable decisions, best", best, "/s", GOAL_PER_S);
    Ok(())
}
