//! Which file is behind a loop device, remembered where a restart of the agent does not lose it and a restart of the host does.
//!
//! ```text
//!   attach ─► /run/smps-vmm/loops/N: "SEQUENCE DEVICE INODE"
//!   list   ─► the note, when its sequence is still the device's; else what the name in sysfs leads to
//! ```
//!
//! The name in sysfs does not do: it says nothing once the file was removed, and it is told from a mount point that went with
//! the agent that attached it, as systemd gives each start of a service mounts of its own. The kernel counts what is put into a
//! device (`diskseq`), so a note cannot pass for a later attachment, and none has to be removed. An attachment without a note, by
//! somebody else or by an agent that was killed in between, is known by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sysfs::read_number;
use crate::dom0::{FileId, LoopIndex};

/// On a file system that ends with the host's uptime, as `diskseq` does.
const DIRECTORY: &str = "/run/smps-vmm/loops";

/// The notes of all loop devices.
#[derive(Debug)]
pub(super) struct Notes {
    directory: PathBuf,
}

impl Default for Notes {
    fn default() -> Self {
        Self { directory: DIRECTORY.into() }
    }
}

impl Notes {
    #[cfg(test)]
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.into() }
    }

    /// Remembers the file of a device that has just been attached. Kernels before 5.15 do not count: nothing is remembered.
    pub(super) fn write(&self, index: LoopIndex, file: FileId) -> io::Result<()> {
        let Some(sequence) = sequence(index)? else { return Ok(()) };
        fs::create_dir_all(&self.directory)?;
        let (path, new) = (self.path(index), self.directory.join(format!("{}.new", index.0)));
        fs::write(&new, format!("{sequence} {} {}\n", file.device, file.inode))?;
        fs::rename(new, path)
    }

    /// The file that is behind a device, if it was noted.
    pub(super) fn read(&self, index: LoopIndex) -> Option<FileId> {
        let now = sequence(index).ok()??;
        let (noted, file) = parse(&fs::read_to_string(self.path(index)).ok()?)?;
        (noted == now).then_some(file)
    }

    fn path(&self, index: LoopIndex) -> PathBuf {
        self.directory.join(index.0.to_string())
    }
}

fn sequence(index: LoopIndex) -> io::Result<Option<u64>> {
    read_number(Path::new(&format!("/sys/block/loop{}/diskseq", index.0)))
}

fn parse(note: &str) -> Option<(u64, FileId)> {
    let numbers: Option<Vec<u64>> = note.split_whitespace().map(|word| word.parse().ok()).collect();
    match numbers?.as_slice() {
        &[sequence, device, inode] => Some((sequence, FileId { device, inode })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_note_is_read() {
        let check = |note: &str, expect: Option<(u64, u64, u64)>| {
            let read = parse(note).map(|(sequence, file)| (sequence, file.device, file.inode));
            assert_eq!(read, expect, "{note:?}");
        };
        check("7 65024 10305569\n", Some((7, 65024, 10_305_569)));
        check("7 65024", None);
        check("7 65024 1 1", None);
        check("7 -1 1", None);
        check("", None);
    }
}
