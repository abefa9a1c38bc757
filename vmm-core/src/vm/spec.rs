//! What a VM shall be. Only a valid one can be made.

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
        "memory {memory} of at most {memory_max} is refused: use 32 MiB <= memory <= memory-max <= 4 TiB"
    )]
    Memory {
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
        "disk {0:?} is refused: name an image file on the host by its absolute path, and a device xvda to xvdp"
    )]
    Disk(String),
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

/// One disk: an image file on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// Absolute path on the host.
    pub path: String,
    /// The name in the guest: `xvda` to `xvdp`.
    pub device: String,
    /// Refuse writes.
    pub read_only: bool,
}

impl DiskSpec {
    /// Xen's number of the device: major 202, 16 minors a disk.
    #[must_use]
    pub fn device_number(&self) -> Option<u32> {
        let letter = self.device.strip_prefix("xvd")?.as_bytes();
        match letter {
            [l @ b'a'..=b'p'] => Some((202 << 8) + u32::from(l - b'a') * 16),
            _ => None,
        }
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
    /// vCPUs online at boot.
    pub vcpus: u32,
    /// vCPUs it can ever have; the spare ones can be hot-added.
    pub vcpus_max: u32,
    /// Memory at boot.
    pub memory: Kib,
    /// Memory that the guest can grow to without hot-adding blocks.
    pub memory_max: Kib,
    /// The kernel on the host.
    pub kernel: String,
    /// The initramfs on the host.
    pub initramfs: Option<String>,
    /// The kernel's command line.
    pub cmdline: String,
    /// Its disk.
    pub disk: Option<DiskSpec>,
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
        if !(MEMORY_MIN..=self.memory_max).contains(&self.memory) || self.memory_max > MEMORY_LIMIT
        {
            return Err(SpecError::Memory { memory: self.memory, memory_max: self.memory_max });
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
        if let Some(disk) = &self.disk
            && (!is_absolute_path(&disk.path) || disk.device_number().is_none())
        {
            return Err(SpecError::Disk(format!("{}={}", disk.device, disk.path)));
        }
        Ok(self)
    }
}

fn is_absolute_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 4096
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            name: VmName::new("web-1").expect("valid"),
            vcpus: 1,
            vcpus_max: 2,
            memory: Kib::from_mib(128),
            memory_max: Kib::from_mib(256),
            kernel: "/boot/vmlinuz".into(),
            initramfs: None,
            cmdline: "console=hvc0".into(),
            disk: None,
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
        let disk = |device: &str| {
            Some(DiskSpec { path: "/d.img".into(), device: device.into(), read_only: false })
        };
        check(|s| s.disk = disk("xvda"), true);
        check(|s| s.disk = disk("xvdq"), false);
        check(|s| s.disk = disk("sda"), false);
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

    #[test]
    fn device_numbers_are_xens() {
        let number = |device: &str| {
            DiskSpec { path: "/d".into(), device: device.into(), read_only: false }.device_number()
        };
        assert_eq!(number("xvda"), Some(51712));
        assert_eq!(number("xvdb"), Some(51728));
        assert_eq!(number("xvdaa"), None);
    }
}
