//! The Python of the tests: an environment of its own below the target folder, with the libraries that the protocol's peers and the Python
//! client are made of.
//!
//! Fails when it is missing and was not asked for, or when it cannot be made.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::packages::Install;
use crate::run;
use crate::workspace::Workspace;

/// Where `vmm-proto/tests/interop` looks, below the target folder.
const FOLDER: &str = "interop/venv";
/// Says which packages a whole environment has.
const COMPLETE: &str = "complete";
const PACKAGES: &[&str] = &[
    "noiseprotocol==0.3.1",
    "xmlsec==1.3.17",
    "lxml==6.1.3",
    "lxml-stubs==0.5.1",
    "cryptography==50.0.2",
    "pytest==9.2.0",
    "mypy==2.4.1",
    "openapi-spec-validator==0.9.0",
];

/// Returns the interpreter, with everything installed.
pub(crate) fn ensure(workspace: &Workspace, install: Install) -> Result<PathBuf> {
    let folder = workspace.target.join(FOLDER);
    let (python, complete) = (folder.join("bin/python3"), folder.join(COMPLETE));
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    if install != Install::Asked(true) {
        bail!("the Python of the tests is not in {}: pass --install", folder.display());
    }
    println!("installing Python packages: {}", PACKAGES.join(" "));
    let mut venv = run::command("python3");
    run::output(venv.args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = run::command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    run::output(&mut pip)?;
    fs::write(&complete, wanted).with_context(|| format!("writing {}", complete.display()))?;
    Ok(python)
}
