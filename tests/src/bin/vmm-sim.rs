//! Many days of a simulated pool, one a seed. Prints the seed that failed and what happened until then.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vmm_e2e::pool::Day;

/// Runs a short random day of a pool for each seed and asserts the invariants.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Print each day.
    #[arg(long)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let (mut passed, mut failed) = (0u64, 0u64);
    let (mut fulfilled, mut refused) = (0, 0);
    for seed in arguments.first..arguments.first.saturating_add(arguments.seeds) {
        match Day::run(seed) {
            Ok(report) => {
                passed += 1;
                fulfilled += report.fulfilled;
                refused += report.refused;
                if arguments.verbose {
                    println!("seed {seed}:\n{}", report.lines.join("\n"));
                }
            }
            Err(error) => {
                failed += 1;
                println!("FAIL seed {seed}: {error:#}");
                println!("again with: cargo xtask sim --seeds 1 --first {seed}");
            }
        }
    }
    println!("{fulfilled} requests fulfilled, {refused} refused or failed with a typed fault");
    println!("sim: {passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
