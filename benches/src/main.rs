//! Benchmarks of SMPS-VMM: `vmm-benches SUITE [--trace FILE] [--json]`.
//!
//! Every suite prints its rows for people and, with `--json`, one JSON object as the last line. A row has a goal or none; a goal
//! that is missed is printed as missed and is no error. The exit status says only whether the suite could be run.

mod bulk;
mod gate;
mod inventory;
mod migration;
mod pair;
mod placement;
mod protocol;
mod report;
mod trace;
mod view;

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::{Parser, ValueEnum};

/// Measures a part of the product.
#[derive(Parser)]
#[command(after_help = "Compare rows of one run only: machines differ, and this one may be busy.")]
struct Arguments {
    /// What to measure.
    suite: Suite,
    /// VM arrivals as CSV, packed or not (t_s,batch,vcpu,mem_gb,life_lo_s,life_hi_s,censored); without one, a seeded synthetic trace.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Only this part of the suite: of `placement` policies, speed, durable, ganeti or replay; of `migration` rates or traces.
    #[arg(long)]
    only: Option<String>,
    /// One JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// Be the other process of a pair, with the credentials of this directory.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
    /// Be the manager that opens this store and tells its figures.
    #[arg(long, hide = true)]
    store: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// Placement by the product's cost model beside simple policies, on a trace of arrivals.
    Placement,
    /// What both layers of encryption cost a request and a bulk stream, how long a large inventory takes, and how fast the gate is.
    Protocol,
    /// Live migration by our policy, by Xen's, by QEMU's and by one who knows the future; and the rates of its parts.
    Migration,
    /// Cold start, memory, and lists by query and order of a manager with 10 000 VMs on 500 hosts in 3 sites.
    View,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(directory) = &arguments.serve {
        return protocol::serve(directory);
    }
    if let Some(store) = &arguments.store {
        return view::cold(store);
    }
    let only = arguments.only.as_deref();
    let report = match arguments.suite {
        Suite::Placement => {
            placement::run(&trace::Trace::load(arguments.trace.as_deref())?, part(only)?)?
        }
        Suite::Migration => migration::run(part(only)?)?,
        Suite::Protocol | Suite::View => {
            ensure!(only.is_none(), "this suite has no parts: leave --only out");
            if matches!(arguments.suite, Suite::View) { view::run()? } else { protocol::run()? }
        }
    };
    report.print(arguments.json)
}

/// The part of a suite that has this name.
fn part<P: ValueEnum>(name: Option<&str>) -> Result<Option<P>> {
    let parse = |name| {
        let words = P::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known = words.map(|word| word.get_name().to_owned()).collect::<Vec<_>>().join(", ");
        P::from_str(name, true).map_err(|_| anyhow!("no part {name:?}; there are {known}"))
    };
    name.map(parse).transpose()
}
