//! Debian packages that a command needs: which are missing, and installing them.
//!
//! Fails by naming the missing packages and the command that installs them.

use anyhow::{Context, Result, bail};

use crate::run;

/// To build and test without Xen. The XML tools check the published schemas and messages from outside; Santuario and Python are peers of
/// the protocol, and Python runs Xen's own checker of migration streams.
pub(crate) const BUILD: &[&str] = &[
    "gcc",
    "libc6-dev",
    "libxml2-utils",
    "xmlsec1",
    "libxml-security-java",
    "default-jre-headless",
    "python3-venv",
];

/// To build what links libxenctrl: its headers, and libclang for bindgen.
pub(crate) const LIBXC: &[&str] = &["libxen-dev", "libclang-14-dev"];

/// To build and run the Xen lab, besides `LIBXC`.
pub(crate) const LAB: &[&str] = &[
    "gcc",
    "libc6-dev",
    "qemu-system-x86",
    "busybox-static",
    "kmod",
    "openssh-client",
    "xz-utils",
    "util-linux",
];

/// When to install what is missing.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Install {
    /// The user said `--install`, or did not.
    Asked(bool),
    /// Whenever we are root: a lab host is a machine for that.
    IfRoot,
}

/// The ones that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut missing = Vec::new();
    for package in packages {
        let mut query = run::command("dpkg-query");
        let answer = query
            .args(["-W", "-f=${Status}", package])
            .output()
            .context("dpkg-query: this command knows Debian 12 and its like only")?;
        if !answer.stdout.ends_with(b" installed") {
            missing.push(*package);
        }
    }
    Ok(missing)
}

/// Returns with all of them installed.
pub(crate) fn ensure(packages: &[&str], install: Install) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let root = is_root();
    let wanted = match install {
        Install::Asked(asked) => asked,
        Install::IfRoot => root,
    };
    if !wanted || !root {
        let hint = if install == Install::IfRoot {
            "or run this as root"
        } else {
            "or pass --install as root"
        };
        bail!(
            "missing Debian packages: {names}; `apt-get install --no-install-recommends {names}`, {hint}"
        );
    }
    println!("installing Debian packages: {names}");
    run::output(run::command("apt-get").args(["update", "-q"]))?;
    let mut apt = run::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["install", "-y", "-q", "--no-install-recommends"]).args(&missing);
    run::output(&mut apt)?;
    Ok(())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
