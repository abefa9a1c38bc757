//! Images that end early, lie about lengths, or have a bit changed.

use std::io::Read;

use super::{ImageReader, Limits, Record, read_with, refusal, sample, written};
use crate::control::GuestKind;
use crate::stream::{Fault, Input, StreamError};

const KINDS: [GuestKind; 2] = [GuestKind::Pvh, GuestKind::Pv];
/// Both headers.
const HEAD_BYTES: usize = 40;
/// Where the version of Xen stands, which may be any.
const XEN: std::ops::Range<usize> = 32..40;

fn image(kind: GuestKind) -> Vec<u8> {
    written(sample::header(kind), &sample::of(kind)).unwrap()
}

#[test]
fn an_image_that_is_cut_off_anywhere_is_refused() {
    for kind in KINDS {
        let bytes = image(kind);
        for cut in 0..bytes.len() {
            let error = refusal(&bytes[..cut]);
            assert_eq!(error.fault, Fault::Truncated, "{kind:?} cut at {cut}: {error}");
            assert!(error.offset <= cut as u64, "{error} of {cut} bytes");
        }
    }
}

#[test]
fn a_changed_bit_of_the_headers_is_refused() {
    for kind in KINDS {
        let bytes = image(kind);
        for bit in 0..HEAD_BYTES * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = read_with(&changed, Limits::default(), |_| ());
            assert_eq!(read.is_ok(), XEN.contains(&(bit / 8)), "{kind:?} bit {bit}: {read:?}");
        }
    }
}

/// Nothing is ignored: no bit of an image can be changed without a refusal or another meaning.
#[test]
fn every_bit_of_an_image_counts() {
    for kind in KINDS {
        let (bytes, records) = (image(kind), sample::of(kind));
        for bit in HEAD_BYTES * 8..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut expected = records.iter();
            let same = |record: &Record<'_>| Some(record) == expected.next();
            if let Ok((_, same, _)) = read_with(&changed, Limits::default(), same) {
                let alike = same.len() == records.len() && same.iter().all(|same| *same);
                assert!(!alike, "{kind:?}: bit {bit} says nothing");
            }
        }
    }
}

