//! `sim`: many seeds of a whole pool on a virtual clock, small days or large ones; a failing seed is printed and replays by itself.
//!
//! Fails as the simulation does: its exit status is passed on.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::demo::finish;
use crate::run;
use crate::workspace::Workspace;

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let seeds: u64 = args.value("--seeds")?.context("sim needs --seeds N")?;
    let large = args.flag("--large");
    let mut passed = vec!["--seeds".to_owned(), seeds.to_string()];
    for name in ["--first", "--hosts", "--vms", "--steps", "--jobs"] {
        if let Some(value) = args.value::<u64>(name)? {
            passed.extend([name.to_owned(), value.to_string()]);
        }
    }
    passed.extend(large.then(|| "--large".to_owned()));
    args.finish()?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["run", "--release", "--locked", "-p", "vmm-e2e", "--bin", "vmm-sim", "--"]);
    cargo.args(passed);
    Ok(finish("sim", run::status(&mut cargo)?))
}
