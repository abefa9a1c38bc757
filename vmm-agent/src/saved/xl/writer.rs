//! A stream into a file of xl's.

use std::fs::File;
use std::io::{PipeReader, Write as _};
use std::path::{Path, PathBuf};

use vmm_core::id::VmId;
use vmm_core::vm::VmSpec;
use xen_bindings::stream::{Output, StreamError, libxl, xl};

use super::config::Config;
use crate::saved::error::SavedError;
use crate::saved::pipe::{self, Control};
use crate::saved::place::Unfinished;
use crate::saved::{CHUNK_BYTES, Size};

/// A file that is being written. Dropped before [`XlWriter::finish`], it is gone.
pub(in crate::saved) struct XlWriter {
    place: Unfinished,
    path: PathBuf,
}

impl XlWriter {
    /// Begins the file with all that stands before the image.
    pub(in crate::saved) fn create(
        path: &Path,
        vm: VmId,
        spec: &VmSpec,
        size: Size,
    ) -> Result<Self, SavedError> {
        let config = Config::of(vm, spec, size).to_json().map_err(|_| SavedError::TooLarge)?;
        let writer = Self { place: Unfinished::begin(path)?, path: path.to_owned() };
        let mut output = Output::new(&writer.place.file);
        let begun = xl::Header { config: Some(config) }
            .write(&mut output)
            .and_then(|()| libxl::Writer::begin(output)?.announce_image());
        begun.map_err(|error| writer.failed(&error))?;
        Ok(writer)
    }

    /// Takes the image as it comes, up to its end.
    pub(in crate::saved) fn pump(
        &mut self,
        mut from: PipeReader,
        control: &Control,
    ) -> Result<(), SavedError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let bytes = pipe::fill(&mut from, &mut chunk, control)?;
            let written = self.place.file.write_all(&chunk[..bytes]);
            written.map_err(SavedError::io("write", &self.path))?;
            if bytes < chunk.len() {
                return Ok(());
            }
        }
    }

    /// The file is whole: it gets its end, and its name.
    pub(in crate::saved) fn finish(self) -> Result<(), SavedError> {
        let output: Output<&File> = Output::new(&self.place.file);
        let ended = libxl::Writer::resume(output).end().map(drop);
        ended.map_err(|error| self.failed(&error))?;
        self.place.finish()
    }

    fn failed(&self, error: &StreamError) -> SavedError {
        let (path, detail) = (self.path.clone(), error.to_string());
        SavedError::Io { operation: "write", path, detail }
    }
}
