//! What a fuzzer does with bytes of anybody's: each function takes any, and panics when something is wrong with us.
//!
//! `fuzz/` runs it with libFuzzer; the test below runs each input that it has kept.

use crate::stream::image::{ImageReader, ImageWriter, Limits};
use crate::stream::{Input, Output, StreamError, libxl, xl};

/// The first byte says what the rest is taken for: xl's file, libxl's stream, libxc's image.
pub fn stream(bytes: &[u8]) {
    let Some((layer, bytes)) = bytes.split_first() else { return };
    let read = match layer % 3 {
        0 => image(Input::new(bytes)).map(|_| ()),
        1 => libxl_stream(Input::new(bytes)),
        _ => xl_file(bytes),
    };
    if let Err(error) = read {
        assert!(error.offset <= bytes.len() as u64 && !error.to_string().is_empty());
    }
}

/// Reads an image and writes it: what is written is read alike.
fn image(input: Input<&[u8]>) -> Result<Input<&[u8]>, StreamError> {
    let reader = ImageReader::open(input, Limits::default())?;
    copied(reader).map(|(input, written)| {
        let again = ImageReader::open(Input::new(&written[..]), Limits::default());
        let (_, twice) = again.and_then(copied).expect("what was written");
        assert_eq!(written, twice);
        input
    })
}

type Copied<'a> = (Input<&'a [u8]>, Vec<u8>);

fn copied(mut reader: ImageReader<&[u8]>) -> Result<Copied<'_>, StreamError> {
    let header = reader.header();
    let mut writer = ImageWriter::begin(Output::new(Vec::new()), header).expect("room");
    while let Some(record) = reader.next()? {
        writer.write(&record).expect("what was read can be written");
    }
    let written = writer.into_output().expect("it has ended").into_inner();
    Ok((reader.into_input()?, written))
}

fn libxl_stream(input: Input<&[u8]>) -> Result<(), StreamError> {
    let reader = libxl::Reader::open(input)?.into_image(Limits::default())?;
    let (input, _) = copied(reader)?;
    let mut reader = libxl::Reader::resume(input);
    let mut writer = libxl::Writer::resume(Output::new(Vec::new()));
    while let Some(record) = reader.next()? {
        writer.write(&record).expect("what was read can be written");
    }
    Ok(())
}

fn xl_file(bytes: &[u8]) -> Result<(), StreamError> {
    let mut input = Input::new(bytes);
    let header = xl::Header::read(&mut input)?;
    let mut output = Output::new(Vec::new());
    header.write(&mut output).expect("what was read can be written");
    let written = output.into_inner();
    assert_eq!(xl::Header::read(&mut Input::new(&written[..])).as_ref(), Ok(&header));
    libxl_stream(input)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_input_that_a_fuzzer_has_kept_is_harmless() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/stream");
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for entry in entries {
            super::stream(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 10, "{count} inputs");
    }
}
