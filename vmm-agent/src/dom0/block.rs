//! Disks: what is behind a path, and loop devices over files.

use std::path::{Path, PathBuf};

use super::Dom0Error;

/// A file, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The device number of its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// A block device, whatever its nodes are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// As blkback wants it: hexadecimal `major:minor`.
    #[must_use]
    pub fn physical_device(self) -> String {
        format!("{:x}:{:x}", self.major, self.minor)
    }

    /// From what blkback was told.
    #[must_use]
    pub fn from_physical_device(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        let number = |digits| u32::from_str_radix(digits, 16).ok();
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// What a disk's path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// An image; it needs a loop device.
    File {
        /// Which.
        id: FileId,
        /// Its length.
        bytes: u64,
    },
    /// A block device, as it is.
    Device {
        /// Which.
        number: DeviceNumber,
        /// Its size.
        bytes: u64,
    },
}

/// A loop device's number: `/dev/loopN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoopIndex(pub u32);

/// The block major of loop devices.
const LOOP_MAJOR: u32 = 7;

impl LoopIndex {
    /// Its device node.
    #[must_use]
    pub fn path(self) -> String {
        format!("/dev/loop{}", self.0)
    }

    /// Its number as a block device.
    #[must_use]
    pub fn number(self) -> DeviceNumber {
        DeviceNumber { major: LOOP_MAJOR, minor: self.0 }
    }

    /// As blkback wants it: hexadecimal `major:minor`.
    #[must_use]
    pub fn physical_device(self) -> String {
        self.number().physical_device()
    }
}

/// A loop device with a file behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedLoop {
    /// Which device.
    pub index: LoopIndex,
    /// The file's present name.
    pub backing_file: PathBuf,
    /// The file; `None` when it cannot be told, as its name leads nowhere any more.
    pub file: Option<FileId>,
    /// Whether nothing can be written through it.
    pub read_only: bool,
    /// The device's size. It differs from the file's until [`BlockDevices::resize_loop`] was called, and by what a file has
    /// beyond whole sectors.
    pub bytes: u64,
}

/// What dom0 does with disks.
pub trait BlockDevices {
    /// What a path leads to.
    ///
    /// # Errors
    /// `NotFound`; `WrongKind` for a directory, a character device, a socket or a pipe.
    fn backing(&self, path: &Path) -> Result<Backing, Dom0Error>;

    /// What dom0 itself does with a block device or a part of it: such as `it is mounted on /srv`. `None` when it does nothing that it
    /// tells of. Programs that have the device merely open are not seen.
    ///
    /// # Errors
    /// `Other`.
    fn use_of(&self, device: DeviceNumber) -> Result<Option<String>, Dom0Error>;

    /// Puts a loop device over an image file, if it is still `file`.
    ///
    /// # Errors
    /// `NotFound` when the image is missing, `WrongKind` when it is no file, `Replaced` when it is another one, `Busy` when no loop
    /// device is free.
    fn attach_loop(
        &self,
        image: &Path,
        file: FileId,
        read_only: bool,
    ) -> Result<LoopIndex, Dom0Error>;

    /// Takes the file away from a loop device. One without a file is success. A device that is still open goes when the last
    /// user closes it.
    ///
    /// # Errors
    /// `Busy`, `Other`.
    fn detach_loop(&self, index: LoopIndex) -> Result<(), Dom0Error>;

    /// All loop devices with a file, in order of number.
    ///
    /// # Errors
    /// `Other`.
    fn loops(&self) -> Result<Vec<AttachedLoop>, Dom0Error>;

    /// What was written through a loop device goes from dom0's memory to its file, where other hosts that have the file read it. Of other
    /// block devices dom0 keeps nothing of what a guest writes.
    ///
    /// # Errors
    /// `NotFound` when the device has no file, `Other`.
    fn flush_loop(&self, index: LoopIndex) -> Result<(), Dom0Error>;

    /// Tells a loop device that its file has another length now. Answers the device's new size in bytes, which is whole
    /// sectors.
    ///
    /// # Errors
    /// `NotFound` when the device has no file, `Other`.
    fn resize_loop(&self, index: LoopIndex) -> Result<u64, Dom0Error>;

    /// Makes an image longer, if it is still `file`; one that has all its blocks keeps having them. The length that it has already
    /// is success.
    ///
    /// # Errors
    /// `Shrinks` with its length when that is more, `NotFound`, `WrongKind`, `Replaced`, `NoSpace`; then it is as it was.
    fn grow_file(&self, path: &Path, file: FileId, bytes: u64) -> Result<(), Dom0Error>;
}
