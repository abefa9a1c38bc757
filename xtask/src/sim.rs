//! `sim`: many seeds of a whole pool on a virtual clock; a failing seed is printed and replays by itself.
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
    let first: Option<u64> = args.value("--first")?;
    args.finish()?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["run", "--release", "--locked", "-p", "vmm-e2e", "--bin", "vmm-sim", "--"]);
    cargo.args(["--seeds", &seeds.to_string()]);
    if let Some(first) = first {
        cargo.args(["--first", &first.to_string()]);
    }
    Ok(finish("sim", run::status(&mut cargo)?))
}
