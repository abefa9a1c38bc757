//! What two VMs must have in common for one shell to fit either.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vmm_core::units::Kib;
use vmm_core::vm::{GuestKind, VmSpec};

/// A file as it was when it was looked at: one that was changed since is another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &str) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            path: Path::new(path).to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Everything that is in a guest's memory or its domain before it has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flavour {
    is_pv: bool,
    vcpus: (u32, u32),
    memory: (Kib, Kib),
    cmdline: String,
    kernel: Stamp,
    initramfs: Option<Stamp>,
}

impl Flavour {
    /// Blocks for a look at two files.
    pub(crate) fn of(spec: &VmSpec) -> io::Result<Self> {
        Ok(Self {
            is_pv: spec.kind == GuestKind::Pv,
            vcpus: (spec.vcpus, spec.vcpus_max),
            memory: (spec.memory, spec.memory_max),
            cmdline: spec.cmdline.clone(),
            kernel: Stamp::of(&spec.kernel)?,
            initramfs: spec.initramfs.as_deref().map(Stamp::of).transpose()?,
        })
    }
}
