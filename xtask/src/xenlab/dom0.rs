//! The first part of dom0's image, from Debian alone: tools, kernel modules, sshd and the programs' libraries.
//!
//! Fails when a package lacks what is expected of it, naming the file.

use std::fs;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::paths::Lab;
use super::stamp::Stamp;
use super::tree::Sysroot;
use crate::run;

const INIT: &str = include_str!("dom0-init.sh");

/// In load order: xenfs finds nothing to show before xen-privcmd is there.
const MODULES: &[&str] = &[
    "virtio_pci",
    "xen-privcmd",
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xenfs",
    "virtio_net",
    // the disk that all hosts reach
    "virtio_blk",
    "bridge",
    "loop",
    "tun",
    // RAM disks: block devices that are not files
    "brd",
    "xen-netback",
    "xen-blkback",
    // rate limits and counters on guests' links
    "sch_tbf",
    "sch_ingress",
    "sch_htb",
    "cls_matchall",
    "cls_u32",
    "act_police",
    "ifb",
];

/// Two of 32 MiB; memory is taken when they are written.
const RAM_DISKS: &str = "options brd rd_nr=2 rd_size=32768\n";

const XEN_TOOLS: &[&str] = &[
    "xl",
    "oxenstored",
    "xenstored",
    "xenconsoled",
    "xenconsole",
    "libxl-save-helper",
    "xen-init-dom0",
    "xenctx",
    "xentop",
    "xen-hvmctx",
    "xenstore-control",
    "xenpm",
];

/// What Xen's own hotplug scripts run, and what gives the agent the rights that it declares and no more. From the system, which
/// is the same release as the packages; bash for one refuses to be replaced by busybox.
const SYSTEM_TOOLS: &[&str] =
    &["bin/bash", "sbin/ip", "sbin/bridge", "usr/bin/flock", "usr/bin/setpriv"];
const SCRIPTS: &str = "etc/xen/scripts";

const SSHD: &str = "\
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
HostKey /etc/ssh/host_key
AuthorizedKeysFile .ssh/authorized_keys
StrictModes no
UseDNS no
SetEnv PATH=/usr/lib/xen-4.17/bin:/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
";

/// Returns with `base.cpio` up to date.
pub(crate) fn build(lab: &Lab<'_>) -> Result<()> {
    make_keys(lab)?;
    let base = lab.path("base.cpio");
    let mut stamp = Stamp::new(&base, "dom0")?;
    stamp.input(&lab.path("sysroot.stamp"))?;
    stamp.input(&lab.ssh_key())?;
    if stamp.is_fresh() {
        return Ok(());
    }
    println!("xenlab: building dom0");
    let sysroot = Sysroot(lab.sysroot());
    let mut image = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp", "var/log", "var/empty", "g", "opt/vmm"] {
        image.folder(folder);
    }
    image.text("init", INIT, 0o755);
    image.copy("bin/busybox", "/bin/busybox", 0o755);
    image.link("bin/sh", "busybox");
    programs(&mut image, &sysroot)?;
    sysroot.modules(&mut image, MODULES)?;
    settings(&mut image, lab)?;
    image.write(&base)?;
    stamp.write()
}

fn programs(image: &mut Archive, sysroot: &Sysroot) -> Result<()> {
    for tool in XEN_TOOLS {
        sysroot.program(image, &format!("usr/lib/xen-4.17/bin/{tool}"))?;
    }
    for tool in ["read", "write", "list", "exists", "chmod", "rm", "ls", "watch"] {
        sysroot.program(image, &format!("usr/bin/xenstore-{tool}"))?;
    }
    sysroot.program(image, "usr/sbin/sshd")?;
    let system = Sysroot("/".into());
    for tool in SYSTEM_TOOLS {
        system.program(image, tool)?;
    }
    for entry in fs::read_dir(sysroot.0.join(SCRIPTS))? {
        let script = entry?;
        let name = script.file_name().to_string_lossy().into_owned();
        image.copy(&format!("{SCRIPTS}/{name}"), script.path(), 0o755);
    }
    // Opened at run time, so ldd does not show them: by pthread_cancel, and by the name service.
    for library in ["libgcc_s.so.1", "libnss_files.so.2"] {
        let path = format!("lib/x86_64-linux-gnu/{library}");
        let from = fs::canonicalize(format!("/{path}")).with_context(|| path.clone())?;
        image.copy(&path, from, 0o755);
    }
    Ok(())
}

fn settings(image: &mut Archive, lab: &Lab<'_>) -> Result<()> {
    let public = fs::read_to_string(lab.ssh_key().with_extension("pub"))?;
    image.text("root/.ssh/authorized_keys", &public, 0o600);
    image.copy("etc/ssh/host_key", lab.path("host_key"), 0o600);
    image.text("etc/ssh/sshd_config", SSHD, 0o644);
    image.text(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
        0o644,
    );
    image.text("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644);
    image.text("etc/shells", "/bin/sh\n", 0o644);
    image.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n", 0o644);
    image.text("etc/modules", &MODULES.join("\n"), 0o644);
    image.text("etc/modprobe.d/brd.conf", RAM_DISKS, 0o644);
    image.text("etc/xen/xl.conf", "autoballoon=\"0\"\n", 0o644);
    image.copy("etc/xen/oxenstored.conf", lab.sysroot().join("etc/xen/oxenstored.conf"), 0o644);
    for kind in ["pv", "pvh"] {
        let config = format!(
            "name=\"{kind}1\"\ntype=\"{kind}\"\nkernel=\"/g/vmlinux\"\nramdisk=\"/g/guest.cpio.gz\"\n\
             extra=\"console=hvc0 quiet workload=idle\"\nmemory=128\nmaxmem=256\nvcpus=1\nmaxvcpus=2\n"
        );
        image.text(&format!("g/{kind}.cfg"), &config, 0o644);
    }
    Ok(())
}

/// Keys of this lab alone: made once, never leave the target folder.
fn make_keys(lab: &Lab<'_>) -> Result<()> {
    for key in [lab.ssh_key(), lab.path("host_key")] {
        if !key.exists() {
            let mut keygen = run::command("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "xenlab", "-f"]).arg(&key);
            run::output(&mut keygen)?;
        }
    }
    Ok(())
}
