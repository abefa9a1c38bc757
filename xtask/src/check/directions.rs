//! Which crate may depend on which, as ARCHITECTURE.md draws it; and that every crate introduces itself.
//!
//! A crate that is not in the table is a finding: give it a row, and say in ARCHITECTURE.md where it stands.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;
use crate::workspace::Workspace;

/// What a crate may see of the workspace, in any kind of dependency.
enum May {
    See(&'static [&'static str]),
    /// Everything that is part of the product.
    SeeProduct,
}

const TABLE: &[(&str, May)] = &[
    ("xen-bindings", May::See(&[])),
    ("vmm-core", May::See(&[])),
    ("vmm-proto", May::See(&["vmm-core"])),
    ("vmm-agent", May::See(&["vmm-proto", "vmm-core", "xen-bindings"])),
    ("vmm-manager", May::See(&["vmm-proto", "vmm-core"])),
    ("vmmctl", May::See(&["vmm-proto", "vmm-core"])),
    ("vmm-benches", May::SeeProduct),
    ("vmm-e2e", May::SeeProduct),
    ("vmm-guest", May::See(&[])),
    ("vmm-lab-dom0", May::See(&["vmm-proto"])),
    ("xtask", May::See(&[])),
];
const NOT_PRODUCT: &[&str] = &["vmm-benches", "vmm-e2e", "vmm-guest", "vmm-lab-dom0", "xtask"];

fn packages(workspace: &Workspace) -> Result<Vec<Value>> {
    let mut cargo = run::cargo(workspace);
    let text =
        run::output(cargo.args(["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    Ok(metadata["packages"].as_array().context("cargo metadata lists no packages")?.clone())
}

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let packages = packages(workspace)?;
    let edges: Vec<_> = packages.iter().flat_map(edges).collect();
    let names = packages.iter().filter_map(|package| package["name"].as_str());
    let unknown = names.filter(|name| row(name).is_none());
    let mut findings: Vec<_> =
        unknown.map(|name| format!("{name} has no row in xtask/src/check/directions.rs")).collect();
    findings.extend(
        edges
            .iter()
            .filter(|(from, to)| !allowed(from, to))
            .map(|(from, to)| format!("{from} must not depend on {to}")),
    );
    Ok(findings)
}

/// Dependencies by path, which are those within the workspace.
fn edges(package: &Value) -> Vec<(String, String)> {
    let from = package["name"].as_str().unwrap_or_default();
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let within = dependencies.iter().filter(|dependency| dependency["path"].is_string());
    within
        .filter_map(|dependency| dependency["name"].as_str())
        .map(|to| (from.to_owned(), to.to_owned()))
        .collect()
}

fn row(name: &str) -> Option<&'static May> {
    TABLE.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, may)| may)
}

fn allowed(from: &str, to: &str) -> bool {
    match row(from) {
        Some(May::See(seen)) => seen.contains(&to),
        Some(May::SeeProduct) => !NOT_PRODUCT.contains(&to),
        None => false,
    }
}

pub(crate) fn readmes(workspace: &Workspace) -> Result<Vec<String>> {
    let packages = packages(workspace)?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    let folders = manifests.filter_map(|manifest| Path::new(manifest).parent());
    let bare = folders.filter(|folder| !folder.join("README.md").is_file());
    Ok(bare.map(|folder| format!("{} has no README.md", folder.display())).collect())
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn the_agent_sees_xen_and_the_manager_does_not() {
        let check = |from, to, expect| assert_eq!(allowed(from, to), expect, "{from} -> {to}");
        check("vmm-agent", "xen-bindings", true);
        check("vmm-manager", "xen-bindings", false);
        check("vmm-core", "xen-bindings", false);
        check("vmm-e2e", "vmm-manager", true);
        check("vmm-e2e", "vmm-benches", false);
        check("newcomer", "vmm-core", false);
    }
}
