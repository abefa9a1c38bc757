//! What a VM shall be. Only a valid one can be made.

use std::collections::BTreeSet;

use super::device::{DISKS_MAX, DiskSpec, NICS_MAX, NicSpec};
use super::policy::{Autostart, OnEvent, Scheduling};
use crate::units::{BytesPerSecond, Kib, MilliCpu};

/// The most vCPUs of a PVH guest: the legacy APIC ids end here, at two ids a vCPU.
pub const VCPUS_LIMIT: u32 = 127;
/// Less than this and Debian's kernel does not reach its initramfs.
const MEMORY_MIN: Kib = Kib::from_mib(32);
/// More than this has not been tried (the memory map above 4 GiB has).
const MEMORY_LIMIT: Kib = Kib::from_mib(4 * 1024 * 1024);
const NAME_BYTES_MAX: usize = 63;
const CMDLINE_BYTES_MAX: usize = 1024;

/// Why a specification is refused. Every message says what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name cannot be a name.
    #[error(
        "name {0:?} is refused: use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
    )]
    Name(String),
    /// vCPUs out of range.
    #[error(
        "{vcpus} vCPUs of at most {vcpus_max} are refused: use 1 <= vcpus <= vcpus-max <= {VCPUS_LIMIT}"
    )]
    Vcpus {
        /// Online at boot.
        vcpus: u32,
        /// Ever.
        vcpus_max: u32,
    },
    /// Memory out of range.
    #[error(
        "memory {memory_min} <= {memory} <= {memory_max} is refused: use 32 MiB <= memory-min <= memory <= memory-max <= 4 TiB"
    )]
    Memory {
        /// The least that the host may balloon it down to.
        memory_min: Kib,
        /// At boot.
        memory: Kib,
        /// The most without hot-add.
        memory_max: Kib,
    },
    /// No kernel, or not an absolute path.
    #[error("kernel {0:?} is refused: name a file on the host by its absolute path")]
    Kernel(String),
    /// The initramfs is not an absolute path.
    #[error("initramfs {0:?} is refused: name a file on the host by its absolute path")]
    Initramfs(String),
    /// The command line cannot be passed.
    #[error(
        "the kernel command line is refused: use at most 1024 bytes without control characters"
    )]
    Cmdline,
    /// The disk cannot be attached.
    #[error(
        "disk {0:?} is refused: name an image file or a block device on the host by its absolute path, and a device xvda to xvdp that no other disk of the VM has"
    )]
    Disk(String),
    /// The NIC cannot be attached.
    #[error(
        "NIC {0:?} is refused: use a number from 0 to 7 that no other NIC of the VM has, a unicast MAC such as 00:16:3e:12:34:56, and a bridge name of at most 15 letters, digits, '.', '_' or '-'"
    )]
    Nic(String),
    /// The scheduler's parameters are out of range.
    #[error(
        "scheduling is refused: use a weight from 1 to 65535, a cap from 0 (none) to 65535 percent of one CPU, and CPU numbers below 4096"
    )]
    Scheduling,
    /// A set of CPUs cannot be read.
    #[error("CPUs {0:?} are refused: write numbers and ranges such as 0-3,7, or nothing for all")]
    Cpus(String),
    /// The start would be delayed beyond reason.
    #[error("an autostart delay of {0} s is refused: use at most 3600")]
    Autostart(u32),
    /// The kind of guest is one that is not built yet.
    #[error(
        "guest type {0:?} is refused: use pvh or pv; HVM guests and boot loaders from a disk are not supported yet"
    )]
    Kind(String),
}

/// How Xen runs the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GuestKind {
    /// Hardware-assisted, no device model.
    #[default]
    Pvh,
    /// Paravirtual.
    Pv,
}

/// A VM's name: unique in the pool, fit for a file name and a xenstore value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VmName(String);

