//! A stream into a sealed file.

use std::io::{PipeReader, Write as _};
use std::path::{Path, PathBuf};

use super::error::SavedError;
use super::format::{HEADER_BYTES_MAX, Header, Length, Preamble, RECORD_BYTES};
use super::key::{HostKey, SALT_BYTES, Sealer, random};
use super::pack::Packer;
use super::pipe::{self, Control};
use super::place::Unfinished;

/// A file that is being written. Dropped before [`SaveWriter::finish`], it is gone.
pub(super) struct SaveWriter {
    place: Unfinished,
    path: PathBuf,
    sealer: Sealer,
}

impl SaveWriter {
    /// Begins the file with its sealed header.
    pub(super) fn create(path: &Path, key: &HostKey, header: &Header) -> Result<Self, SavedError> {
        let place = Unfinished::begin(path)?;
        let mut salt = [0; SALT_BYTES];
        random(&mut salt).map_err(SavedError::io("seal", path))?;
        let text = header.encode().map_err(|_| SavedError::TooLarge)?;
        let header_bytes = u32::try_from(text.len()).map_err(|_| SavedError::TooLarge)?;
        if text.len() > HEADER_BYTES_MAX {
            return Err(SavedError::TooLarge);
        }
        let mut head = Preamble { salt, key_id: key.id(), header_bytes }.encode();
        head.extend_from_slice(&text);
        let mut sealer = key.sealer(&salt);
        let tag = sealer.seal(&head, &mut []).ok_or(SavedError::TooLarge)?;
        head.extend_from_slice(&tag);
        let mut writer = Self { place, path: path.to_owned(), sealer };
        writer.write(&head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SavedError> {
        self.place.file.write_all(bytes).map_err(SavedError::io("write", &self.path))
    }

    /// Seals everything that comes, up to the stream's end.
    pub(super) fn pump(
        &mut self,
        mut from: PipeReader,
        control: &Control,
    ) -> Result<(), SavedError> {
        let (mut record, mut packer) = (vec![0; RECORD_BYTES], Packer::new());
        loop {
            let bytes = pipe::fill(&mut from, &mut record, control)?;
            let last = bytes < RECORD_BYTES;
            match packer.pack(&record[..bytes]) {
                Some(packed) => self.seal(packed, true, last)?,
                None => self.seal(&mut record[..bytes], false, last)?,
            }
            if last {
                return Ok(());
            }
        }
    }

    fn seal(&mut self, bytes: &mut [u8], packed: bool, last: bool) -> Result<(), SavedError> {
        let word = Length { bytes: bytes.len(), packed, last }.encode();
        let tag = self.sealer.seal(&word, bytes).ok_or(SavedError::TooLarge)?;
        self.write(&word)?;
        self.write(bytes)?;
        self.write(&tag)
    }

    /// The file is whole: it gets its name.
    pub(super) fn finish(self) -> Result<(), SavedError> {
        self.place.finish()
    }
}
