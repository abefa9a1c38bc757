//! VMs in files: a suspended guest's memory and state, sealed for this host, or as `xl` writes them.
//!
//! ```text
//!   save:     Xen ── worker ── pipe ──► pump: 1 MiB, packed, sealed, written beside ──► synced, named    (writer.rs, place.rs)
//!   restore:  file ── pump: verified, unpacked, then handed on ── pipe ──► worker ── Xen                 (reader.rs)
//! ```
//!
//! A guest's memory holds its secrets, and whoever can change it owns the guest: each record is encrypted and authenticated under
//! a key that only this host has (`saved.key` in the state directory, made at first use; [`key`], [`mod@format`]). A file in `xl`'s
//! format ([`xl`]), which it is when that was asked for, has no seal: any host reads it, and so does anybody who can read files
//! there. Which one a file is, its first bytes tell ([`mod@file`]).
//!
//! # How to call it
//!
//! Everything here blocks; call it within `core.run`. `core.saved` is cheap to clone.
//!
//! ```text
//!   // before anything is recorded or suspended: what is there already stays
//!   saved.check_free(&path)?;
//!   // saving, once the guest has suspended itself
//!   saved.save(host, &Save { vm, spec, domid, path, format, saved_at }, &control)?;
//!   // its undo, and the search after a crash: a file or leftover of this VM goes, another file stays
//!   saved.remove(&path, vm)?;
//!   // restoring: first of all, before a domain is made
//!   let file = saved.open(&path, vm)?;                       // file.require(&spec), file.size()
//!   // once the shell has its limits and ports, in `with_shell`, as `image.build` is called
//!   let built = saved.restore(host, file, &Restore { shell, spec: &RestoreSpec { … } }, &control)?;
//! ```
//!
//! `control` is an `Arc<`[`Control`]`>`: `control.cancel` ends a transfer within 50 ms (and with it the worker's, whose pipe
//! breaks), `control.bytes()` tells how far it is. A [`SavedError`] says what is wrong in words for people; `XenError::from` gives
//! it a kind for [`crate::domain`]'s own errors.
//!
//! # How it fails
//!
//! An interrupted save leaves no file of that name; a leftover beside it goes with the next save or [`SavedFiles::remove`]. A file
//! that is cut off, changed anywhere, of another host or another VM is refused: by [`SavedFiles::open`] if its header tells, else
//! by [`SavedFiles::restore`], before a byte of the bad record is handed on. The domain is then half restored, as after a failed
//! build: destroy it.

mod error;
mod file;
mod format;
mod key;
mod pack;
mod pipe;
mod place;
mod reader;
#[cfg(test)]
mod tests;
mod writer;
mod xl;

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;
use vmm_core::vm::target_elsewhere;
use vmm_proto::v1::SavedFormat;
use xen_bindings::{BuiltGuest, DomId, RestoreSpec, Shell, XenError, XenErrorKind};

use crate::env::Backend;
use crate::memory::agreement;

pub(crate) use error::SavedError;
pub(crate) use file::SavedFile;
pub(crate) use pipe::Control;

use file::SavingFile;
use format::Header;
use key::HostKey;

/// The key's name in the state directory.
const KEY_FILE: &str = "saved.key";

/// Bytes handed on at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a guest had when it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memory: Kib,
    pub(crate) vcpus_online: u32,
}

/// How a transfer came to its end.
#[derive(Debug, PartialEq, Eq)]
enum Pumped {
    /// Everything was taken.
    Whole,
    /// The other end took no more before the file's end.
    Refused,
}

/// What to save, and where to.
pub(crate) struct Save {
    pub(crate) vm: VmId,
    pub(crate) spec: VmSpec,
    /// A domain that has suspended itself.
    pub(crate) domid: DomId,
    pub(crate) path: PathBuf,
    pub(crate) format: SavedFormat,
    /// Since 1970.
    pub(crate) saved_at: Duration,
}

/// What to restore into.
pub(crate) struct Restore<'a> {
    pub(crate) shell: &'a Shell,
    pub(crate) spec: &'a RestoreSpec,
}

/// The files of saved VMs of one host. Clones are the same.
#[derive(Clone)]
pub(crate) struct SavedFiles {
    key_path: Arc<PathBuf>,
    /// One at a time looks for the key: the first makes it.
    key: Arc<Mutex<()>>,
}

