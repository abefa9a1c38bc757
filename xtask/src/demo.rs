//! `demo`: a manager with three simulated hosts, on this machine, without Xen.
//!
//! Fails as the demo does: its exit status is passed on.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::packages::{self, Install};
use crate::run;
use crate::workspace::Workspace;

/// What a build needs; the tools that only tests call are left out.
const PACKAGES: &[&str] = &["gcc", "libc6-dev"];

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let install = args.flag("--install");
    let check = args.flag("--check");
    args.finish()?;
    packages::ensure(PACKAGES, Install::Asked(install))?;
    // The demo's tour, and the person who tries it, use the command line.
    run::success(
        run::cargo(workspace).args(["build", "--locked", "-p", "vmmctl", "-p", "vmm-e2e"]),
    )?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["run", "--locked", "-p", "vmm-e2e", "--bin", "vmm-demo", "--"]);
    if !check {
        // Replaced by the demo itself, so that an interrupt reaches it alone and it can say goodbye.
        return Err(cargo.exec()).context("start cargo");
    }
    cargo.arg("--check");
    Ok(finish("demo", run::status(&mut cargo)?))
}

/// Prints the summary line of a command that runs one program, and passes its status on.
pub(crate) fn finish(name: &str, status: std::process::ExitStatus) -> ExitCode {
    if status.success() {
        println!("{name}: passed");
        return ExitCode::SUCCESS;
    }
    println!("{name}: failed ({status})");
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    ExitCode::from(code.max(1))
}
