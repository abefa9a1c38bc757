//! Numbers in files of sysfs.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

/// More than any number has.
const NUMBER_BYTES_MAX: u64 = 64;

/// A device that goes while its sysfs is read answers ENODEV or ENXIO.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NODEV, Errno::NXIO];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

/// `None` when there is no such device.
pub(super) fn read_number(path: &Path) -> io::Result<Option<u64>> {
    or_gone(fs::read_to_string(path).and_then(|text| number(&text)))
}

/// A directory whose way is walked once for all the numbers in it.
pub(super) struct Numbers(OwnedFd);

impl Numbers {
    /// `None` when there is no such device.
    pub(super) fn of(directory: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        or_gone(open(directory, flags, Mode::empty()).map(Self).map_err(Into::into))
    }

    /// `None` when the device has gone.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<u64>> {
        let read = || -> io::Result<u64> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
            let mut text = String::new();
            file.take(NUMBER_BYTES_MAX).read_to_string(&mut text)?;
            number(&text)
        };
        or_gone(read())
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn or_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
