//! Kernels, unpacked once and kept.
//!
//! Distributions pack their kernels, and libxenguest unpacks one anew for every guest: of six seconds that a start takes in an
//! emulated dom0, four. Here it is done once a kernel.
//!
//! ```text
//!   prepare(path) ── stat ── known? ──────────────── yes ── its entry still whole? ── yes ──► the unpacked file, pinned
//!                              │ no                                 │ no
//!                      what is it? (bzimage.rs)                  forgotten
//!                       │      │       └─ neither bzImage nor ELF ──► BadImage
//!                       │      └─ ELF, or packed in a way that libxenguest must do ──► the original
//!                       └─ hash ── an entry has it? ── no ── room? ── unpack (a worker; unpack.rs) ── keep (shelf.rs)
//! ```
//!
//! # How to call it
//!
//! [`Kernels::prepare`] blocks: call it on the blocking pool, and keep what it answers until the build has ended.
//!
//! ```text
//!   let (kernels, path) = (core.kernels.clone(), PathBuf::from(&spec.kernel));
//!   let kernel = core.run(move |_| kernels.prepare(&path)).await.map_err(XenError::from)?;
//!   BuildSpec { kernel: kernel.to_path_buf(), … }         // `kernel` lives until `image.build` has returned
//! ```
//!
//! # Who owns what
//!
//! The shelf owns the files; `State` owns what is known about them. A [`PreparedKernel`] pins its entry: it is not evicted,
//! whatever comes. One kernel is unpacked by one caller, the others wait for it.
//!
//! # How it fails
//!
//! A kernel that is none is refused ([`KernelError`]). What the cache itself cannot do (no room, a full disk, a worker that died)
//! is logged, and the answer is the original path: the build is slow, and goes on.

mod bzimage;
mod error;
mod identity;
mod shelf;
mod state;
#[cfg(test)]
mod tests;
mod unpack;

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use bzimage::{Format, Packed};
pub use error::KernelError;
pub use unpack::{InProcess, Unpack, UnpackError};

use bzimage::Kind;
use identity::{ContentHash, FileState};
use shelf::{Entry, Shelf};
use state::{Claim, Known, State};

/// No kernel is that large; libxenguest has the same bound.
pub const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// What the cache may take.
#[derive(Clone, Copy, Debug)]
pub struct KernelLimits {
    /// Bytes of unpacked kernels on disk; 0 turns the cache off.
    pub bytes_max: u64,
    /// Kernels that are unpacked at once: each takes dom0 some 100 MB of memory.
    pub unpackings_max: u32,
}

/// A kernel to build with. Keep it until the build has ended.
#[derive(Debug)]
pub struct PreparedKernel {
    path: PathBuf,
    /// Holds the entry on the shelf.
    pin: Option<Arc<Entry>>,
}

impl PreparedKernel {
    fn original(path: &Path) -> Self {
        Self { path: path.to_owned(), pin: None }
    }

    /// Whether it is the unpacked one.
    #[must_use]
    pub fn is_unpacked(&self) -> bool {
        self.pin.is_some()
    }
}

impl Deref for PreparedKernel {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// The cache. Clones are the same cache.
#[derive(Clone)]
pub struct Kernels {
    /// `None`: off.
    cache: Option<Arc<Cache>>,
}

struct Cache {
    shelf: Shelf,
    state: State,
    unpack: Arc<dyn Unpack>,
}

impl Kernels {
    /// Opens the cache in `dir`, which is made when it is missing. A directory that cannot be used turns the cache off.
    #[must_use]
    pub fn open(dir: &Path, limits: KernelLimits, unpack: Arc<dyn Unpack>) -> Self {
        if limits.bytes_max == 0 {
            return Self { cache: None };
        }
        let opened = Shelf::open(dir);
        let (shelf, entries) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let dir = dir.display();
                tracing::warn!(%dir, %error, "kernels are not kept unpacked");
                return Self { cache: None };
            }
        };
        let cache = Cache { shelf, state: State::new(limits, entries), unpack };
        cache.evict(0);
        Self { cache: Some(Arc::new(cache)) }
    }

    /// The kernel in the form that a guest is built from fastest. Blocks for as long as it takes to unpack it.
    ///
    /// # Errors
    /// See [`KernelError`].
    pub fn prepare(&self, kernel: &Path) -> Result<PreparedKernel, KernelError> {
        let Some(cache) = &self.cache else { return Ok(PreparedKernel::original(kernel)) };
        let metadata = fs::metadata(kernel).map_err(|error| KernelError::io(kernel, &error))?;
        if !metadata.is_file() {
            let why = "it is not a file".into();
            return Err(KernelError::BadImage { path: kernel.to_owned(), why });
        }
        let source = FileState::of(&metadata);
        if let Some(known) = cache.known(kernel, source) {
            return Ok(known);
        }
        let claim = cache.state.claim(Claim::Source(source));
        let _claim = claim.map_err(|waited| busy(kernel, waited))?;
        match cache.known(kernel, source) {
            Some(known) => Ok(known),
            None => cache.examine(kernel),
        }
    }
}

impl Cache {
    /// What an earlier call has found out about this very file.
    fn known(&self, kernel: &Path, source: FileState) -> Option<PreparedKernel> {
        match self.state.known(source)? {
            Known::AsItIs => Some(PreparedKernel::original(kernel)),
            Known::Unpacked(hash) => self.pinned(&hash),
        }
    }