impl SavedFiles {
    /// Touches nothing yet.
    pub(crate) fn new(state: &Path) -> Self {
        Self { key_path: Arc::new(state.join(KEY_FILE)), key: Arc::default() }
    }

    fn key(&self) -> Result<HostKey, SavedError> {
        let _one = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        HostKey::open(&self.key_path)
    }

    /// Refuses a path that cannot be saved to: not absolute, with `..`, or taken.
    pub(crate) fn check_free(&self, path: &Path) -> Result<(), SavedError> {
        place::check_free(path)
    }

    /// Saves a suspended domain, which stays as it is. Answers the bytes of its stream.
    pub(crate) fn save(
        &self,
        host: &Backend,
        save: &Save,
        control: &Control,
    ) -> Result<u64, SavedError> {
        let missing =
            || XenError::new("domain_save", XenErrorKind::NoSuchDomain).domain(save.domid);
        let domain = host.xen.control.info(save.domid)?.ok_or_else(missing)?;
        let held = Kib(domain.pages.kib());
        // Where nobody has said what it is to hold, it is what it holds.
        let asked = agreement(host.xen.store.as_ref(), save.domid, &save.spec);
        let memory = asked.map_or(held, |asked| target_elsewhere(held, asked.target));
        let size = Size { memory, vcpus_online: domain.vcpus_online };
        let mut file = match save.format {
            SavedFormat::Sealed => {
                let header = Header {
                    vm: save.vm,
                    spec: save.spec.clone(),
                    memory_kib: size.memory.0,
                    vcpus_online: size.vcpus_online,
                    xen: Header::xen_of(&host.xen.host.version()?),
                    saved_at_s: save.saved_at.as_secs(),
                };
                SavingFile::sealed(&save.path, &self.key()?, &header)?
            }
            SavedFormat::Xl => SavingFile::xl(&save.path, save.vm, &save.spec, size)?,
        };
        let (from, to) = pipe::pair()?;
        let (pumped, saved) = std::thread::scope(|scope| {
            let pump = scope.spawn(|| file.pump(from, control));
            let saved = host.xen.image.save(save.domid, to.as_fd());
            // The last writing end: now the pump sees the stream's end.
            drop(to);
            (join(pump), saved)
        });
        // A pump that stopped breaks the pipe, so its reason is the one that counts.
        pumped?;
        saved?;
        file.finish()?;
        Ok(control.bytes())
    }

    /// Opens a saved VM; refuses what is not this VM's, or is sealed and not this host's or does not verify.
    pub(crate) fn open(&self, path: &Path, vm: VmId) -> Result<SavedFile, SavedError> {
        SavedFile::open(place::check(path)?, vm, || self.key())
    }

    /// Restores into a shell that was made as the header says. It succeeds only when the whole file has verified.
    pub(crate) fn restore(
        &self,
        host: &Backend,
        mut file: SavedFile,
        into: &Restore<'_>,
        control: &Control,
    ) -> Result<BuiltGuest, SavedError> {
        let (from, to) = pipe::pair()?;
        let (pumped, restored) = std::thread::scope(|scope| {
            let pump = scope.spawn(|| file.pump(to, control));
            let restored = host.xen.image.restore(into.shell, from.as_fd(), into.spec);
            drop(from);
            (join(pump), restored)
        });
        let pumped = pumped?;
        let built = restored?;
        if pumped == Pumped::Refused {
            file.verify_rest(control)?;
        }
        Ok(built)
    }

    /// Removes this VM's saved file, on disk when it returns, and whatever an interrupted save has left. A file that [`Self::open`]
    /// refuses for what is in it stays: it is not this VM's, or cannot be restored. One that cannot be looked at is an error.
    pub(crate) fn remove(&self, path: &Path, vm: VmId) -> Result<(), SavedError> {
        place::remove_leftover(path)?;
        match self.open(path, vm) {
            Ok(_) => place::remove(path),
            // An agent that died may have removed it, and not come to the directory.
            Err(SavedError::NotFound(_)) => place::sync_directory(path),
            Err(error) if error.is_about_content() => {
                let path = path.display();
                tracing::warn!(%path, vm_id = %vm, %error, "not a saved file of this VM: it stays");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// A panic goes on here.
fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
