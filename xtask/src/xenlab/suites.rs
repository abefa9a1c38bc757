//! The suites that need real Xen: run, their `ok` and `FAIL` lines counted, the hosts ended whatever happens.
//!
//! A suite that ends badly, is overdue, or does not print its own summary counts as a failure on top of those it named.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::host::{Hosts, Lifetime, Shape};
use super::image;
use super::paths::Lab;
use super::record::Flavour;
use super::ssh;
use crate::args::Args;
use crate::packages::{self, Install};
use crate::python;
use crate::run;

const CONTRACT_LIMIT: Duration = Duration::from_mins(20);
const E2E_LIMIT: Duration = Duration::from_mins(45);
const E2E_FULL_LIMIT: Duration = Duration::from_hours(3);
const BENCH_LIMIT: Duration = Duration::from_mins(100);

/// With more, the emulated processor breaks guests (see `qemu::command`), and the hosts wait for each other on small machines.
pub(crate) const CPUS: u32 = 1;

const SUITES: &[&str] = &["contract", "e2e", "migration", "processors", "power"];
/// What a run of no suite by name leaves out: a sample of the first is part of the end-to-end day, the others take hosts of their own.
const ASKED: &[&str] = &["migration", "processors", "power"];
/// Each of these kills one of its hosts, and gets others.
const OUTAGES: &[&str] = &[
    "a_destination_that_loses_power_early",
    "a_source_that_loses_power_early",
    "a_destination_that_loses_power_late",
    "a_source_that_loses_power_late",
];
/// In the profile of the tests, which CI has built before: what is emulated is the hosts, not this.
const E2E: &[&str] = &["--locked", "-p", "vmm-e2e", "--bin", "vmm-lab"];
/// The programs that the suite drives, beside its own.
const E2E_PROGRAMS: &[&str] = &["--locked", "-p", "vmm-manager", "-p", "vmmctl", "-p", "vmm-e2e"];
const BENCH: &[&str] = &["--locked", "-p", "vmm-e2e", "--bin", "vmm-lab-bench"];

/// What the suites said.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    retried: u32,
    names: Vec<String>,
}

impl Tally {
    fn fail(&mut self, name: String) {
        self.failed += 1;
        self.names.push(name);
    }

    /// One line of a suite; returns whether it was the suite's summary.
    fn line(&mut self, suite: &str, line: &str) -> bool {
        if line.starts_with("ok ") {
            self.passed += 1;
        } else if let Some(what) = line.strip_prefix("FAIL ") {
            self.fail(format!("{suite}: {what}"));
        } else if let Some(count) = line.strip_prefix("retried ") {
            self.retried += count.split_whitespace().next().map_or(0, |n| n.parse().unwrap_or(1));
        }
        let summary = line.strip_prefix(suite).and_then(|rest| rest.strip_prefix(": "));
        summary.is_some_and(|rest| rest.contains(" passed, ") && rest.ends_with(" failed"))
    }

    /// Runs a suite and adds what it says.
    fn run(&mut self, suite: &str, command: &mut Command, limit: Duration) {
        let mut summed_up = false;
        let before = self.failed;
        let status = run::stream(command, limit, |line| summed_up |= self.line(suite, line));
        match status {
            Ok(status) if !summed_up => {
                self.fail(format!("{suite}: ended with {status} before its summary"));
            }
            Ok(status) if !status.success() && self.failed == before => {
                self.fail(format!("{suite}: ended with {status} though nothing failed"));
            }
            Ok(_) => {}
            Err(error) => self.fail(format!("{suite}: {error:#}")),
        }
    }
}

