//! The unpacked kernels on disk.
//!
//! ```text
//!   HASH.elf     an unpacked kernel, named by the hash of the file that it came from
//!   HASH.json    written after it: what its `stat` shows, and the files known to hold the same; its mtime is the last use
//!   HASH.new     one that is being made; whatever an earlier run left of these is removed
//! ```
//!
//! Each is written beside, synced and renamed, the directory synced: after a crash an entry is whole or not there. An entry whose
//! file no longer shows the `stat` that was noted has been touched by others, and goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use serde::{Deserialize, Serialize};

use super::identity::{ContentHash, FileState};

const VERSION: u32 = 1;
/// Files remembered to hold one kernel.
const SOURCES_MAX: usize = 16;

/// What stands beside an unpacked kernel.
#[derive(Clone, Serialize, Deserialize)]
struct Note {
    version: u32,
    elf: FileState,
    sources: Vec<FileState>,
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) hash: ContentHash,
    pub(super) elf: FileState,
    pub(super) sources: Vec<FileState>,
}

impl Entry {
    /// Remembers one more file that holds this kernel; the oldest is forgotten.
    pub(super) fn add_source(&mut self, source: FileState) {
        self.sources.retain(|known| *known != source);
        self.sources.push(source);
        let surplus = self.sources.len().saturating_sub(SOURCES_MAX);
        self.sources.drain(..surplus);
    }
}

/// The directory.
pub(super) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// Opens or makes it, and removes whatever is not a whole entry. The least recently used comes first.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Vec<Entry>)> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        let shelf = Self { dir: dir.to_owned() };
        let mut found: Vec<(SystemTime, Entry)> = Vec::new();
        let mut strays = Vec::new();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            match shelf.entry_of_note(&path) {
                Some(entry) => found.push(entry),
                None => strays.push(path),
            }
        }
        found.sort_by_key(|(used, _)| *used);
        let entries: Vec<Entry> = found.into_iter().map(|(_, entry)| entry).collect();
        let kept = |path: &Path| entries.iter().any(|entry| shelf.path(&entry.hash) == path);
        strays.iter().filter(|path| !kept(path)).for_each(|path| remove(path));
        Ok((shelf, entries))
    }

    fn entry_of_note(&self, note: &Path) -> Option<(SystemTime, Entry)> {
        let hash = ContentHash::parse(note.file_name()?.to_str()?.strip_suffix(".json")?)?;
        let Note { version, elf, sources } = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
        let used = fs::metadata(note).and_then(|metadata| metadata.modified()).ok()?;
        let entry = Entry { hash, elf, sources };
        (version == VERSION && self.is_whole(&entry)).then_some((used, entry))
    }

    pub(super) fn path(&self, hash: &ContentHash) -> PathBuf {
        self.dir.join(format!("{hash}.elf"))
    }

    fn note(&self, hash: &ContentHash) -> PathBuf {
        self.dir.join(format!("{hash}.json"))
    }

    fn beside(&self, hash: &ContentHash) -> PathBuf {
        self.dir.join(format!("{hash}.new"))
    }

    /// Whether its file is still what was noted.
    pub(super) fn is_whole(&self, entry: &Entry) -> bool {
        fs::symlink_metadata(self.path(&entry.hash))
            .is_ok_and(|metadata| metadata.is_file() && FileState::of(&metadata) == entry.elf)
    }

    /// An empty file to unpack into.
    pub(super) fn begin(&self, hash: &ContentHash) -> io::Result<File> {
        let path = self.beside(hash);
        remove(&path);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Takes back what [`Shelf::begin`] made.
    pub(super) fn abandon(&self, hash: &ContentHash) {
        remove(&self.beside(hash));
    }

    /// The file that [`Shelf::begin`] made is complete: from now on it is an entry.
    pub(super) fn commit(
        &self,
        hash: &ContentHash,
        file: &File,
        source: FileState,
    ) -> io::Result<Entry> {
        file.set_permissions(fs::Permissions::from_mode(0o400))?;
        file.sync_all()?;
        fs::rename(self.beside(hash), self.path(hash))?;
        let elf = FileState::of(&file.metadata()?);
        let entry = Entry { hash: hash.clone(), elf, sources: vec![source] };
        self.write_note(&entry)?;
        Ok(entry)
    }

    /// Writes what is known of an entry.
    pub(super) fn write_note(&self, entry: &Entry) -> io::Result<()> {
        let note = Note { version: VERSION, elf: entry.elf, sources: entry.sources.clone() };
        let beside = self.dir.join(format!("{}.json.new", entry.hash));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&note)?)?;
        file.sync_all()?;
        fs::rename(&beside, self.note(&entry.hash))?;
        File::open(&self.dir)?.sync_all()
    }

    /// It was used now. Only the order of eviction depends on it, so a failure is none.
    pub(super) fn touch(&self, entry: &Entry) {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        let note = self.note(&entry.hash);
        if let Err(error) = rustix::fs::utimensat(CWD, &note, &times, AtFlags::empty()) {
            tracing::debug!(%error, "the use of an unpacked kernel is not noted");
        }
    }

    /// The note goes first, so that a crash in between leaves a stray that the next run removes.
    pub(super) fn remove(&self, hash: &ContentHash) {
        remove(&self.note(hash));
        remove(&self.path(hash));
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "left in the kernel cache");
        }
        _ => {}
    }
}
