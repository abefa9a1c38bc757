//! A file of xl's into a stream.

use std::fs::File;
use std::io::{self, BufReader, PipeWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use vmm_core::id::VmId;
use vmm_core::vm::VmSpec;
use xen_bindings::stream::image::{ImageReader, ImageWriter, Limits};
use xen_bindings::stream::{Fault, Input, Output, StreamError, libxl, xl};

use super::config::Config;
use crate::saved::error::SavedError;
use crate::saved::pipe::{self, Control};
use crate::saved::{CHUNK_BYTES, Pumped, Size};

type Image = ImageReader<BufReader<File>>;

/// A file of xl's whose headers were read.
pub(in crate::saved) struct XlReader {
    path: PathBuf,
    config: Config,
    /// Until it was read to its end.
    image: Option<Image>,
}

impl XlReader {
    /// Reads what stands before the image, from the file's first byte on.
    pub(in crate::saved) fn open(
        path: &Path,
        mut file: File,
        vm: VmId,
    ) -> Result<Self, SavedError> {
        file.rewind().map_err(SavedError::io("read", path))?;
        let mut input = Input::new(BufReader::with_capacity(CHUNK_BYTES, file));
        let wrong = |error| wrong(path, &error);
        let text = xl::Header::read(&mut input).map_err(wrong)?.config;
        let text = text.ok_or_else(|| SavedError::Nameless(path.to_owned()))?;
        let config = Config::from_json(&text).map_err(|error| SavedError::Damaged {
            path: path.to_owned(),
            what: format!("the configuration ({error})"),
        })?;
        let holds = config.vm().ok_or_else(|| SavedError::Nameless(path.to_owned()))?;
        if holds != vm {
            return Err(SavedError::OtherVm { path: path.to_owned(), holds, asked: vm });
        }
        let stream = libxl::Reader::open(input).map_err(wrong)?;
        let image = stream.into_image(Limits::default()).map_err(wrong)?;
        Ok(Self { path: path.to_owned(), config, image: Some(image) })
    }

    pub(in crate::saved) fn size(&self) -> Size {
        self.config.size()
    }

    pub(in crate::saved) fn require(&self, spec: &VmSpec) -> Result<(), SavedError> {
        if let Some(what) = self.config.differs(spec) {
            return Err(SavedError::Unlike { path: self.path.clone(), what });
        }
        match self.config.has_disks(spec) {
            true => Ok(()),
            false => Err(SavedError::OtherDisks(self.path.clone())),
        }
    }

    /// Hands the image on, never a record that libxc would not write.
    pub(in crate::saved) fn pump(
        &mut self,
        to: PipeWriter,
        control: &Control,
    ) -> Result<Pumped, SavedError> {
        pipe::never_wait(&to)?;
        let Some(mut image) = self.image.take() else { return Ok(Pumped::Whole) };
        let sink = Sink { to, control, stopped: None };
        match self.copy(&mut image, sink)? {
            Pumped::Whole => self.end(image).map(|()| Pumped::Whole),
            Pumped::Refused => {
                self.image = Some(image);
                Ok(Pumped::Refused)
            }
        }
    }

    fn copy(&self, image: &mut Image, mut sink: Sink<'_>) -> Result<Pumped, SavedError> {
        match copy_records(image, &mut sink) {
            Ok(()) => Ok(Pumped::Whole),
            // The sink knows better what a writer could not write.
            Err(error) => match sink.stopped {
                Some(Stopped::Refused) => Ok(Pumped::Refused),
                Some(Stopped::Failed(why)) => Err(why),
                None => Err(wrong(&self.path, &error)),
            },
        }
    }

    /// Reads what nobody has read.
    pub(in crate::saved) fn verify_rest(&mut self, control: &Control) -> Result<(), SavedError> {
        let Some(mut image) = self.image.take() else { return Ok(()) };
        while image.next().map_err(|error| wrong(&self.path, &error))?.is_some() {
            if control.cancel.is_cancelled() {
                return Err(SavedError::Cancelled);
            }
        }
        self.end(image)
    }

    /// A PVH or PV guest has nothing behind its image, and nothing is behind the stream.
    fn end(&self, image: Image) -> Result<(), SavedError> {
        let wrong = |error| wrong(&self.path, &error);
        let rest = libxl::Reader::resume(image.into_input().map_err(wrong)?);
        let mut rest = rest.expect_end().map_err(wrong)?.into_inner();
        match rest.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(SavedError::Trailing(self.path.clone())),
            Err(error) => Err(SavedError::io("read", &self.path)(error)),
        }
    }
}

fn copy_records(image: &mut Image, sink: &mut Sink<'_>) -> Result<(), StreamError> {
    let mut writer = ImageWriter::begin(Output::new(sink), image.header())?;
    while let Some(record) = image.next()? {
        writer.write(&record)?;
    }
    Ok(())
}

fn wrong(path: &Path, error: &StreamError) -> SavedError {
    let path = path.to_owned();
    match &error.fault {
        Fault::Truncated => SavedError::Truncated { path, bytes: error.offset },
        Fault::Unreadable { .. } => {
            SavedError::Io { operation: "read", path, detail: error.to_string() }
        }
        _ => SavedError::Damaged { path, what: error.to_string() },
    }
}

/// The worker's end of a pipe, as something to write to.
struct Sink<'a> {
    to: PipeWriter,
    control: &'a Control,
    stopped: Option<Stopped>,
}

/// Why nothing more is written.
enum Stopped {
    Refused,
    Failed(SavedError),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stopped = Some(match pipe::drain(&mut self.to, bytes, self.control) {
            Ok(true) => return Ok(bytes.len()),
            Ok(false) => Stopped::Refused,
            Err(error) => Stopped::Failed(error),
        });
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