impl VmName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`SpecError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, SpecError> {
        let name = name.into();
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits { Ok(Self(name)) } else { Err(SpecError::Name(name)) }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for VmName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the VM is expected to use. The scheduler charges it until statistics say better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Disk throughput, reads and writes.
    pub disk: BytesPerSecond,
}

/// What a VM shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSpec {
    /// Unique in the pool.
    pub name: VmName,
    /// PVH or PV.
    pub kind: GuestKind,
    /// vCPUs online at boot.
    pub vcpus: u32,
    /// vCPUs it can ever have; the spare ones can be hot-added.
    pub vcpus_max: u32,
    /// The least that the host's balloon policy may take it down to; as `memory` when it must not.
    pub memory_min: Kib,
    /// Memory at boot, and the most that the balloon policy gives back.
    pub memory: Kib,
    /// Memory that the guest can grow to without hot-adding blocks.
    pub memory_max: Kib,
    /// The kernel on the host.
    pub kernel: String,
    /// The initramfs on the host.
    pub initramfs: Option<String>,
    /// The kernel's command line.
    pub cmdline: String,
    /// Its disks, each with a device name of its own.
    pub disks: Vec<DiskSpec>,
    /// Its NICs, each with a number of its own.
    pub nics: Vec<NicSpec>,
    /// How Xen's scheduler treats it.
    pub scheduling: Scheduling,
    /// What follows when it ends by itself.
    pub on_event: OnEvent,
    /// Start it when its host has booted.
    pub autostart: Option<Autostart>,
    /// What it is expected to use.
    pub demand: Demand,
}

impl VmSpec {
    /// Gives the specification back when it can be built.
    ///
    /// # Errors
    /// The first field that cannot.
    pub fn validated(self) -> Result<Self, SpecError> {
        if !(1..=self.vcpus_max).contains(&self.vcpus) || self.vcpus_max > VCPUS_LIMIT {
            return Err(SpecError::Vcpus { vcpus: self.vcpus, vcpus_max: self.vcpus_max });
        }
        let memory_fits = MEMORY_MIN <= self.memory_min
            && self.memory_min <= self.memory
            && self.memory <= self.memory_max
            && self.memory_max <= MEMORY_LIMIT;
        if !memory_fits {
            let Self { memory_min, memory, memory_max, .. } = self;
            return Err(SpecError::Memory { memory_min, memory, memory_max });
        }
        if !is_absolute_path(&self.kernel) {
            return Err(SpecError::Kernel(self.kernel));
        }
        if let Some(initramfs) = self.initramfs.as_ref().filter(|path| !is_absolute_path(path)) {
            return Err(SpecError::Initramfs(initramfs.clone()));
        }
        if self.cmdline.len() > CMDLINE_BYTES_MAX || self.cmdline.chars().any(char::is_control) {
            return Err(SpecError::Cmdline);
        }
        self.check_devices()?;
        self.scheduling.check()?;
        if let Some(autostart) = &self.autostart {
            autostart.check()?;
        }
        Ok(self)
    }

    fn check_devices(&self) -> Result<(), SpecError> {
        let mut names = BTreeSet::new();
        for (count, disk) in self.disks.iter().enumerate() {
            disk.check()?;
            if count >= DISKS_MAX || !names.insert(&disk.device) {
                return Err(SpecError::Disk(disk.to_string()));
            }
        }
        let mut indexes = BTreeSet::new();
        for (count, nic) in self.nics.iter().enumerate() {
            nic.check()?;
            if count >= NICS_MAX || !indexes.insert(nic.index) {
                return Err(SpecError::Nic(nic.to_string()));
            }
        }
        Ok(())
    }
}

/// Can it name a file on a host? Absolute, without `..` and control characters.
#[must_use]
pub fn is_absolute_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 4096
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::super::device::Mac;
    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            name: VmName::new("web-1").expect("valid"),
            kind: GuestKind::Pvh,
            vcpus: 1,
            vcpus_max: 2,
            memory_min: Kib::from_mib(64),
            memory: Kib::from_mib(128),
            memory_max: Kib::from_mib(256),
            kernel: "/boot/vmlinuz".into(),
            initramfs: None,
            cmdline: "console=hvc0".into(),
            disks: Vec::new(),
            nics: Vec::new(),
            scheduling: Scheduling::default(),
            on_event: OnEvent::default(),
            autostart: None,
            demand: Demand::default(),
        }
    }

    fn check(change: impl FnOnce(&mut VmSpec), accepted: bool) {
        let mut changed = spec();
        change(&mut changed);
        let shown = format!("{changed:?}");
        assert_eq!(changed.validated().is_ok(), accepted, "{shown}");
    }

    #[test]
    fn only_specifications_that_can_be_built_are_valid() {
        check(|_| (), true);
        check(|s| s.vcpus = 0, false);
        check(|s| s.vcpus = 3, false);
        check(|s| s.vcpus_max = VCPUS_LIMIT + 1, false);
        check(|s| s.memory = Kib::from_mib(8), false);
        check(|s| s.memory = Kib::from_mib(257), false);
        check(|s| s.kernel = "boot/vmlinuz".into(), false);
        check(|s| s.kernel = "/boot/../etc/shadow".into(), false);
        check(|s| s.initramfs = Some("x".into()), false);
        check(|s| s.cmdline = "a\nb".into(), false);
        check(|s| s.memory_min = Kib::from_mib(129), false);
        check(|s| s.scheduling.weight = 0, false);
        check(|s| s.autostart = Some(Autostart { order: 1, delay_s: 3601 }), false);
        let disk = |device: &str| DiskSpec {
            path: "/d.img".into(),
            device: device.into(),
            read_only: false,
        };
        check(|s| s.disks = vec![disk("xvda"), disk("xvdb")], true);
        check(|s| s.disks = vec![disk("xvda"), disk("xvda")], false);
        check(|s| s.disks = vec![disk("xvdq")], false);
        check(|s| s.disks = vec![disk("sda")], false);
        let nic = |index, bridge: &str| NicSpec {
            index,
            mac: Mac([0, 0x16, 0x3e, 0, 0, 1]),
            bridge: bridge.into(),
        };
        check(|s| s.nics = vec![nic(0, "br0"), nic(1, "br0")], true);
        check(|s| s.nics = vec![nic(0, "br0"), nic(0, "br1")], false);
        check(|s| s.nics = vec![nic(8, "br0")], false);
        check(|s| s.nics = vec![nic(0, "br/0")], false);
        check(|s| s.nics = vec![nic(0, "a-name-too-long-")], false);
    }

    #[test]
    fn names_are_fit_for_files_and_xenstore() {
        for (name, accepted) in [
            ("a", true),
            ("web-1.lab_2", true),
            ("", false),
            ("-a", false),
            ("a/b", false),
            ("ä", false),
        ] {
            assert_eq!(VmName::new(name).is_ok(), accepted, "{name:?}");
        }
    }
}
