//! One guest, described once: for the agent as a specification, for xl as a configuration file.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use vmm_proto::v1::{GuestKind, Nic, Spec};

/// Debian's kernel as it comes, compressed; and the ELF file inside it.
pub(crate) const VMLINUZ: &str = "/g/vmlinuz";
pub(crate) const VMLINUX: &str = "/g/vmlinux";
const INITRAMFS: &str = "/g/guest.cpio.gz";
/// A kernel that halts at once.
const FILLER: &str = "/g/filler";
const MEMORY_MIB: u64 = 128;
const FILLER_MIB: u64 = 32;
const BRIDGE: &str = "br0";
/// Not `quiet`: the first line is the kernel's, so that the guest's own boot is the smaller part of what is measured.
const CMDLINE: &str = "console=hvc0 workload=idle";
const FIRST_LINE_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// What is built.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) kind: GuestKind,
    pub(crate) kernel: String,
    pub(crate) has_nic: bool,
    is_filler: bool,
}

impl Guest {
    pub(crate) fn new(kind: GuestKind, kernel: &str) -> Self {
        Self { kind, kernel: kernel.to_owned(), has_nic: false, is_filler: false }
    }

    /// Halts at once: takes no time of a CPU and asks nothing of xenstore.
    pub(crate) fn filler() -> Self {
        Self { is_filler: true, ..Self::new(GuestKind::Pvh, FILLER) }
    }

    pub(crate) fn with_nic(self) -> Self {
        Self { has_nic: true, ..self }
    }

    pub(crate) fn label(&self) -> &'static str {
        match self.kind {
            GuestKind::Pv => "PV",
            _ => "PVH",
        }
    }

    fn memory_mib(&self) -> u64 {
        if self.is_filler { FILLER_MIB } else { MEMORY_MIB }
    }

    fn initramfs(&self) -> Option<&'static str> {
        (!self.is_filler).then_some(INITRAMFS)
    }

    pub(crate) fn spec(&self, name: &str, nic_number: u32) -> Spec {
        let [_, _, c, d] = nic_number.to_be_bytes();
        let nic = Nic {
            index: 0,
            mac: format!("00:16:3e:00:{c:02x}:{d:02x}"),
            bridge: BRIDGE.to_owned(),
        };
        Spec {
            name: name.to_owned(),
            kind: self.kind,
            vcpus: 1,
            vcpus_max: 1,
            memory_kib: self.memory_mib() * 1024,
            memory_max_kib: self.memory_mib() * 1024,
            kernel: self.kernel.clone(),
            initramfs: self.initramfs().map(str::to_owned),
            cmdline: CMDLINE.to_owned(),
            nics: self.has_nic.then_some(nic).into_iter().collect(),
            ..Spec::default()
        }
    }

    pub(crate) fn xl_config(&self, name: &str) -> String {
        let ramdisk =
            self.initramfs().map_or(String::new(), |path| format!("ramdisk=\"{path}\"\n"));
        let vif = if self.has_nic { format!("vif=[\"bridge={BRIDGE}\"]\n") } else { String::new() };
        format!(
            "name=\"{name}\"\ntype=\"{}\"\nkernel=\"{}\"\n{ramdisk}extra=\"{CMDLINE}\"\nmemory={}\nvcpus=1\n{vif}",
            self.label().to_lowercase(),
            self.kernel,
            self.memory_mib(),
        )
    }
}

fn console_log(name: &str) -> String {
    format!("/var/log/xen/console/guest-{name}.log")
}

/// The log of a guest of the same name, from a run before. Usually there is none.
pub(crate) fn forget_console(name: &str) {
    std::fs::remove_file(console_log(name)).ok();
}

/// Waits for the first byte of a guest in the log that xenconsoled keeps of it.
pub(crate) async fn first_line(name: &str, start: Instant) -> Result<Duration> {
    let log = console_log(name);
    while start.elapsed() < FIRST_LINE_LIMIT {
        if std::fs::metadata(&log).is_ok_and(|meta| meta.len() > 0) {
            return Ok(start.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("{name} wrote nothing to its console in {FIRST_LINE_LIMIT:?}")
}
