//! A file that gets its name only when it is whole, and takes nobody else's.
//!
//! While it is written it is `.NAME.saving` beside, locked by who writes it. What a killed agent has left there is not locked, and
//! goes with the next save to that name or with [`remove_leftover`].

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::SavedError;

/// Absolute, with a name, and without a step back.
pub(super) fn check(path: &Path) -> Result<&Path, SavedError> {
    let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
    if path.is_absolute() && plain && path.file_name().is_some() {
        return Ok(path);
    }
    Err(SavedError::Path(path.to_owned()))
}

/// Refuses a name that is taken.
pub(super) fn check_free(path: &Path) -> Result<(), SavedError> {
    match fs::symlink_metadata(check(path)?) {
        Ok(_) => Err(SavedError::Exists(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(SavedError::io("look at", path)(error)),
    }
}

/// A file that is being written. Dropped, it is gone.
pub(super) struct Unfinished {
    pub(super) file: File,
    beside: PathBuf,
    path: PathBuf,
    named: bool,
}

impl Unfinished {
    pub(super) fn begin(path: &Path) -> Result<Self, SavedError> {
        check_free(path)?;
        let beside = beside(path);
        let file = open_beside(path, &beside, true)?
            .ok_or_else(|| SavedError::NotFound(beside.clone()))?;
        file.set_len(0).map_err(SavedError::io("write", path))?;
        Ok(Self { file, beside, path: path.to_owned(), named: false })
    }

    /// Gives it its name, once it is on disk.
    pub(super) fn finish(mut self) -> Result<(), SavedError> {
        self.file.sync_all().map_err(SavedError::io("write", &self.path))?;
        self.name()?;
        self.named = true;
        sync_directory(&self.path)
    }

    fn name(&self) -> Result<(), SavedError> {
        let renamed = renameat_with(CWD, &self.beside, CWD, &self.path, RenameFlags::NOREPLACE);
        let renamed = match renamed {
            // A file system without that flag.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::hard_link(&self.beside, &self.path).and_then(|()| fs::remove_file(&self.beside))
            }
            outcome => outcome.map_err(io::Error::from),
        };
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SavedError::Exists(self.path.clone()),
            _ => SavedError::io("name", &self.path)(error),
        })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = fs::remove_file(&self.beside)
        {
            tracing::warn!(path = %self.beside.display(), %error, "an unfinished save is left");
        }
    }
}

/// Removes a file for good: no power loss brings it back.
pub(super) fn remove(path: &Path) -> Result<(), SavedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SavedError::io("remove", path)(error))
        }
        _ => sync_directory(path),
    }
}

/// What was done to a name is on disk. A directory that is gone has no names.
pub(super) fn sync_directory(path: &Path) -> Result<(), SavedError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SavedError::io("sync the directory of", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes what an interrupted save to this name has left, unless one is under way. What no save has left stays.
pub(super) fn remove_leftover(path: &Path) -> Result<(), SavedError> {
    let beside = beside(check(path)?);
    match open_beside(path, &beside, false) {
        Ok(Some(_locked)) => fs::remove_file(&beside).map_err(SavedError::io("remove", &beside)),
        Ok(None) | Err(SavedError::Exists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".saving");
    path.with_file_name(name)
}

/// Opens and locks it. Never follows a link there, waits for nobody, takes nothing that is not a file of ours under this one name,
/// and never one that another save has just given its name.
fn open_beside(path: &Path, beside: &Path, make: bool) -> Result<Option<File>, SavedError> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let opened = OpenOptions::new()
        .write(true)
        .create(make)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(beside);
    let file = match opened {
        Err(error) if !make && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_no_file(&error) => return Err(SavedError::Exists(beside.to_owned())),
        outcome => outcome.map_err(SavedError::io("make", beside))?,
    };
    let metadata = file.metadata().map_err(SavedError::io("look at", beside))?;
    if !is_ours(&metadata) {
        return Err(SavedError::Exists(beside.to_owned()));
    }
    let failed = |error| SavedError::io("lock", beside)(error);
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(SavedError::Busy(path.to_owned())),
        outcome => outcome.map_err(|errno| failed(errno.into()))?,
    }
    match fs::symlink_metadata(beside) {
        Ok(there) if there.ino() == metadata.ino() => Ok(Some(file)),
        _ => Err(SavedError::Busy(path.to_owned())),
    }
}

/// Whoever may make names in the directory could have given this one to a file that is precious.
fn is_ours(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == geteuid().as_raw()
}

/// A link, a pipe that nobody reads, or a directory.
fn is_no_file(error: &io::Error) -> bool {
    let no_file = [Errno::LOOP, Errno::NXIO, Errno::ISDIR];
    no_file.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
