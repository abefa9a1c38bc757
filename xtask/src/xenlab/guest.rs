//! The guests' image: a static busybox, the frontends' modules and the workload program.
//!
//! Fails when the workload does not build, or when a module is missing.

use std::fs::File;

use anyhow::Result;

use super::cpio::Archive;
use super::paths::Lab;
use super::stamp::Stamp;
use super::tree::Sysroot;
use crate::run;

const INIT: &str = "tests/guest/init.sh";
const MODULES: &[&str] = &["xen-blkfront", "xen-netfront"];
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Returns with `guest.cpio.gz` up to date.
pub(crate) fn build(lab: &Lab<'_>) -> Result<()> {
    let target = lab.path("guest-target");
    let mut cargo = run::cargo(lab.workspace);
    // A target of its own: these flags would otherwise rebuild everything else.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols");
    cargo.args(["build", "--quiet", "--locked", "--profile", "lab", "-p", "vmm-guest"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(&target);
    run::success(&mut cargo)?;

    let workload = target.join(TARGET).join("lab/workload");
    let init = lab.workspace.root.join(INIT);
    let mut stamp = Stamp::new(&lab.guest(), "guest")?;
    stamp.input(&workload)?;
    stamp.input(&init)?;
    stamp.input(&lab.path("sysroot.stamp"))?;
    if stamp.is_fresh() {
        return Ok(());
    }
    let mut image = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp"] {
        image.folder(folder);
    }
    image.copy("init", init, 0o755);
    image.copy("bin/busybox", "/bin/busybox", 0o755);
    image.link("bin/sh", "busybox");
    image.copy("bin/workload", workload, 0o755);
    // What the kernel calls when the toolstack asks for a shutdown.
    for action in ["poweroff", "reboot", "halt"] {
        let script = format!("#!/bin/busybox sh\nexec /bin/busybox {action} -f\n");
        image.text(&format!("sbin/{action}"), &script, 0o755);
    }
    image.link("sbin/init", "/init");
    let loads = Sysroot(lab.sysroot()).modules(&mut image, MODULES)?;
    image.text("etc/modules", &loads.join("\n"), 0o644);
    let plain = lab.path("guest.cpio");
    image.write(&plain)?;
    let mut gzip = run::command("gzip");
    run::success(gzip.arg("-9cn").arg(&plain).stdout(File::create(lab.guest())?))?;
    stamp.write()
}