    /// An entry, if it is there and whole.
    fn pinned(&self, hash: &ContentHash) -> Option<PreparedKernel> {
        let entry = self.state.pin(hash)?;
        if !self.shelf.is_whole(&entry) {
            tracing::warn!(kernel = %hash, "an unpacked kernel was changed by others, and is made again");
            self.state.forget(hash);
            return None;
        }
        self.shelf.touch(&entry);
        Some(PreparedKernel { path: self.shelf.path(hash), pin: Some(entry) })
    }

    /// Reads the file and makes it known.
    fn examine(&self, kernel: &Path) -> Result<PreparedKernel, KernelError> {
        let failed = |error: std::io::Error| KernelError::io(kernel, &error);
        let file = File::open(kernel).map_err(failed)?;
        let source = FileState::of(&file.metadata().map_err(failed)?);
        let kind = bzimage::look(&file, source.bytes, |head| self.unpack.knows(head));
        let bad = |why| KernelError::BadImage { path: kernel.to_owned(), why };
        let packed = match kind.map_err(failed)?.map_err(bad)? {
            Kind::AsItIs => {
                self.state.remember(source, Known::AsItIs);
                return Ok(PreparedKernel::original(kernel));
            }
            Kind::Packed(packed) => packed,
        };
        if packed.unpacked_bytes > UNPACKED_BYTES_MAX {
            return Err(bad(format!("unpacked it would have {} bytes", packed.unpacked_bytes)));
        }
        let hash = ContentHash::of(&file).map_err(failed)?;
        let claim = self.state.claim(Claim::Content(hash.clone()));
        let _claim = claim.map_err(|waited| busy(kernel, waited))?;
        if let Some(known) = self.same_content(&hash, source) {
            return Ok(known);
        }
        self.unpack(kernel, &Source { file, state: source, hash, packed })
    }

    /// Another file had the same content.
    fn same_content(&self, hash: &ContentHash, source: FileState) -> Option<PreparedKernel> {
        let known = self.pinned(hash)?;
        if let Some(entry) = self.state.add_source(hash, source)
            && let Err(error) = self.shelf.write_note(&entry)
        {
            tracing::warn!(%error, "a copy of an unpacked kernel is not noted");
        }
        Some(known)
    }

    fn unpack(&self, kernel: &Path, source: &Source) -> Result<PreparedKernel, KernelError> {
        let Some(_room) = self.evict(source.packed.unpacked_bytes) else {
            tracing::warn!(kernel = %kernel.display(), "no room to keep this kernel unpacked");
            return Ok(PreparedKernel::original(kernel));
        };
        let turn = self.state.turn();
        let _turn = turn.map_err(|waited| busy(kernel, waited))?;
        match self.unpack_into_shelf(source) {
            Ok(entry) => {
                let path = self.shelf.path(&source.hash);
                Ok(PreparedKernel { path, pin: Some(self.state.insert(entry)) })
            }
            Err(failure) => {
                self.shelf.abandon(&source.hash);
                self.judge(kernel, source, failure)
            }
        }
    }

    fn unpack_into_shelf(&self, source: &Source) -> Result<Entry, UnpackError> {
        let failed = |error: std::io::Error| UnpackError::Failed(error.to_string());
        let destination = self.shelf.begin(&source.hash).map_err(failed)?;
        self.unpack.unpack(&source.packed, &source.file, &destination)?;
        let written = destination.metadata().map_err(failed)?.len();
        if written != source.packed.unpacked_bytes {
            return Err(UnpackError::Failed(format!("{written} bytes were written")));
        }
        if FileState::of(&source.file.metadata().map_err(failed)?) != source.state {
            return Err(UnpackError::Failed("the file changed meanwhile".into()));
        }
        self.shelf.commit(&source.hash, &destination, source.state).map_err(failed)
    }

    /// Damage is the kernel's, unless it was being written; the rest is this host's, and costs only time.
    fn judge(
        &self,
        kernel: &Path,
        source: &Source,
        failure: UnpackError,
    ) -> Result<PreparedKernel, KernelError> {
        let now = source.file.metadata().map_err(|error| KernelError::io(kernel, &error))?;
        if FileState::of(&now) != source.state {
            return Err(KernelError::Changed(kernel.to_owned()));
        }
        match failure {
            UnpackError::Damaged(_) => {
                Err(KernelError::BadImage { path: kernel.to_owned(), why: failure.to_string() })
            }
            UnpackError::Failed(why) => {
                tracing::warn!(kernel = %kernel.display(), why, "this kernel is not kept unpacked");
                Ok(PreparedKernel::original(kernel))
            }
        }
    }

    /// Makes room for so many bytes more and reserves them; `None` when what is in use leaves too little.
    fn evict(&self, bytes: u64) -> Option<state::Room<'_>> {
        let (room, evicted) = self.state.make_room(bytes);
        for hash in evicted {
            self.shelf.remove(&hash);
            tracing::info!(kernel = %hash, "unpacked kernel evicted");
        }
        room
    }
}

/// A kernel's file that is to be unpacked.
struct Source {
    file: File,
    state: FileState,
    hash: ContentHash,
    packed: Packed,
}

fn busy(kernel: &Path, waited: std::time::Duration) -> KernelError {
    KernelError::Busy { path: kernel.to_owned(), seconds: waited.as_secs() }
}