/// A PVH guest's image whose static data are there, and then these bytes.
fn with_record(number: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = image(GuestKind::Pvh);
    bytes.truncate(HEAD_BYTES + 8 + 48 + 8 + 16 + 8);
    bytes.extend(number.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn lengths_that_lie_are_refused_by_what_they_are() {
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (pages, params, tsc, context, end, unknown) = (1, 0xa, 8, 9, 0, 0x8000_0077);
    let (none, page) = (vec![], [0_u8; 4096]);
    let too_long = |length, limit| Fault::TooLong { length, limit };
    let length = |length, expect| Fault::Length { length, expect };
    let count = |value| Fault::Field { field: "count of pages", value };
    let uneven = "which do not fit its pages";
    let one: Vec<u8> = words(&[1, 0]);
    let one_with_its_page = [one.clone(), page.to_vec()].concat();
    for (what, number, said, body, fault) in [
        (
            "a record of 4 GiB",
            context,
            u32::MAX,
            none.clone(),
            too_long(u32::MAX.into(), 128 << 20),
        ),
        ("an optional one", unknown, u32::MAX, none.clone(), too_long(u32::MAX.into(), 128 << 20)),
        ("a long context", context, 17 << 20, none.clone(), too_long(17 << 20, 16 << 20)),
        ("1025 pages", pages, 8 + 1025 * 4104, none.clone(), too_long(4_206_608, 4_202_504)),
        ("no pages", pages, 8, words(&[0]), count(0)),
        ("a count of pages alone", pages, 8, words(&[1]), length(8, uneven)),
        ("more pages than a record has", pages, 8, words(&[1025]), count(1025)),
        ("so many that it overflows", pages, 8, words(&[u32::MAX.into()]), count(u32::MAX.into())),
        ("a page without its contents", pages, 16, one, length(16, uneven)),
        ("half of a count", pages, 4, words(&[1]), length(4, "its head alone has eight")),
        (
            "contents of nothing",
            pages,
            4112,
            [words(&[1, 0xe << 60]), page.to_vec()].concat(),
            length(4112, uneven),
        ),
        (
            "a byte too many",
            pages,
            4113,
            [one_with_its_page, vec![0; 8]].concat(),
            length(4113, uneven),
        ),
        (
            "parameters that are not there",
            params,
            8,
            words(&[1]),
            length(8, "which do not fit its parameters"),
        ),
        ("a short counter", tsc, 16, words(&[0, 0]), length(16, "it must have 24")),
        ("a long counter", tsc, 32, words(&[0; 4]), length(32, "it must have 24")),
        ("an empty context", context, 0, none, length(0, "it must have some")),
        ("an end with something in it", end, 8, words(&[0]), Fault::Missing("HVM_CONTEXT")),
    ] {
        let error = refusal(&with_record(number, said, &body));
        assert_eq!(error.fault, fault, "{what}: {error}");
    }
}

#[test]
fn what_is_reserved_and_what_has_no_meaning_is_refused() {
    let word = |word: u64| [&1_u64.to_le_bytes()[..], &word.to_le_bytes()[..]].concat();
    let field = |field, value| Fault::Field { field, value };
    for (what, number, length, body, fault) in [
        (
            "a reserved count",
            1,
            16,
            [1_u64 << 32 | 1, 0].map(u64::to_le_bytes).concat(),
            field("reserved", 1),
        ),
        ("a page type", 1, 16, word(5 << 60), field("page type", 5 << 60)),
        (
            "a reserved bit of a frame",
            1,
            16,
            word(0xe << 60 | 1 << 52),
            field("pfn", 0xe << 60 | 1 << 52),
        ),
        ("a frame beyond all hosts", 1, 16, word(0xe << 60 | 1 << 32), field("pfn", 1 << 32)),
        ("padding", 9, 4, vec![1, 2, 3, 4, 0, 0, 0, 1], Fault::Padding),
        ("a private record", 0x77, 8, vec![0; 8], Fault::UnknownRecord),
        ("an old toolstack's record", 0xb, 8, vec![0; 8], Fault::UnknownRecord),
    ] {
        let error = refusal(&with_record(number, length, &body));
        assert_eq!(error.fault, fault, "{what}: {error}");
    }
}

#[test]
fn an_error_names_the_record_and_its_place() {
    for (number, told) in [
        (9, "record HVM_CONTEXT at byte 128: it has 4294967295 bytes, 134217728 at most"),
        (0x77, "record 0x77 at byte 128: it has 4294967295 bytes, 134217728 at most"),
    ] {
        assert_eq!(refusal(&with_record(number, u32::MAX, &[])).to_string(), told);
    }
}

/// A stream that says it is long, and is not; it does not like to be asked for much at once.
struct Stingy<'a>(&'a [u8]);

impl Read for Stingy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(buffer.len() <= 64 << 10, "{} bytes are made ready", buffer.len());
        self.0.read(buffer)
    }
}

#[test]
fn a_length_alone_costs_no_memory() {
    let read = |bytes: &[u8]| -> Result<(), StreamError> {
        let mut reader = ImageReader::open(Input::new(Stingy(bytes)), Limits::default())?;
        while reader.next()?.is_some() {}
        Ok(())
    };
    for (number, length) in [(1, 4 << 20), (9, 16 << 20), (0x8000_0077, 128 << 20)] {
        let error = read(&with_record(number, length, b"few")).unwrap_err();
        assert_eq!(error.fault, Fault::Truncated);
    }
}

#[test]
fn limits_are_the_callers() {
    let bytes = image(GuestKind::Pvh);
    for (limits, fault) in [
        (
            Limits { record_bytes_max: 40, ..Limits::default() },
            Fault::TooLong { length: 48, limit: 40 },
        ),
        (
            Limits { pfn_end: 0xfffff, ..Limits::default() },
            Fault::Field { field: "pfn", value: 0xfffff },
        ),
    ] {
        assert_eq!(read_with(&bytes, limits, |_| ()).unwrap_err().fault, fault);
    }
}
