//! `test`: every test that needs no Xen.
//!
//! Fails when a package is missing, named, or as the tests do.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Args;
use crate::demo::finish;
use crate::packages::{self, Install};
use crate::run;
use crate::workspace::Workspace;

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let install = args.flag("--install");
    args.finish()?;
    packages::ensure(packages::BUILD, Install::Asked(install))?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    Ok(finish("test", run::status(&mut cargo)?))
}
