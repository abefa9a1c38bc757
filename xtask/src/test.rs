//! `test`: every test that needs no Xen. Those of what the agent does to a real Linux (loop devices, bridges in a network namespace)
//! need root, the loop driver and Xen's headers; where one is missing they are passed over, visibly.
//!
//! Fails when a package or a foreign suite is missing, named, or as the tests do.

use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::Result;

use crate::args::Args;
use crate::demo::finish;
use crate::packages::{self, Install};
use crate::python;
use crate::run;
use crate::suites;
use crate::workspace::Workspace;

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let install = args.flag("--install");
    args.finish()?;
    packages::ensure(packages::BUILD, Install::Asked(install))?;
    suites::ensure_xml(workspace, Install::Asked(install))?;
    suites::ensure_stream_checker(workspace, Install::Asked(install))?;
    let python = python::ensure(workspace, Install::Asked(install))?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    let portable = run::status(&mut cargo)?;
    let client = python_client(workspace, &python)?;
    let linux = match why_not_on_linux(install)? {
        Some(reason) => {
            println!("tests of dom0's Linux are passed over: {reason}");
            portable
        }
        None => {
            let mut cargo = run::cargo(workspace);
            cargo.args(["test", "--locked", "-p", "vmm-agent", "--features", "libxc", "--lib"]);
            run::status(cargo.args(["--", "dom0::linux"]))?
        }
    };
    let all = [portable, client, linux];
    let worst = all.iter().find(|status| !status.success()).unwrap_or(&linux);
    Ok(finish("test", *worst))
}

/// The tests of the Python client, against a pool of simulated hosts that lives as long as they run.
fn python_client(workspace: &Workspace, python: &Path) -> Result<ExitStatus> {
    run::success(
        run::cargo(workspace).args(["build", "--locked", "-p", "vmmctl", "-p", "vmm-e2e"]),
    )?;
    let client = workspace.root.join("clients/python");
    let typed = run::status(
        run::command(python)
            .args(["-m", "mypy", "--strict", "--cache-dir"])
            .arg(workspace.target.join("mypy"))
            .args(["src", "tests"])
            .current_dir(&client),
    )?;
    if !typed.success() {
        return Ok(typed);
    }
    let mut pool = run::command(workspace.target.join("debug/vmm-demo"));
    pool.arg("--run").arg(python).args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    pool.arg(client.join("tests")).env("PYTHONPATH", client.join("src"));
    run::status(pool.env("PYTHONDONTWRITEBYTECODE", "1"))
}

fn why_not_on_linux(install: bool) -> Result<Option<&'static str>> {
    if !packages::is_root() {
        return Ok(Some("they take root"));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Ok(Some("there is no /dev/loop-control"));
    }
    if !install && !packages::missing(packages::LIBXC)?.is_empty() {
        return Ok(Some("they take Xen's headers; --install gets them"));
    }
    packages::ensure(packages::LIBXC, Install::Asked(install))?;
    Ok(None)
}
