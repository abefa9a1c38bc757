//! The emulator's command line, and what it and the host said when something went wrong.
//!
//! Fails when its log cannot be made.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::paths::Lab;
use super::record::Flavour;

const LOG_LINES: usize = 25;

const RAM_MIB: &str = "3072";
/// `max` crashes the PV dom0 and `EPYC` panics Xen. Without npt Xen offers no PVH; without rdrand dom0's random pool
/// stays empty for 40 s; the rest keeps TLS and AES off their portable code. The emulator's TSC is one clock for all its processors,
/// which it may not say (`invtsc`) unless forced; without it Xen emulates each guest's TSC, and four in five of all exits of a guest
/// are for that.
pub(crate) const CPU: &str = "qemu64,+svm,+npt,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+invtsc,x-force-features=on";
/// One that can less.
pub(crate) const LESSER_CPU: &str =
    "qemu64,+svm,+npt,+rdrand,+ssse3,+sse4.1,+aes,+pclmulqdq,+invtsc,x-force-features=on";
const XEN: &str =
    "console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M dom0_max_vcpus=1 noreboot=1";
const DOM0: &str = "console=hvc0 net.ifnames=0 quiet";

/// `qemu` is the program, tied to us or not; the caller adds the network.
///
/// The emulated SVM breaks guests of hosts with more than one CPU. With two CPUs, each in a thread of its own, one PVH guest in six
/// triple-faults while it boots, built by xl or by us (QEMU 7.2); with two in one thread, guests hang or panic instead; with one, none
/// was seen. QEMU's source suggests that a CPU which is kicked out of a guest without an interrupt delivers the last one again; that
/// is not proven. QEMU 10 starts no PVH guest of Xen 4.17 at all.
pub(crate) fn command(
    lab: &Lab<'_>,
    mut qemu: Command,
    id: u32,
    (cpu, cpus): (&str, u32),
    flavour: Flavour,
) -> Result<Command> {
    let path = |path: PathBuf| path.display().to_string();
    let modules = format!(
        "{} {DOM0} hostid={id} xenstored={},{}",
        path(lab.vmlinuz()),
        flavour.name(),
        path(lab.dom0())
    );
    qemu.args([
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        cpu,
        "-m",
        RAM_MIB,
        "-smp",
        &cpus.to_string(),
    ]);
    qemu.args(["-no-reboot", "-display", "none", "-vga", "none", "-monitor", "none"]);
    qemu.args(["-kernel", &path(lab.xen_of(id)), "-append", XEN, "-initrd", &modules]);
    qemu.args(["-serial", &serial(lab, id)]);
    qemu.args(["-drive", &shared_disk(lab), "-device", "virtio-blk-pci,drive=san,share-rw=on"]);
    // A group of its own: an interrupt in the terminal is for us, and we end the hosts.
    qemu.process_group(0).stdin(Stdio::null());
    let log = File::create(lab.qemu_log(id)).context("make the emulator's log")?;
    qemu.stdout(log.try_clone()?).stderr(log);
    Ok(qemu)
}

/// All emulators read and write one file, through one cache: that of this machine.
fn shared_disk(lab: &Lab<'_>) -> String {
    let file = lab.shared_disk().display().to_string();
    format!("if=none,id=san,format=raw,file.locking=off,cache=writeback,file.filename={file}")
}

/// Also what tells our emulators from others: the path is of this workspace and this host.
pub(crate) fn serial(lab: &Lab<'_>, id: u32) -> String {
    format!("file:{}", lab.serial_log(id).display())
}

pub(crate) fn logs(lab: &Lab<'_>, id: u32) -> String {
    let mut text = String::new();
    for log in [lab.qemu_log(id), lab.serial_log(id)] {
        let content = fs::read(&log).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let lines: Vec<_> = content.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        text += &format!("--- {}\n{}\n", log.display(), tail.join("\n"));
    }
    text
}
