//! The second part of dom0's image: the project's own binaries, and what guests boot from.
//!
//! Fails when the binaries do not build; `--bare` leaves them out.

use std::fs;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::filler;
use super::paths::Lab;
use super::stamp::Stamp;
use super::tree::Sysroot;
use crate::run;

/// The programs that run in dom0; they land in /opt/vmm.
const BINARIES: &[&str] = &["vmm-agent", "xen-contract", "lab-dom0", "lab-echo"];

/// Returns with `extra.cpio` up to date.
pub(crate) fn build(lab: &Lab<'_>, bare: bool) -> Result<()> {
    let extra = lab.path("extra.cpio");
    let binaries = if bare { &[] } else { BINARIES };
    if !bare {
        compile(lab)?;
    }
    let from = lab.workspace.target.join("lab");
    let mut stamp = Stamp::new(&extra, &binaries.join(" "))?;
    for binary in binaries {
        stamp.input(&from.join(binary))?;
    }
    stamp.input(&lab.guest())?;
    stamp.input(&lab.vmlinux())?;
    if stamp.is_fresh() {
        return Ok(());
    }
    let mut image = Archive::default();
    // Beside the system's libraries and not in the packages: the build linked against the system's.
    let system = Sysroot("/".into());
    for binary in binaries {
        system.place(&mut image, &from.join(binary), &format!("opt/vmm/{binary}"))?;
    }
    image.copy("g/guest.cpio.gz", lab.guest(), 0o644);
    image.copy("g/vmlinuz", lab.vmlinuz(), 0o644);
    image.copy("g/vmlinux", lab.vmlinux(), 0o644);
    let filler = lab.path("filler");
    fs::write(&filler, filler::kernel()).context("write the filler kernel")?;
    image.copy("g/filler", filler, 0o644);
    image.write(&extra)?;
    stamp.write()
}

fn compile(lab: &Lab<'_>) -> Result<()> {
    println!("xenlab: building {}", BINARIES.join(", "));
    let mut cargo = run::cargo(lab.workspace);
    cargo.args(["build", "--locked", "--profile", "lab", "-p", "vmm-agent", "-p", "xen-bindings"]);
    cargo.args(["-p", "vmm-lab-dom0"]);
    cargo.args(["--features", "vmm-agent/libxc,xen-bindings/libxc"]);
    for binary in BINARIES {
        cargo.args(["--bin", binary]);
    }
    run::success(&mut cargo)
}
