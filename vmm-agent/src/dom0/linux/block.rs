//! Disks: stat, the loop driver's ioctls through `loopdev`, sizes through sysfs.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use loopdev::{LoopControl, LoopDevice};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::LinuxDom0;
use super::sysfs::{is_gone, read_number};
use super::uses;
use crate::dom0::file::{grow, require_file, require_same, wrong_kind};
use crate::dom0::{
    AttachedLoop, Backing, BlockDevices, DeviceNumber, Dom0Error, Dom0ErrorKind, FileId, LoopIndex,
};

/// Between asking for a free loop device and taking it, somebody else may take it.
const LOOP_TRIES_MAX: u32 = 16;
/// Sysfs tells sizes in these, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;
/// What sysfs adds to a file that was removed.
const DELETED: &str = " (deleted)";

impl BlockDevices for LinuxDom0 {
    fn backing(&self, path: &Path) -> Result<Backing, Dom0Error> {
        const OPERATION: &str = "use as a disk";
        let failed = |error: io::Error| Dom0Error::io(OPERATION, path, &error);
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_file() {
            return Ok(Backing::File { id: FileId::of(&metadata), bytes: metadata.len() });
        }
        if !metadata.file_type().is_block_device() {
            return Err(wrong_kind(OPERATION, path, "it is neither a file nor a block device"));
        }
        let rdev = metadata.rdev();
        let number =
            DeviceNumber { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) };
        let size = format!("/sys/dev/block/{}:{}/size", number.major, number.minor);
        // A node whose device is gone, or never was.
        let gone = || Dom0Error::io(OPERATION, path, &io::ErrorKind::NotFound.into());
        let sectors = read_number(Path::new(&size)).map_err(failed)?.ok_or_else(gone)?;
        Ok(Backing::Device { number, bytes: sectors.saturating_mul(SECTOR_BYTES) })
    }

    fn use_of(&self, device: DeviceNumber) -> Result<Option<String>, Dom0Error> {
        uses::find(device)
    }

    fn attach_loop(
        &self,
        image: &Path,
        id: FileId,
        read_only: bool,
    ) -> Result<LoopIndex, Dom0Error> {
        const OPERATION: &str = "attach a loop device to";
        let failed = |error: io::Error| Dom0Error::io(OPERATION, image, &error);
        // The loop driver takes block devices too; and what is missing is told before a device is taken.
        require_file(OPERATION, image, &fs::metadata(image).map_err(failed)?)?;
        let open = OpenOptions::new().read(true).write(!read_only).open(image);
        let file = open.map_err(failed)?;
        require_same(OPERATION, image, &file.metadata().map_err(failed)?, id)?;
        let control = LoopControl::open().map_err(failed)?;
        let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..LOOP_TRIES_MAX {
            let device = control.next_free().map_err(failed)?;
            match device.with().read_only(read_only).attach_fd(file.as_raw_fd()) {
                Ok(()) => return self.attached(&device, id).map_err(failed),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => last = error,
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(last))
    }

    fn detach_loop(&self, index: LoopIndex) -> Result<(), Dom0Error> {
        let path = PathBuf::from(index.path());
        let failed = |error: io::Error| Dom0Error::io("detach the loop device", &path, &error);
        if backing_line(index).map_err(failed)?.is_none() {
            return Ok(());
        }
        match LoopDevice::open(&path).and_then(|device| device.detach()) {
            // Somebody else was faster.
            Err(error) if is_gone(&error) => Ok(()),
            outcome => outcome.map_err(failed),
        }
    }

    fn loops(&self) -> Result<Vec<AttachedLoop>, Dom0Error> {
        let directory = Path::new("/sys/block");
        let failed =
            |error: io::Error| Dom0Error::io("list the loop devices in", directory, &error);
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
            let Some(index) = number.map(LoopIndex) else { continue };
            let Some(line) = backing_line(index).map_err(failed)? else { continue };
            // A name may lead to a file system that does not answer; a note is here.
            let (backing_file, file) = match self.notes.read(index) {
                Some(noted) => (last_name(&line), Some(noted)),
                None => named_file(&line),
            };
            let bytes = loop_bytes(index).map_err(failed)?.unwrap_or_default();
            let read_only = read_number(Path::new(&format!("/sys/block/loop{}/ro", index.0)));
            let read_only = read_only.map_err(failed)? == Some(1);
            found.push(AttachedLoop { index, backing_file, file, read_only, bytes });
        }
        found.sort_by_key(|attached| attached.index);
        Ok(found)
    }

    fn flush_loop(&self, index: LoopIndex) -> Result<(), Dom0Error> {
        let path = PathBuf::from(index.path());
        let failed = |error: io::Error| Dom0Error::io("write out the loop device", &path, &error);
        if backing_line(index).map_err(failed)?.is_none() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        File::open(&path).and_then(|device| device.sync_all()).map_err(failed)
    }

    fn resize_loop(&self, index: LoopIndex) -> Result<u64, Dom0Error> {
        const OPERATION: &str = "resize the loop device";
        let path = PathBuf::from(index.path());
        let failed = |error: io::Error| {
            let gone = is_gone(&error);
            let told = Dom0Error::io(OPERATION, &path, &error);
            if gone { Dom0Error { kind: Dom0ErrorKind::NotFound, ..told } } else { told }
        };
        LoopDevice::open(&path).and_then(|device| device.set_capacity()).map_err(failed)?;
        let gone = || failed(io::ErrorKind::NotFound.into());
        loop_bytes(index).map_err(failed)?.ok_or_else(gone)
    }

    fn grow_file(&self, path: &Path, file: FileId, bytes: u64) -> Result<(), Dom0Error> {
        grow(path, file, bytes, allocate)
    }
}

