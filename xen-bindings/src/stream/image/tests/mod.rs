//! Images there and back, cut off anywhere, changed anywhere, and records where they do not belong.

mod hostile;
mod orders;
mod round;
pub(in crate::stream) mod sample;

use super::{DomainHeader, ImageReader, ImageWriter, Limits, Record};
use crate::stream::{Input, Output, StreamError};

/// All records of an image, each as `each` keeps it, and the bytes behind the image.
fn read_with<T>(
    bytes: &[u8],
    limits: Limits,
    mut each: impl FnMut(&Record<'_>) -> T,
) -> Result<(DomainHeader, Vec<T>, usize), StreamError> {
    let mut reader = ImageReader::open(Input::new(bytes), limits)?;
    let mut kept = Vec::new();
    while let Some(record) = reader.next()? {
        kept.push(each(&record));
    }
    let header = reader.header();
    Ok((header, kept, reader.into_input()?.into_inner().len()))
}

/// The fault of an image that must be refused, and the byte of the part that it is about.
fn refusal(bytes: &[u8]) -> StreamError {
    match read_with(bytes, Limits::default(), |_| ()) {
        Err(error) => error,
        Ok(_) => panic!("{bytes:?} is taken for an image"),
    }
}

fn written(header: DomainHeader, records: &[Record<'_>]) -> Result<Vec<u8>, StreamError> {
    let mut writer = ImageWriter::begin(Output::new(Vec::new()), header)?;
    for record in records {
        writer.write(record)?;
    }
    Ok(writer.into_output()?.into_inner())
}
