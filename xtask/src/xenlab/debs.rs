//! Xen, its tools, sshd and a kernel from Debian's packages: fetched and unpacked into a folder, not installed.
//!
//! Of the hypervisor, the oldest version that Debian still has comes as well: pools are seldom patched at once, and what a fix takes
//! away (since XSA-495 Debian builds Xen without shadow paging, and a PV guest's writes cannot be logged) is tried with it and without.
//!
//! Fails when apt knows no such package or cannot fetch it; as root the lists are refreshed once before giving up.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::paths::Lab;
use super::stamp::Stamp;
use crate::packages::is_root;
use crate::run;

/// Change this with `PACKAGES` or with what is done to them.
const RECIPE: &str = "debian 12, xen 4.17, recipe 2";

const HYPERVISOR: &str = "xen-hypervisor-4.17-amd64";
const PACKAGES: &[&str] = &[
    HYPERVISOR,
    "xen-utils-4.17",
    // oxenstored.conf: without it oxenstored does not start
    "xen-utils-common",
    "xenstore-utils",
    "libxenmisc4.17",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxenstore4",
    "libxentoolcore1",
    "libxentoollog1",
    "libyajl2",
    "libfdt1",
    "libnl-3-200",
    "libnl-route-3-200",
    "libaio1",
    "libuv1",
    "liburing2",
    "libwrap0",
    "openssh-server",
];

/// Returns with `sysroot` holding the packages; fetches nothing when it does already.
pub(crate) fn unpack(lab: &Lab<'_>) -> Result<()> {
    let (sysroot, oldest) = (lab.sysroot(), lab.sysroot_of_oldest());
    let versions = hypervisors()?;
    let content = format!("{RECIPE}\n{}\n{}", PACKAGES.join(" "), versions.join(" "));
    let stamp = Stamp::of_content(&sysroot, &content);
    if stamp.is_fresh() {
        return Ok(());
    }
    let folder = lab.path("debs");
    for old in [&sysroot, &oldest, &folder] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    fs::create_dir_all(&folder)?;
    println!("xenlab: fetching {} Debian packages and a kernel", PACKAGES.len());
    if let Err(error) = download(&folder) {
        if !is_root() {
            return Err(error.context("apt-get download; `apt-get update` as root may help"));
        }
        run::output(run::command("apt-get").args(["update", "-q"]))?;
        download(&folder)?;
    }
    unpack_all(&folder, &sysroot)?;
    if let [_, .., version] = &versions[..] {
        let folder = folder.join("oldest");
        fs::create_dir_all(&folder)?;
        fetch(&folder, &[format!("{HYPERVISOR}={version}")])?;
        unpack_all(&folder, &oldest)?;
    }
    let release = super::tree::Sysroot(sysroot.clone()).kernel_release()?;
    run::output(run::command("/usr/sbin/depmod").arg("-b").arg(&sysroot).arg(&release))?;
    stamp.write()
}

fn download(folder: &Path) -> Result<()> {
    let mut packages: Vec<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
    packages.push(kernel_package()?);
    fetch(folder, &packages)
}

fn fetch(folder: &Path, packages: &[String]) -> Result<()> {
    let mut apt = run::command("apt-get");
    run::output(apt.current_dir(folder).args(["download", "-q"]).args(packages)).map(drop)
}

fn unpack_all(folder: &Path, into: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            run::output(run::command("dpkg").arg("-x").arg(&path).arg(into))?;
        }
    }
    Ok(())
}

/// The versions that Debian has, newest first; none before its lists are fetched.
fn hypervisors() -> Result<Vec<String>> {
    let listing = run::output(run::command("apt-cache").args(["madison", HYPERVISOR]))?;
    let mut versions: Vec<_> = listing
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(|v| v.trim().to_owned())
        .collect();
    versions.dedup();
    Ok(versions)
}

/// The kernel that `linux-image-amd64` stands for today.
fn kernel_package() -> Result<String> {
    let answer = run::output(run::command("apt-cache").args(["depends", "linux-image-amd64"]))?;
    answer
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .map(|rest| format!("linux-image-{rest}"))
        .context("apt-cache names no kernel for linux-image-amd64; run `apt-get update` as root")
}
