//! A sealed file into a stream.

use std::fs::File;
use std::io::{self, PipeWriter, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use vmm_core::id::VmId;
use vmm_core::vm::DiskSpec;

use super::Pumped;
use super::error::SavedError;
use super::format::{
    Foreign, HEADER_BYTES_MAX, Header, Length, PREAMBLE_BYTES, Preamble, RECORD_BYTES,
};
use super::key::{HostKey, Sealer, TAG_BYTES};
use super::pack::unpack;
use super::pipe::{self, Control};

/// A saved VM whose header has verified; its records are verified one by one as they are read.
pub(super) struct SaveReader {
    file: File,
    path: PathBuf,
    header: Header,
    sealer: Sealer,
    /// A record as it stands in the file, and then opened.
    sealed: Vec<u8>,
    /// Bytes of the file that were read and have verified.
    verified_bytes: u64,
    ended: bool,
}

impl SaveReader {
    /// Reads the header of a file of this host and this VM, from the file's first byte on.
    pub(super) fn open(
        path: &Path,
        mut file: File,
        key: &HostKey,
        vm: VmId,
    ) -> Result<Self, SavedError> {
        file.rewind().map_err(SavedError::io("read", path))?;
        let mut head = vec![0; PREAMBLE_BYTES];
        read_exact(&mut file, &mut head, path, 0)?;
        let preamble = head.first_chunk().ok_or_else(|| SavedError::NotSaved(path.to_owned()))?;
        let preamble = Preamble::decode(preamble).map_err(|foreign| match foreign {
            Foreign::Magic => SavedError::NotSaved(path.to_owned()),
            Foreign::Version(version) => SavedError::Version { path: path.to_owned(), version },
        })?;
        if preamble.key_id != key.id() {
            return Err(SavedError::OtherHost(path.to_owned()));
        }
        let length = usize::try_from(preamble.header_bytes).unwrap_or(usize::MAX);
        if length > HEADER_BYTES_MAX {
            return Err(damaged(path, "the header".into()));
        }
        head.resize(PREAMBLE_BYTES + length, 0);
        read_exact(&mut file, &mut head[PREAMBLE_BYTES..], path, PREAMBLE_BYTES as u64)?;
        let mut tag = [0; TAG_BYTES];
        read_exact(&mut file, &mut tag, path, head.len() as u64)?;
        let mut sealer = key.sealer(&preamble.salt);
        if !sealer.open(&head, &mut [], tag) {
            return Err(damaged(path, "the header".into()));
        }
        let header = Header::decode(&head[PREAMBLE_BYTES..]).map_err(|why| damaged(path, why))?;
        if header.vm != vm {
            let holds = header.vm;
            return Err(SavedError::OtherVm { path: path.to_owned(), holds, asked: vm });
        }
        let verified_bytes = (head.len() + TAG_BYTES) as u64;
        let (path, sealed) = (path.to_owned(), Vec::new());
        Ok(Self { file, path, header, sealer, sealed, verified_bytes, ended: false })
    }

    /// Who and what it holds.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn require_disks(&self, disks: &[DiskSpec]) -> Result<(), SavedError> {
        let ordered = |disks: &[DiskSpec]| {
            let mut disks = disks.to_vec();
            disks.sort_by(|a, b| a.device.cmp(&b.device));
            disks
        };
        match ordered(disks) == ordered(&self.header.spec.disks) {
            true => Ok(()),
            false => Err(SavedError::OtherDisks(self.path.clone())),
        }
    }

    /// Hands the stream on, never a byte that has not verified.
    pub(super) fn pump(
        &mut self,
        mut to: PipeWriter,
        control: &Control,
    ) -> Result<Pumped, SavedError> {
        pipe::never_wait(&to)?;
        let mut record = vec![0; RECORD_BYTES];
        while let Some(bytes) = self.next(&mut record)? {
            if !pipe::drain(&mut to, &record[..bytes], control)? {
                return Ok(Pumped::Refused);
            }
        }
        Ok(Pumped::Whole)
    }

    /// Verifies what nobody has read.
    pub(super) fn verify_rest(&mut self, control: &Control) -> Result<(), SavedError> {
        let mut record = vec![0; RECORD_BYTES];
        while self.next(&mut record)?.is_some() {
            if control.cancel.is_cancelled() {
                return Err(SavedError::Cancelled);
            }
        }
        Ok(())
    }

    /// The next record, in `record`; `None` after the last, once the file has ended there.
    fn next(&mut self, record: &mut [u8]) -> Result<Option<usize>, SavedError> {
        if self.ended {
            return self.end().map(|()| None);
        }
        let mut word = [0; 4];
        self.read(&mut word)?;
        let what = |at: u64| format!("the record at byte {at}");
        let refused = damaged(&self.path, what(self.verified_bytes));
        let Some(length) = Length::decode(word) else { return Err(refused) };
        let mut tag = [0; TAG_BYTES];
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.resize(length.bytes, 0);
        self.read(&mut sealed)?;
        self.read(&mut tag)?;
        if !self.sealer.open(&word, &mut sealed, tag) {
            return Err(refused);
        }
        self.verified_bytes += (word.len() + length.bytes + TAG_BYTES) as u64;
        self.ended = length.last;
        let bytes = if length.packed {
            unpack(&sealed, record).filter(|bytes| length.last || *bytes == RECORD_BYTES)
        } else {
            record[..length.bytes].copy_from_slice(&sealed);
            Some(length.bytes)
        };
        self.sealed = sealed;
        bytes.map(Some).ok_or(refused)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), SavedError> {
        read_exact(&mut self.file, buffer, &self.path, self.verified_bytes)
    }

    fn end(&mut self) -> Result<(), SavedError> {
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(SavedError::Trailing(self.path.clone())),
            Err(error) => Err(SavedError::io("read", &self.path)(error)),
        }
    }
}

fn read_exact(
    file: &mut File,
    buffer: &mut [u8],
    path: &Path,
    bytes: u64,
) -> Result<(), SavedError> {
    file.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SavedError::Truncated { path: path.to_owned(), bytes },
        _ => SavedError::io("read", path)(error),
    })
}

fn damaged(path: &Path, what: String) -> SavedError {
    SavedError::Damaged { path: path.to_owned(), what }
}
