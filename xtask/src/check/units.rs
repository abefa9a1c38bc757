//! How much of a host the services could touch, by systemd's own reckoning, and whether systemd understands every line.
//!
//! ```text
//!   systemd-analyze security --offline=yes packaging/vmm-agent.service     shows the score and what it is made of
//! ```
//!
//! Its scale ends at 10 (`--threshold` counts tenths). A unit that is above its limit, or a line that systemd passes over, is a
//! finding. Passed over, visibly, where systemd is missing and cannot be installed.

use anyhow::{Context as _, Result};

use crate::packages;
use crate::run;
use crate::workspace::Workspace;

const SYSTEMD: &[&str] = &["systemd"];

/// Each unit, and the exposure that it may have, in tenths. What the agent cannot do without (root's devices, the host's network,
/// netlink and one capability) is most of its score.
const UNITS: &[(&str, u32)] = &[("vmm-agent.service", 25), ("vmm-manager.service", 15)];

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    if !packages::missing(SYSTEMD)?.is_empty() && !packages::is_root() {
        println!("  passed over: needs the Debian package systemd");
        return Ok(Vec::new());
    }
    packages::ensure(SYSTEMD, packages::Install::IfRoot)?;
    let mut findings = Vec::new();
    for (unit, tenths) in UNITS {
        findings.extend(analyze(workspace, unit, *tenths)?);
    }
    Ok(findings)
}

fn analyze(workspace: &Workspace, unit: &str, tenths: u32) -> Result<Vec<String>> {
    let mut analyze = run::command("systemd-analyze");
    analyze.args(["security", "--offline=yes", "--no-pager"]);
    analyze.arg(format!("--threshold={tenths}"));
    analyze.arg(workspace.root.join("packaging").join(unit));
    let output = analyze.output().context("start systemd-analyze")?;
    let warnings = String::from_utf8_lossy(&output.stderr);
    // What is there, it shows before it complains; so every complaint is of a line.
    let mut findings: Vec<String> = warnings
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| format!("{unit}: {line}"))
        .collect();
    if !output.status.success() {
        let shown = String::from_utf8_lossy(&output.stdout);
        let overall = shown.lines().rfind(|line| line.contains("Overall exposure"));
        let overall = overall.unwrap_or("systemd-analyze did not tell").trim();
        findings.push(format!("{unit}: at most {tenths} tenths are allowed: {overall}"));
    }
    Ok(findings)
}
