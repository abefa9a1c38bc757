//! What is written is read.

use proptest::collection::vec;
use proptest::prelude::*;

use super::sample::{self, any_batch};
use super::{Limits, Record, read_with, written};
use crate::control::GuestKind;
use crate::frame::Pfn;
use crate::page_type::PageType;
use crate::stream::image::{HvmParam, Page, Pages, ZERO_PAGE};

/// Reads an image and writes what it read.
fn copied(bytes: &[u8]) -> Vec<u8> {
    use crate::stream::image::{ImageReader, ImageWriter};
    use crate::stream::{Input, Output};
    let mut reader = ImageReader::open(Input::new(bytes), Limits::default()).unwrap();
    let mut writer = ImageWriter::begin(Output::new(Vec::new()), reader.header()).unwrap();
    while let Some(record) = reader.next().unwrap() {
        writer.write(&record).unwrap();
    }
    writer.into_output().unwrap().into_inner()
}

#[test]
fn every_record_comes_back_as_it_was() {
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        let records = sample::of(kind);
        let mut bytes = written(sample::header(kind), &records).unwrap();
        assert_eq!(copied(&bytes), bytes, "{kind:?}");
        bytes.extend(b"somebody else's");
        let mut expected = records.iter();
        let compare = |record: &Record<'_>| assert_eq!(Some(record), expected.next());
        let (header, read, left) = read_with(&bytes, Limits::default(), compare).unwrap();
        assert_eq!((header, read.len(), left), (sample::header(kind), records.len(), 15));
    }
}

#[test]
fn an_image_is_laid_out_as_xens_documents_say() {
    let bytes = written(sample::header(GuestKind::Pvh), &sample::pvh()).unwrap();
    let begin: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xffXENF\0\0\0\x03\0\0\0\0\0\0\0\0\
        \x02\0\0\0\x0c\0\0\0\x04\0\0\0\x11\0\0\0\x11\0\0\0\x30\0\0\0\x01\0\0\0\xff\xff\xff\xff";
    assert_eq!(bytes[..begin.len()], *begin);
    let pages: &[u8] = b"\x01\0\0\0\x20\x10\0\0\x03\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\xe0\xff\xff\x0f\0\0\0\0\xf0xxxx";
    assert!(bytes.windows(pages.len()).any(|window| window == pages));
    assert!(bytes.ends_with(&[0; 8]));
}

#[test]
fn an_optional_record_that_nobody_knows_is_skipped() {
    let bytes = written(sample::header(GuestKind::Pvh), &sample::pvh()).unwrap();
    let mut with = bytes[..40].to_vec();
    with.extend([1, 0, 0, 0x80, 5, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
    with.extend(&bytes[40..]);
    assert_eq!(copied(&with), bytes);
}

#[test]
fn a_batch_takes_1024_pages_and_no_more() {
    let mut pages = Pages::new();
    let page = |pfn| Page::normal(Pfn(pfn), &ZERO_PAGE).unwrap();
    assert!((0..1024).all(|pfn| pages.push(page(pfn))));
    assert!(pages.is_full() && !pages.push(page(1024)));
    assert_eq!((pages.len(), pages.iter().len()), (1024, 1024));
}

#[test]
fn a_page_and_its_contents_fit_each_other() {
    assert_eq!(Page::bare(Pfn(1), PageType::Normal), None);
    assert_eq!(Page::new(Pfn(1), PageType::Absent, Some(&ZERO_PAGE)), None);
    assert_eq!(Page::normal(Pfn(Page::PFN_END), &ZERO_PAGE), None);
}

proptest! {
    #[test]
    fn memory_and_state_of_any_kind_come_back(
        batches in vec(any_batch(), 0..6),
        context in vec(any::<u8>(), 1..300),
        params in vec((any::<u64>(), any::<u64>()), 0..40),
    ) {
        let param = |&(index, value)| HvmParam { index, value };
        let mut records = sample::pvh();
        records.truncate(3);
        records.extend(batches.iter().map(|batch| Record::Pages(sample::pages(batch))));
        records.push(Record::HvmContext(&context));
        records.push(Record::HvmParams(params.iter().map(param).collect()));
        records.push(Record::End);
        let bytes = written(sample::header(GuestKind::Pvh), &records).unwrap();
        prop_assert!(bytes.len().is_multiple_of(8));
        prop_assert_eq!(&copied(&bytes), &bytes);
        let mut expected = records.iter();
        let compare = |record: &Record<'_>| Some(record) == expected.next();
        let (_, alike, left) = read_with(&bytes, Limits::default(), compare).unwrap();
        prop_assert!(left == 0 && alike.len() == records.len() && alike.iter().all(|same| *same));
    }

    #[test]
    fn an_error_says_that_writing_failed_and_where(room in 0_usize..9000) {
        use crate::stream::{Fault, Output, image::ImageWriter};
        let mut full = vec![0; room];
        let output = Output::new(&mut full[..]);
        let fails = || {
            let mut writer = ImageWriter::begin(output, sample::header(GuestKind::Pv))?;
            sample::pv().iter().try_for_each(|record| writer.write(record))
        };
        let whole = written(sample::header(GuestKind::Pv), &sample::pv()).unwrap();
        match fails() {
            Ok(()) => prop_assert!(room >= whole.len()),
            Err(error) => {
                prop_assert_eq!(error.fault, Fault::Unwritable { errno: 0 });
                prop_assert!(room < whole.len() && error.offset <= room as u64);
            }
        }
    }
}
