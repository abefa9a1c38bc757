//! libxl's stream and xl's header there and back, cut off and changed.

use crate::control::GuestKind;
use crate::stream::image::{DomainHeader, HvmParam, ImageWriter, Limits, Record as ImageRecord};
use crate::stream::libxl::{Emulator, Reader, Record, Writer};
use crate::stream::{Fault, Input, Output, Part, StreamError, xl};

const QEMU: Emulator = Emulator { id: 2, index: 0 };
const HEADER: DomainHeader = DomainHeader { kind: GuestKind::Pvh, xen_major: 4, xen_minor: 17 };

fn write_image(writer: &mut ImageWriter<Vec<u8>>) -> Result<(), StreamError> {
    for record in [
        ImageRecord::StaticDataEnd,
        ImageRecord::HvmContext(b"machine"),
        ImageRecord::HvmParams(vec![HvmParam { index: 1, value: 2 }]),
        ImageRecord::End,
    ] {
        writer.write(&record)?;
    }
    Ok(())
}

/// A file of `xl save`, with these records behind the image.
fn save_file(config: Option<&str>, behind: &[Record<'_>]) -> Result<Vec<u8>, StreamError> {
    let mut output = Output::new(Vec::new());
    xl::Header { config: config.map(str::to_owned) }.write(&mut output)?;
    let mut image = Writer::begin(output)?.into_image(HEADER)?;
    write_image(&mut image)?;
    let mut writer = Writer::resume(image.into_output()?);
    behind.iter().try_for_each(|record| writer.write(record))?;
    Ok(writer.end()?.into_inner())
}

fn usual() -> Vec<u8> {
    save_file(Some("{\"c_info\": {}}"), &[]).unwrap()
}

/// Reads a whole file; what stands behind the image is handed to `each`.
fn read(bytes: &[u8], mut each: impl FnMut(&Record<'_>)) -> Result<Option<String>, StreamError> {
    let mut input = Input::new(bytes);
    let header = xl::Header::read(&mut input)?;
    let mut image = Reader::open(input)?.into_image(Limits::default())?;
    while image.next()?.is_some() {}
    let mut reader = Reader::resume(image.into_input()?);
    while let Some(record) = reader.next()? {
        each(&record);
    }
    Ok(header.config)
}

#[test]
fn a_save_file_comes_back_with_its_configuration_and_its_device_model() {
    let nodes = Record::EmulatorXenstore(QEMU, vec![("physmap/1/name", "vga.vram"), ("empty", "")]);
    let records = [nodes, Record::EmulatorContext(QEMU, b"QEVM")];
    for config in [None, Some("{}"), Some("{\"name\": \"ü\"}")] {
        for count in 0..=2 {
            let bytes = save_file(config, &records[..count]).unwrap();
            let mut expected = records[..count].iter().chain([&Record::End]);
            let read = read(&bytes, |record| assert_eq!(Some(record), expected.next())).unwrap();
            assert_eq!((read.as_deref(), expected.next()), (config, None));
        }
    }
}

#[test]
fn a_save_file_is_laid_out_as_xl_does_it() {
    let begin: &[u8] = b"Xen saved domain, xl format\n \0 \r\x04\x03\x02\x01\x03\0\0\0\0\0\0\0\
        \x13\0\0\0\x0f\0\0\0{\"c_info\": {}}\0LibxlFmt\0\0\0\x02\0\0\0\0\x01\0\0\0\0\0\0\0\xff\xff";
    assert_eq!(usual()[..begin.len()], *begin);
    let without = save_file(None, &[]).unwrap();
    assert_eq!(without[36..52], *b"\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0");
}

#[test]
fn a_save_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = usual();
    for cut in 0..bytes.len() {
        let fault = read(&bytes[..cut], |_| ()).unwrap_err().fault;
        assert_eq!(fault, Fault::Truncated, "cut at {cut}");
    }
}

#[test]
fn a_changed_bit_of_the_headers_is_refused() {
    let bytes = usual();
    let config = 52..67;
    // Flags that may be passed over, and libxl's bit for converted streams.
    let (optional, converted) = (40..44, 82 * 8 + 1);
    for bit in 0..83 * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let free = optional.contains(&(bit / 8)) || config.contains(&(bit / 8)) || bit == converted;
        let outcome = read(&changed, |_| ());
        assert!(free || outcome.is_err(), "bit {bit}: {outcome:?}");
    }
}

/// Changes a file and reads it.
fn check(change: impl FnOnce(&mut Vec<u8>), part: Part, fault: &Fault) {
    let mut bytes = usual();
    change(&mut bytes);
    let error = read(&bytes, |_| ()).unwrap_err();
    assert_eq!((error.part, &error.fault), (part, fault), "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    let field = |field, value| Fault::Field { field, value };
    let xl = Part::XlHeader;
    check(|bytes| bytes[36] = 1, xl, &field("mandatory flags", 1));
    check(|bytes| bytes[36] = 7, xl, &field("mandatory flags", 7));
    check(|bytes| bytes[36] = 2, xl, &field("mandatory flags", 2));
    check(|bytes| bytes[47] = 0x7f, xl, &Fault::TooLong { length: 0x7f00_0013, limit: 1 << 20 });
    check(|bytes| bytes[48] = 16, xl, &field("length of the configuration", 16));
    check(|bytes| bytes[53] = 0xff, xl, &Fault::Text);
    check(|bytes| bytes[53] = 0, xl, &Fault::Text);
    check(|bytes| bytes[78] = 3, Part::LibxlHeader, &field("version", 3));
    check(|bytes| bytes[83] = 9, Part::LibxlRecord(9), &Fault::UnknownRecord);
    check(|bytes| bytes[83] = 0, Part::LibxlRecord(0), &Fault::Misplaced("before the image"));
    let end = usual().len() - 8;
    check(|bytes| bytes[end] = 1, Part::LibxlRecord(1), &Fault::Misplaced("there twice"));
    let checkpoint = Fault::Misplaced("in a stream without checkpoints");
    check(|bytes| bytes[end] = 4, Part::LibxlRecord(4), &checkpoint);
}

#[test]
fn texts_that_would_be_read_otherwise_are_not_written() {
    let split = Record::EmulatorXenstore(QEMU, vec![("a\0b", "c")]);
    assert_eq!(save_file(None, &[split]).unwrap_err().fault, Fault::Text);
    assert_eq!(save_file(Some("a\0b"), &[]).unwrap_err().fault, Fault::Text);
    let long = "x".repeat(1 << 20);
    assert!(matches!(save_file(Some(&long), &[]).unwrap_err().fault, Fault::TooLong { .. }));
}

#[test]
fn a_device_model_is_not_expected_of_a_guest_without_one() {
    for (behind, expected) in [(&[][..], true), (&[Record::EmulatorContext(QEMU, b"x")], false)] {
        let bytes = save_file(None, behind).unwrap();
        let mut input = Input::new(&bytes[..]);
        xl::Header::read(&mut input).unwrap();
        let mut image = Reader::open(input).unwrap().into_image(Limits::default()).unwrap();
        while image.next().unwrap().is_some() {}
        let end = Reader::resume(image.into_input().unwrap()).expect_end();
        assert_eq!(end.is_ok(), expected);
    }
}
