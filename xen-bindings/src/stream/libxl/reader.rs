//! What is around an image, read.

use std::io::Read;

use super::{EMULATOR_CONTEXT, EMULATOR_XENSTORE_DATA, END, IDENT, LIBXC_CONTEXT, VERSION};
use super::{Emulator, Record, name};
use crate::stream::Input;
use crate::stream::error::{Fault, Part, StreamError};
use crate::stream::frame::Head;
use crate::stream::image::{ImageReader, Limits};

/// A stream that was converted from an older one. Its image is read like any other.
const CONVERTED: u32 = 1 << 1;
/// A device model's context has some MiB.
const BODY_BYTES_MAX: u32 = 64 << 20;

/// Reads what is around an image.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    body: Vec<u8>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// For what is no stream of version 2 in little-endian.
    pub fn open(mut input: Input<R>) -> Result<Self, StreamError> {
        let place = input.here(Part::LibxlHeader);
        place.expect("ident", u64::from_be_bytes(input.array(place)?), IDENT)?;
        place.expect("version", u32::from_be_bytes(input.array(place)?), VERSION)?;
        let options = u32::from_be_bytes(input.array(place)?);
        place.expect("options", options & !CONVERTED, 0)?;
        Ok(Self::resume(input))
    }

    /// The image, which must come first.
    ///
    /// # Errors
    /// When something else comes, or an image that cannot be read.
    pub fn into_image(mut self, limits: Limits) -> Result<ImageReader<R>, StreamError> {
        let head = self.head()?;
        if head.number != LIBXC_CONTEXT {
            return Err(head.place.error(Fault::Misplaced("before the image")));
        }
        self.empty(head)?;
        ImageReader::open(self.input, limits)
    }

    /// Goes on behind the image.
    #[must_use]
    pub fn resume(input: Input<R>) -> Self {
        Self { input, body: Vec::new(), ended: false }
    }

    /// The next record behind the image, the end included; `None` behind it.
    ///
    /// # Errors
    /// For a record that is malformed, too long, at the wrong place, or unknown and not to be skipped.
    #[allow(clippy::should_implement_trait, reason = "what it answers borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, StreamError> {
        if self.ended {
            return Ok(None);
        }
        let head = self.head()?;
        let misplaced = |why| Err(head.place.error(Fault::Misplaced(why)));
        match head.number {
            END => {
                self.empty(head)?;
                self.ended = true;
                Ok(Some(Record::End))
            }
            LIBXC_CONTEXT => misplaced("there twice"),
            EMULATOR_XENSTORE_DATA | EMULATOR_CONTEXT => {
                head.limit(BODY_BYTES_MAX)?;
                head.body(&mut self.input, &mut self.body)?;
                emulator(head, &self.body).map(Some)
            }
            _ => misplaced("in a stream without checkpoints"),
        }
    }

    /// Reads the end of a stream whose guest has no device model.
    ///
    /// # Errors
    /// When there is more.
    pub fn expect_end(mut self) -> Result<Input<R>, StreamError> {
        let place = self.input.here(Part::RecordHeader);
        match self.next()? {
            Some(Record::End) | None => Ok(self.input),
            Some(_) => Err(place.error(Fault::Misplaced(
                "in the stream of a guest of this kind: it keeps what a device model needs",
            ))),
        }
    }

    /// The head of the next record that somebody knows.
    fn head(&mut self) -> Result<Head, StreamError> {
        loop {
            let head = Head::read(&mut self.input, Part::LibxlRecord)?;
            if name(head.number).is_some() {
                return Ok(head);
            }
            if !head.is_optional() {
                return Err(head.place.error(Fault::UnknownRecord));
            }
            head.skip(&mut self.input)?;
        }
    }

    fn empty(&self, head: Head) -> Result<(), StreamError> {
        if head.length == 0 {
            return Ok(());
        }
        let fault = Fault::Length { length: head.length.into(), expect: "it must have none" };
        Err(head.place.error(fault))
    }
}

fn emulator(head: Head, body: &[u8]) -> Result<Record<'_>, StreamError> {
    let short = || {
        let expect = "its head alone has eight";
        head.place.error(Fault::Length { length: body.len() as u64, expect })
    };
    let (id, rest) = body.split_first_chunk().ok_or_else(short)?;
    let (index, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let emulator = Emulator { id: u32::from_le_bytes(*id), index: u32::from_le_bytes(*index) };
    if head.number == EMULATOR_CONTEXT {
        return Ok(Record::EmulatorContext(emulator, rest));
    }
    let nodes = pairs(rest).ok_or_else(|| head.place.error(Fault::Text))?;
    Ok(Record::EmulatorXenstore(emulator, nodes))
}

/// Names and values in turn, each with a NUL behind it.
fn pairs(bytes: &[u8]) -> Option<Vec<(&str, &str)>> {
    let Some(text) = bytes.strip_suffix(&[0]) else {
        return bytes.is_empty().then(Vec::new);
    };
    let mut words = std::str::from_utf8(text).ok()?.split('\0');
    let mut pairs = Vec::new();
    while let Some(name) = words.next() {
        pairs.push((name, words.next()?));
    }
    Some(pairs)
}
