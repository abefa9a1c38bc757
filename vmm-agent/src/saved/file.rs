//! A saved VM's file of either format.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;

use super::error::SavedError;
use super::format::Header;
use super::key::HostKey;
use super::pipe::Control;
use super::reader::SaveReader;
use super::writer::SaveWriter;
use super::xl::{self, XlReader, XlWriter};
use super::{Pumped, Size};

/// A file that is read. Its header was looked at.
pub(crate) struct SavedFile(Reader);

enum Reader {
    Sealed(Box<SaveReader>),
    Xl(Box<XlReader>),
}

impl SavedFile {
    pub(super) fn open(
        path: &Path,
        vm: VmId,
        key: impl FnOnce() -> Result<HostKey, SavedError>,
    ) -> Result<Self, SavedError> {
        let mut file = open_plain(path)?;
        let mut begin = Vec::new();
        let read = file.by_ref().take(xl::MAGIC.len() as u64).read_to_end(&mut begin);
        read.map_err(SavedError::io("read", path))?;
        Ok(Self(if begin == xl::MAGIC {
            Reader::Xl(Box::new(XlReader::open(path, file, vm)?))
        } else {
            Reader::Sealed(Box::new(SaveReader::open(path, file, &key()?, vm)?))
        }))
    }

    /// What the guest had, and has again when it goes on.
    pub(crate) fn size(&self) -> Size {
        match &self.0 {
            Reader::Sealed(sealed) => {
                let Header { memory_kib, vcpus_online, .. } = *sealed.header();
                Size { memory: Kib(memory_kib), vcpus_online }
            }
            Reader::Xl(xl) => xl.size(),
        }
    }

    /// Refuses a VM that is not defined as the guest was. With other disks than those that it has in its memory it would write over
    /// whatever they hold.
    pub(crate) fn require(&self, spec: &VmSpec) -> Result<(), SavedError> {
        match &self.0 {
            Reader::Sealed(sealed) => sealed.require_disks(&spec.disks),
            Reader::Xl(xl) => xl.require(spec),
        }
    }

    pub(super) fn pump(&mut self, to: PipeWriter, control: &Control) -> Result<Pumped, SavedError> {
        match &mut self.0 {
            Reader::Sealed(sealed) => sealed.pump(to, control),
            Reader::Xl(xl) => xl.pump(to, control),
        }
    }

    pub(super) fn verify_rest(&mut self, control: &Control) -> Result<(), SavedError> {
        match &mut self.0 {
            Reader::Sealed(sealed) => sealed.verify_rest(control),
            Reader::Xl(xl) => xl.verify_rest(control),
        }
    }

    #[cfg(test)]
    pub(super) fn header(&self) -> Option<&Header> {
        match &self.0 {
            Reader::Sealed(sealed) => Some(sealed.header()),
            Reader::Xl(_) => None,
        }
    }
}

/// A file that is written. Dropped before [`SavingFile::finish`], it is gone.
pub(super) struct SavingFile(Writer);

enum Writer {
    Sealed(Box<SaveWriter>),
    Xl(XlWriter),
}

impl SavingFile {
    pub(super) fn sealed(path: &Path, key: &HostKey, header: &Header) -> Result<Self, SavedError> {
        SaveWriter::create(path, key, header).map(|writer| Self(Writer::Sealed(Box::new(writer))))
    }

    pub(super) fn xl(path: &Path, vm: VmId, spec: &VmSpec, size: Size) -> Result<Self, SavedError> {
        XlWriter::create(path, vm, spec, size).map(|writer| Self(Writer::Xl(writer)))
    }

    pub(super) fn pump(&mut self, from: PipeReader, control: &Control) -> Result<(), SavedError> {
        match &mut self.0 {
            Writer::Sealed(sealed) => sealed.pump(from, control),
            Writer::Xl(xl) => xl.pump(from, control),
        }
    }

    pub(super) fn finish(self) -> Result<(), SavedError> {
        match self.0 {
            Writer::Sealed(sealed) => sealed.finish(),
            Writer::Xl(xl) => xl.finish(),
        }
    }
}

/// A plain file: whatever else has that name is not waited for.
fn open_plain(path: &Path) -> Result<File, SavedError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(SavedError::io("open", path))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(SavedError::NotSaved(path.to_owned())),
        Err(error) => Err(SavedError::io("look at", path)(error)),
    }
}
