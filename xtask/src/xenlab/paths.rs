//! The lab's folder and the names in it, and the lock that keeps two builds apart.
//!
//! Fails when the folder cannot be made or locked.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::workspace::Workspace;

/// The lab of one workspace.
pub(crate) struct Lab<'a> {
    pub(crate) workspace: &'a Workspace,
    folder: PathBuf,
}

impl<'a> Lab<'a> {
    pub(crate) fn open(workspace: &'a Workspace) -> Result<Self> {
        let folder = workspace.target.join("xenlab");
        fs::create_dir_all(folder.join("hosts"))
            .with_context(|| format!("make {}", folder.display()))?;
        Ok(Self { workspace, folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Debian's packages, unpacked.
    pub(crate) fn sysroot(&self) -> PathBuf {
        self.path("sysroot")
    }

    /// The oldest hypervisor that Debian still has, when it is not the only one.
    pub(crate) fn sysroot_of_oldest(&self) -> PathBuf {
        self.path("sysroot-oldest")
    }

    /// The newest Xen, and the oldest.
    pub(crate) fn xens(&self) -> [PathBuf; 2] {
        [self.path("xen"), self.path("xen-oldest")]
    }

    /// What a host boots: both are in every run of two hosts, and one host alone can log what its PV guests write.
    pub(crate) fn xen_of(&self, host: u32) -> PathBuf {
        let [newest, oldest] = self.xens();
        if host.is_multiple_of(2) { newest } else { oldest }
    }

    /// Debian's kernel as it comes, compressed.
    pub(crate) fn vmlinuz(&self) -> PathBuf {
        self.path("vmlinuz")
    }

    /// The ELF file inside it.
    pub(crate) fn vmlinux(&self) -> PathBuf {
        self.path("vmlinux")
    }

    pub(crate) fn guest(&self) -> PathBuf {
        self.path("guest.cpio.gz")
    }

    pub(crate) fn dom0(&self) -> PathBuf {
        self.path("dom0.cpio")
    }

    /// A disk that every host reaches, as a storage network gives it.
    pub(crate) fn shared_disk(&self) -> PathBuf {
        self.path("shared.img")
    }

    /// The private half of the key that opens every dom0; made here, of use nowhere else.
    pub(crate) fn ssh_key(&self) -> PathBuf {
        self.path("ssh_key")
    }

    /// What the suites read: every running host.
    pub(crate) fn hosts_file(&self) -> PathBuf {
        self.path("hosts.json")
    }

    pub(crate) fn host_state(&self, id: u32) -> PathBuf {
        self.path(&format!("hosts/{id}.json"))
    }

    pub(crate) fn serial_log(&self, id: u32) -> PathBuf {
        self.path(&format!("hosts/{id}.serial.log"))
    }

    pub(crate) fn qemu_log(&self, id: u32) -> PathBuf {
        self.path(&format!("hosts/{id}.qemu.log"))
    }

    /// Held until dropped; waits for another build of the same lab.
    pub(crate) fn lock(&self) -> Result<File> {
        let file = File::create(self.path("lock"))?;
        flock(&file, FlockOperation::LockExclusive).context("lock the lab")?;
        Ok(file)
    }
}
