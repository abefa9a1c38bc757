//! Many days of a simulated pool, one a seed. Prints the seed that failed and what happened until then.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use vmm_e2e::pool::{Day, DayReport, Size};

/// A long run says each time that so many more have passed.
const PASSED_TOLD: u64 = 50;

/// Runs a random day of a pool for each seed and asserts the invariants.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Large days: 50 hosts, 1,000 VMs, bulk operations, many changes and several faults at once.
    #[arg(long)]
    large: bool,
    /// Hosts of the pool.
    #[arg(long)]
    hosts: Option<u64>,
    /// VMs at most at a time; from 100 on the days are large ones.
    #[arg(long)]
    vms: Option<usize>,
    /// Deeds of a day.
    #[arg(long)]
    steps: Option<usize>,
    /// Days at once; when missing, as many as there are CPUs.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// Print each day.
    #[arg(long)]
    verbose: bool,
}

impl Arguments {
    fn size(&self) -> Result<Size> {
        let usual = if self.large { Size::LARGE } else { Size::SMALL };
        let size = Size {
            hosts: self.hosts.unwrap_or(usual.hosts),
            vms: self.vms.unwrap_or(usual.vms),
            steps: self.steps.unwrap_or(usual.steps),
        };
        ensure!(size.hosts > 0 && size.vms > 0, "a pool has at least one host and one VM");
        Ok(size)
    }

    /// How to run one seed again.
    fn again(&self, seed: u64, size: Size) -> String {
        let Size { hosts, vms, steps } = size;
        format!(
            "again with: cargo xtask sim --seeds 1 --first {seed} --hosts {hosts} --vms {vms} --steps {steps}"
        )
    }
}

/// What all days so far came to.
#[derive(Default)]
struct Sum {
    passed: u64,
    failed: Vec<u64>,
    days: DayReport,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let size = arguments.size()?;
    let jobs = arguments.jobs.or_else(|| std::thread::available_parallelism().ok());
    let (next, sum, began) = (AtomicU64::new(0), Mutex::new(Sum::default()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..jobs.map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= arguments.seeds {
                        break;
                    }
                    let seed = arguments.first.saturating_add(n);
                    let outcome = Day::run(seed, size);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    tell(&arguments, &mut sum, (seed, size), outcome);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Size { hosts, vms, steps } = size;
    println!("days of {hosts} hosts, up to {vms} VMs, {steps} steps");
    let DayReport { deeds, faults, fulfilled, refused, moved, .. } = sum.days;
    println!("{deeds} deeds, {faults} faults in them");
    println!(
        "{fulfilled} requests fulfilled, {refused} refused, cancelled or failed with a typed fault"
    );
    println!("{moved} VMs moved while they ran");
    if !sum.failed.is_empty() {
        println!("failed seeds: {:?}", sum.failed);
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("sim: {} passed, {} failed in {minutes:.1} minutes", sum.passed, sum.failed.len());
    Ok(if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(
    arguments: &Arguments,
    sum: &mut Sum,
    (seed, size): (u64, Size),
    outcome: Result<DayReport>,
) {
    match outcome {
        Ok(report) => {
            sum.passed += 1;
            if sum.passed.is_multiple_of(PASSED_TOLD) {
                eprintln!("{} of {} passed", sum.passed, arguments.seeds);
            }
            sum.days.add(&report);
            if arguments.verbose {
                println!("seed {seed}:\n{}", report.lines.join("\n"));
            }
        }
        Err(error) => {
            sum.failed.push(seed);
            println!("FAIL seed {seed}: {error:#}");
            println!("{}", arguments.again(seed, size));
        }
    }
}
