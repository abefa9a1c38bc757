//! The lab suite. Started by `cargo xtask xenlab test`; prints `ok` or `FAIL` for each case and a summary last.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use vmm_e2e::lab::cases::{Case, Suite};
use vmm_e2e::lab::{LabHost, LabPool};

/// Runs the product against real Xen hosts.
#[derive(Parser)]
struct Arguments {
    /// The hosts, as the lab wrote them.
    #[arg(long)]
    hosts: PathBuf,
    /// Which cases.
    #[arg(long, value_enum, default_value = "e2e")]
    suite: Suite,
    /// Only cases whose name contains one of these, separated by commas (the preparations of placement always run).
    #[arg(long, value_delimiter = ',')]
    filter: Vec<String>,
    /// Also the cases that take long.
    #[arg(long)]
    long: bool,
    /// The whole matrix: the cases that take long, too, and the hosts in either order.
    #[arg(long)]
    full: bool,
}

/// Of a case in which the emulated processor breaks a guest each time.
const TRIES: u32 = 3;

/// Runs a case, again if the emulated processor broke a guest meanwhile.
fn run(case: &Case, pool: &mut LabPool) -> Result<()> {
    let before = pool.names()?;
    for _ in 1..TRIES {
        let faults = pool.triple_faults();
        match (case.run)(pool) {
            Err(error) if pool.triple_faults() > faults => {
                eprintln!(
                    "the emulated processor broke a guest in {}: {error:#}; once more",
                    case.name
                );
                pool.recover(&before)?;
            }
            outcome => return outcome,
        }
    }
    (case.run)(pool)
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let hosts = LabHost::load(&arguments.hosts)?;
    let own = std::env::current_exe()?;
    let programs = own.parent().context("this program is nowhere")?;
    let rounds = if arguments.full { 2 } else { 1 };
    let (mut passed, mut failed) = (0, 0);
    for round in 0..rounds {
        // The second round swaps the hosts, so that each part runs on either xenstore daemon.
        let mut hosts = hosts.clone();
        if round == 1 {
            hosts.swap(0, 1);
        }
        let mut pool = LabPool::start(hosts, programs)?;
        pool.is_full = arguments.full;
        for case in arguments.suite.cases(arguments.long || arguments.full) {
            let wanted = arguments.filter.is_empty()
                || arguments.filter.iter().any(|part| case.name.contains(part.as_str()));
            if !wanted
                && !case.name.starts_with("a_vm_goes")
                && !case.name.starts_with("both_hosts")
            {
                continue;
            }
            let start = std::time::Instant::now();
            let before = pool.names()?;
            match run(&case, &mut pool) {
                Ok(()) => {
                    passed += 1;
                    println!("ok {}", case.name);
                }
                Err(error) => {
                    failed += 1;
                    println!(
                        "FAIL {}: {}",
                        case.name,
                        format!("{error:#}").replace('\n', "\n    ")
                    );
                    println!("    {}", pool.words().replace('\n', "\n    "));
                    // What it has left would fail the others.
                    if let Err(error) = pool.tidy(&before) {
                        println!("    and it left: {error:#}");
                    }
                }
            }
            println!("took {} s", start.elapsed().as_secs());
            if failed > 0 && passed == 0 {
                println!("the pool does not come up; the other cases could only wait");
                break;
            }
        }
        if pool.retried > 0 {
            println!("retried {}", pool.retried);
        }
    }
    println!("{}: {passed} passed, {failed} failed", arguments.suite.name());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