pub(crate) fn test(lab: &Lab<'_>, mut args: Args) -> Result<ExitCode> {
    let full = args.flag("--full");
    let flavour: Option<Flavour> = args.value("--xenstored")?;
    let suite = args.positional();
    args.finish()?;
    let wanted =
        |name: &str| suite.as_deref().map_or(!ASKED.contains(&name), |suite| suite == name);
    if !SUITES.iter().any(|name| wanted(name)) {
        bail!("no suite {:?}; there are {}", suite.unwrap_or_default(), SUITES.join(", "));
    }
    image::build(lab, false)?;
    let on_two: Vec<_> =
        SUITES.iter().filter(|name| **name != "contract" && wanted(name)).copied().collect();
    if !on_two.is_empty() {
        // Before the hosts are up: a build beside two emulators takes several times as long.
        run::success(run::cargo(lab.workspace).arg("build").args(E2E_PROGRAMS))?;
    }
    if wanted("e2e") {
        let root = packages::is_root();
        packages::ensure(&["python3-venv"], Install::IfRoot)?;
        python::ensure(lab.workspace, Install::Asked(root))?;
    }
    let mut tally = Tally::default();
    if wanted("contract") {
        contract(lab, flavour, full, &mut tally)?;
    }
    for suite in on_two {
        let is_lesser = suite == "processors";
        let shape = Shape { count: 2, cpus: CPUS, flavour, is_lesser };
        let runs: &[&str] = if suite == "power" { OUTAGES } else { &[""] };
        for only in runs {
            let _hosts = Hosts::start(lab, shape, Lifetime::ThisCommand)?;
            cases(lab, (suite, only), full, &mut tally);
        }
    }
    for name in &tally.names {
        println!("FAILED {name}");
    }
    if tally.retried > 0 {
        println!("retried {} (guests that the emulated SVM broke)", tally.retried);
    }
    println!("xenlab: {} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// On one host, or with `full` on two, which run different xenstore daemons.
fn contract(lab: &Lab<'_>, flavour: Option<Flavour>, full: bool, tally: &mut Tally) -> Result<()> {
    let shape = Shape { count: if full { 2 } else { 1 }, cpus: CPUS, flavour, is_lesser: false };
    let hosts = Hosts::start(lab, shape, Lifetime::ThisCommand)?;
    for host in hosts.iter() {
        println!("contract on host {} ({} xenstored)", host.id, host.flavour);
        let mut ssh = ssh::command(lab, host.ssh_port, run::tied("ssh"));
        ssh.args(["root@127.0.0.1", "/opt/vmm/xen-contract"]);
        tally.run("contract", &mut ssh, CONTRACT_LIMIT);
    }
    Ok(())
}

/// Those of a suite whose names contain `only`; all of them contain nothing.
fn cases(lab: &Lab<'_>, (suite, only): (&str, &str), full: bool, tally: &mut Tally) {
    let mut cargo = run::tied_cargo(lab.workspace);
    cargo.args(["run", "--quiet"]).args(E2E).args(["--", "--suite", suite]);
    cargo.arg("--hosts").arg(lab.hosts_file());
    if !only.is_empty() {
        cargo.args(["--filter", only]);
    }
    // An outage cannot be had twice.
    cargo.args((full && only.is_empty()).then_some("--full"));
    tally.run(suite, &mut cargo, if full { E2E_FULL_LIMIT } else { E2E_LIMIT });
}

pub(crate) fn bench(lab: &Lab<'_>, mut args: Args) -> Result<ExitCode> {
    let json = args.flag("--json");
    // The daemon whose requests can be counted while it runs.
    let flavour: Flavour = args.value("--xenstored")?.unwrap_or(Flavour::C);
    let rounds: Option<u32> = args.value("--rounds")?;
    let only: Option<String> = args.value("--only")?;
    let suite = args.positional().context("bench needs the name of a suite")?;
    args.finish()?;
    if !json {
        bail!("bench prints JSON only: say --json");
    }
    image::build(lab, false)?;
    run::success(run::cargo(lab.workspace).arg("build").args(E2E_PROGRAMS))?;
    let _hosts = Hosts::start(
        lab,
        Shape {
            count: if suite == "migration" { 2 } else { 1 },
            cpus: CPUS,
            flavour: Some(flavour),
            is_lesser: false,
        },
        Lifetime::ThisCommand,
    )?;
    let mut cargo = run::tied_cargo(lab.workspace);
    cargo.args(["run", "--quiet"]).args(BENCH);
    cargo.args(["--", &suite, "--json", "--hosts"]).arg(lab.hosts_file());
    if let Some(rounds) = rounds {
        cargo.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(only) = only {
        cargo.args(["--only", &only]);
    }
    let mut last = String::new();
    let status = run::stream(&mut cargo, BENCH_LIMIT, |line| line.clone_into(&mut last))?;
    let report: Result<serde_json::Value, _> = serde_json::from_str(&last);
    if !status.success() || !report.is_ok_and(|report| report.is_object()) {
        bail!("bench {suite} ended with {status}; its last line must be a JSON object");
    }
    Ok(ExitCode::SUCCESS)
}
