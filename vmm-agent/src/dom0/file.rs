//! Image files: which one a path leads to, and making one longer. The same on a real and on a simulated host.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Dom0Error, Dom0ErrorKind, FileId};

impl FileId {
    /// The file that these are the metadata of.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Refuses what is there but is no file.
pub(super) fn require_file(
    operation: &'static str,
    path: &Path,
    metadata: &Metadata,
) -> Result<(), Dom0Error> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(wrong_kind(operation, path, "it is not a file"))
}

/// Refuses another file than the one that was looked at, leased and written down; `metadata` are those of an open one.
pub(super) fn require_same(
    operation: &'static str,
    path: &Path,
    metadata: &Metadata,
    file: FileId,
) -> Result<(), Dom0Error> {
    if FileId::of(metadata) == file {
        return Ok(());
    }
    let (subject, kind) = (path.display().to_string(), Dom0ErrorKind::Replaced);
    Err(Dom0Error::own(operation, subject, kind, "another file has its name by now"))
}

pub(super) fn wrong_kind(operation: &'static str, path: &Path, detail: &str) -> Dom0Error {
    Dom0Error::own(operation, path.display().to_string(), Dom0ErrorKind::WrongKind, detail)
}

/// Makes a file longer, if it is still `expected`. `allocate` gives the blocks from one length to another without changing the
/// length; it is asked only for a file that has all its blocks.
pub(super) fn grow(
    path: &Path,
    expected: FileId,
    bytes: u64,
    allocate: impl FnOnce(&File, u64, u64) -> io::Result<()>,
) -> Result<(), Dom0Error> {
    const OPERATION: &str = "grow";
    let failed = |error: io::Error| Dom0Error::io(OPERATION, path, &error);
    // Looked at before it is opened: opening a pipe for writing would wait for its reader.
    require_file(OPERATION, path, &fs::metadata(path).map_err(failed)?)?;
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    require_same(OPERATION, path, &metadata, expected)?;
    let now = metadata.len();
    if now > bytes {
        let detail = format!("it has {now} bytes, and {bytes} are fewer: images only grow");
        let kind = Dom0ErrorKind::Shrinks { bytes: now };
        return Err(Dom0Error::own(OPERATION, path.display().to_string(), kind, detail));
    }
    if now == bytes {
        return Ok(());
    }
    let lengthened = if has_all_blocks(&metadata) {
        allocate(&file, now, bytes).and_then(|()| file.set_len(bytes))
    } else {
        file.set_len(bytes)
    };
    lengthened.map_err(|error| {
        // Gives back blocks beyond the end; the failure that is told is the first one.
        let _ = file.set_len(now);
        failed(error)
    })
}

/// Whether nothing of a file is missing on disk. An empty one has nothing.
fn has_all_blocks(metadata: &Metadata) -> bool {
    const BLOCK_BYTES: u64 = 512;
    metadata.len() > 0 && metadata.blocks().saturating_mul(BLOCK_BYTES) >= metadata.len()
}
