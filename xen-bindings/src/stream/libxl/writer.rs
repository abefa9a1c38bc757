//! What is around an image, written.

use std::io::Write;

use super::Record;
use super::{EMULATOR_CONTEXT, EMULATOR_XENSTORE_DATA, END, IDENT, LIBXC_CONTEXT, VERSION};
use crate::stream::Output;
use crate::stream::error::{Fault, Part, Place, StreamError};
use crate::stream::frame;
use crate::stream::image::{DomainHeader, ImageWriter};

/// Writes what is around an image.
#[derive(Debug)]
pub struct Writer<W> {
    output: Output<W>,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut output: Output<W>) -> Result<Self, StreamError> {
        let mut bytes = IDENT.to_be_bytes().to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0; 4]);
        output.all(output.here(Part::LibxlHeader), &bytes)?;
        Ok(Self { output })
    }

    /// Announces the image and writes its headers.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn into_image(self, header: DomainHeader) -> Result<ImageWriter<W>, StreamError> {
        ImageWriter::begin(self.announce_image()?, header)
    }

    /// Announces an image that somebody else writes.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn announce_image(mut self) -> Result<Output<W>, StreamError> {
        let place = self.here(LIBXC_CONTEXT);
        frame::write(&mut self.output, place, LIBXC_CONTEXT, [])?;
        Ok(self.output)
    }

    /// Goes on behind the image.
    #[must_use]
    pub fn resume(output: Output<W>) -> Self {
        Self { output }
    }

    /// Writes a record behind the image; the end is [`Writer::end`]'s.
    ///
    /// # Errors
    /// For a text with a NUL; when it cannot be written.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), StreamError> {
        let (number, emulator, rest) = match record {
            Record::End => return self.end_record(),
            Record::EmulatorXenstore(emulator, pairs) => {
                let text: String =
                    pairs.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
                if text.matches('\0').count() != 2 * pairs.len() {
                    return Err(self.here(EMULATOR_XENSTORE_DATA).error(Fault::Text));
                }
                (EMULATOR_XENSTORE_DATA, emulator, text.into_bytes())
            }
            Record::EmulatorContext(emulator, context) => {
                (EMULATOR_CONTEXT, emulator, context.to_vec())
            }
        };
        let (id, index) = (emulator.id.to_le_bytes(), emulator.index.to_le_bytes());
        let place = self.here(number);
        frame::write(&mut self.output, place, number, [&id[..], &index[..], &rest[..]])
    }

    fn end_record(&mut self) -> Result<(), StreamError> {
        let place = self.here(END);
        frame::write(&mut self.output, place, END, [])
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> Result<Output<W>, StreamError> {
        self.end_record()?;
        Ok(self.output)
    }

    fn here(&self, number: u32) -> Place {
        self.output.here(Part::LibxlRecord(number))
    }
}
