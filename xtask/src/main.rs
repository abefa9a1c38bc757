//! `cargo xtask`: everything that people and CI do with this workspace, one command each.
//!
//! Each command ends with its own summary line and a true exit status. An error says what to do next;
//! a command that needs a missing Debian package names it and stops, unless it was told to install.

mod args;
mod check;
mod demo;
mod fuzz;
mod packages;
mod python;
mod run;
mod sim;
mod suites;
mod test;
mod workspace;
mod xenlab;

use std::process::ExitCode;

use anyhow::{Result, bail};
use args::Args;
use workspace::Workspace;

const HELP: &str = "\
usage: cargo xtask COMMAND

  demo [--install] [--check]    start the manager with three simulated hosts; --check tries it and ends
  test [--install]              every test that needs no Xen
  check                         format, lints, doc links, crate directions and the house rules
  sim --seeds N [--first S]     a random day of a whole simulated pool for each of N seeds, on all CPUs; each replays by itself
      [--large] [--jobs N]      --large: 50 hosts, 1,000 VMs, many changes and several faults at once; N days at a time
      [--hosts H] [--vms V] [--steps D]   another size; from 100 VMs on the days are large ones
  fuzz --minutes N [TARGET]     the fuzz targets, each for so long; needs nightly and cargo-fuzz
  xenlab …                      real Xen hosts under emulation: cargo xtask xenlab --help

  --install                     install missing Debian packages (as root), fetch foreign test suites";

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<ExitCode> {
    let mut args = Args::from_env();
    let workspace = Workspace::find()?;
    let command = args.positional();
    if command.as_deref() == Some("xenlab") {
        return xenlab::main(&workspace, args);
    }
    if command.is_none() || args.flag("--help") || args.flag("-h") {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    match command.as_deref() {
        Some("demo") => demo::main(&workspace, args),
        Some("test") => test::main(&workspace, args),
        Some("check") => check::main(&workspace, args),
        Some("fuzz") => fuzz::main(&workspace, args),
        Some("sim") => sim::main(&workspace, args),
        Some("help") => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("no command {:?}; `cargo xtask --help` lists them", other.unwrap_or("")),
    }
}
