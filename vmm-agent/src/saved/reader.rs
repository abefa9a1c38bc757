//! A sealed file into a stream.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use vmm_core::id::VmId;
use vmm_core::vm::DiskSpec;

use super::error::SavedError;
use super::format::{
    Foreign, HEADER_BYTES_MAX, Header, Length, PREAMBLE_BYTES, Preamble, RECORD_BYTES,
};
use super::key::{HostKey, Sealer, TAG_BYTES};
use super::pipe::{self, Control};

/// A saved VM whose header has verified; its records are verified one by one as they are read.
pub(crate) struct SaveReader {
    file: File,
    path: PathBuf,
    header: Header,
    sealer: Sealer,
    /// Bytes of the file that were read and have verified.
    verified_bytes: u64,
    ended: bool,
}

/// How a transfer came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Everything was taken.
    Whole,
    /// The other end took no more before the file's end.
    Refused,
}

impl SaveReader {
    /// Opens a file of this host, and of this VM when one is asked for.
    pub(super) fn open(path: &Path, key: &HostKey, vm: Option<VmId>) -> Result<Self, SavedError> {
        let mut file = open_file(super::place::check(path)?)?;
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
        if let Some(asked) = vm.filter(|asked| *asked != header.vm) {
            return Err(SavedError::OtherVm { path: path.to_owned(), holds: header.vm, asked });
        }
        let verified_bytes = (head.len() + TAG_BYTES) as u64;
        Ok(Self { file, path: path.to_owned(), header, sealer, verified_bytes, ended: false })
    }

    /// Who and what it holds.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Refuses other disks than those that the guest has in its memory: it would write over whatever they hold.
    pub(crate) fn require_disks(&self, disks: &[DiskSpec]) -> Result<(), SavedError> {
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
        let Some(Length { bytes, last }) = Length::decode(word) else { return Err(refused) };
        let mut tag = [0; TAG_BYTES];
        self.read(&mut record[..bytes])?;
        self.read(&mut tag)?;
        if !self.sealer.open(&word, &mut record[..bytes], tag) {
            record.fill(0);
            return Err(refused);
        }
        self.verified_bytes += (word.len() + bytes + TAG_BYTES) as u64;
        self.ended = last;
        Ok(Some(bytes))
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

/// A plain file: whatever else has that name is not waited for.
fn open_file(path: &Path) -> Result<File, SavedError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(SavedError::io("open", path))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(SavedError::NotSaved(path.to_owned())),
        Err(error) => Err(SavedError::io("look at", path)(error)),
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
