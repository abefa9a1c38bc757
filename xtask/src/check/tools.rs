//! Checks that cargo and its tools make; their own output says what is wrong.
//!
//! A tool that ends badly is the finding.

use anyhow::Result;

use crate::packages;
use crate::run;
use crate::workspace::Workspace;

/// These run on machines without Xen.
const PORTABLE: &[(&str, &str)] =
    &[("vmm-agent", "vmm-agent-sim"), ("vmm-manager", "vmm-manager"), ("vmmctl", "vmmctl")];

fn cargo(workspace: &Workspace, args: &[&str]) -> Result<Vec<String>> {
    let mut cargo = run::cargo(workspace);
    run::success(cargo.args(args).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Vec::new())
}

pub(crate) fn format(workspace: &Workspace) -> Result<Vec<String>> {
    cargo(workspace, &["fmt", "--all", "--", "--check"])
}

pub(crate) fn clippy(workspace: &Workspace) -> Result<Vec<String>> {
    let scope = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked"];
    cargo(workspace, &[&scope[..], &["--", "-D", "warnings"]].concat())
}

/// Passed over, visibly, where Xen's headers are missing and cannot be installed.
pub(crate) fn clippy_libxc(workspace: &Workspace) -> Result<Vec<String>> {
    let missing = packages::missing(packages::LIBXC)?;
    if !missing.is_empty() && !packages::is_root() {
        println!("  passed over: needs the Debian packages {}", missing.join(" "));
        return Ok(Vec::new());
    }
    packages::ensure(packages::LIBXC, packages::Install::IfRoot)?;
    let scope =
        ["clippy", "--quiet", "--locked", "--all-targets", "-p", "xen-bindings", "-p", "vmm-agent"];
    let features = ["--features", "xen-bindings/libxc,vmm-agent/libxc", "--", "-D", "warnings"];
    cargo(workspace, &[&scope[..], &features].concat())
}

pub(crate) fn docs(workspace: &Workspace) -> Result<Vec<String>> {
    cargo(
        workspace,
        &["doc", "--quiet", "--no-deps", "--workspace", "--locked", "--document-private-items"],
    )
}

pub(crate) fn no_libxen(workspace: &Workspace) -> Result<Vec<String>> {
    let mut build = run::cargo(workspace);
    build.args(["build", "--quiet", "--locked"]);
    for (package, binary) in PORTABLE {
        build.args(["-p", package, "--bin", binary]);
    }
    run::success(&mut build)?;
    let mut findings = Vec::new();
    for (_, binary) in PORTABLE {
        let file = workspace.target.join("debug").join(binary);
        let libraries = run::output(run::command("ldd").arg(file))?;
        let xen = libraries.lines().filter(|line| line.contains("libxen"));
        findings.extend(xen.map(|line| format!("{binary} links {}", line.trim())));
    }
    Ok(findings)
}