impl LinuxDom0 {
    fn attached(&self, device: &LoopDevice, file: FileId) -> io::Result<LoopIndex> {
        let index = index_of(device)?;
        if let Err(error) = self.notes.write(index, file) {
            tracing::warn!(index = index.0, %error, "no note of a loop device; its name must do");
        }
        Ok(index)
    }
}

fn allocate(file: &File, now: u64, bytes: u64) -> io::Result<()> {
    let more = bytes - now;
    // Asked first: to try would take all that there is from everybody else before it fails.
    let system = fstatvfs(file)?;
    if system.f_bavail.saturating_mul(system.f_frsize) < more {
        return Err(io::ErrorKind::StorageFull.into());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, now, more) {
        // A file system that cannot do it gives blocks when they are written.
        Err(Errno::OPNOTSUPP) => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn index_of(device: &LoopDevice) -> io::Result<LoopIndex> {
    let path = device.path().ok_or(io::ErrorKind::NotFound)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix("loop").and_then(|number| number.parse().ok());
    number.map(LoopIndex).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn loop_bytes(index: LoopIndex) -> io::Result<Option<u64>> {
    let sectors = read_number(Path::new(&format!("/sys/block/loop{}/size", index.0)))?;
    Ok(sectors.map(|sectors| sectors.saturating_mul(SECTOR_BYTES)))
}

/// The name of the file behind a loop device, as the kernel tells it; `None` when there is none.
fn backing_line(index: LoopIndex) -> io::Result<Option<Vec<u8>>> {
    match fs::read(format!("/sys/block/loop{}/loop/backing_file", index.0)) {
        // Bytes: other people's files may have names that are not UTF-8.
        Ok(line) => Ok(Some(line.strip_suffix(b"\n").unwrap_or(&line).to_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As it was called last.
fn last_name(line: &[u8]) -> PathBuf {
    let name = line.strip_suffix(DELETED.as_bytes()).unwrap_or(line);
    PathBuf::from(OsStr::from_bytes(name))
}

/// The kernel tells the present name: it follows a rename, and has no symbolic links. So what the name leads to now is the
/// file, unless the file was removed (then the name says so) or something was mounted over it.
fn named_file(line: &[u8]) -> (PathBuf, Option<FileId>) {
    let whole = PathBuf::from(OsStr::from_bytes(line));
    match fs::metadata(&whole) {
        Ok(metadata) => (whole, Some(FileId::of(&metadata))),
        // Another file may have its name by now.
        Err(_) => (last_name(line), None),
    }
}

#[cfg(test)]
mod tests;
