//! Records where they do not belong, read and written.

use super::{Record, refusal, sample, written};
use crate::control::GuestKind;
use crate::stream::image::{P2mFrames, encode, kind};
use crate::stream::{Fault, Output, Part, frame};

/// The bytes of an image whose records nobody has checked.
fn unchecked(guest: GuestKind, records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = written(sample::header(guest), &sample::of(guest)).unwrap();
    bytes.truncate(40);
    let mut output = Output::new(bytes);
    for record in records {
        let place = output.here(Part::ImageRecord(record.number()));
        let words = |pages: &crate::stream::image::Pages<'_>| {
            let words = std::iter::once(pages.len() as u64)
                .chain(pages.iter().map(super::super::pages::word));
            words.flat_map(u64::to_le_bytes).collect()
        };
        let body = match record {
            Record::Pages(pages) => words(pages),
            _ => encode::body(record),
        };
        frame::write(&mut output, place, record.number(), [&body[..]]).unwrap();
    }
    output.into_inner()
}

/// Both reader and writer refuse these records of the sample, by their indices, and tell why alike.
fn check(guest: GuestKind, indices: &[usize], fault: &Fault) {
    let all = sample::of(guest);
    // Contents of pages say nothing about their place.
    let bare = |record: &Record<'static>| match record {
        Record::Pages(_) => Record::Pages(sample::pages(&[(1, crate::PageType::AllocOnly)])),
        other => other.clone(),
    };
    let records: Vec<Record<'_>> = indices.iter().map(|index| bare(&all[*index])).collect();
    assert_eq!(refusal(&unchecked(guest, &records)).fault, *fault, "{guest:?} {indices:?} read");
    let error = written(sample::header(guest), &records).unwrap_err();
    assert_eq!(error.fault, *fault, "{guest:?} {indices:?} written");
}

#[test]
fn records_come_in_an_order() {
    use Fault::{Misplaced, Missing};
    let before = Misplaced("before the static data's end");
    let behind = Misplaced("behind the static data's end");
    let twice = Misplaced("there twice");
    // 0 CPUID, 1 MSR, 2 static data's end, 3 pages, 4 verify, 5 counter, 6 context, 7 parameters, 8 end
    for (indices, fault) in [
        (&[3, 2, 6, 7, 8][..], &before),
        (&[0, 5, 2, 6, 7, 8], &before),
        (&[6], &before),
        (&[2, 0, 6, 7, 8], &behind),
        (&[2, 2, 6, 7, 8], &behind),
        (&[0, 0, 2, 6, 7, 8], &twice),
        (&[2, 6, 6, 7, 8], &twice),
        (&[2, 7, 6, 7, 8], &twice),
        (&[8], &Missing("STATIC_DATA_END")),
        (&[2, 3, 7, 8], &Missing("HVM_CONTEXT")),
        (&[2, 3, 6, 8], &Missing("HVM_PARAMS")),
    ] {
        check(GuestKind::Pvh, indices, fault);
    }
    // 0 width, 1 CPUID, 2 MSR, 3 static data's end, 4 table, 5 pages, 6 counter, 7 shared info, 8 to 11 vCPU, 12 end
    for (indices, fault) in [
        (&[1, 3][..], &Missing("X86_PV_INFO")),
        (&[0, 4], &before),
        (&[0, 0], &twice),
        (&[0, 3, 4, 8, 12], &Missing("SHARED_INFO")),
        (&[0, 3, 4, 7, 9, 12], &Missing("X86_PV_VCPU_BASIC")),
        (&[0, 3, 5, 7, 8, 12], &Missing("X86_PV_P2M_FRAMES")),
    ] {
        check(GuestKind::Pv, indices, fault);
    }
}

#[test]
fn each_kind_of_guest_has_its_own_records() {
    let common = kind::VERIFY;
    for (guest, other, why) in [
        (GuestKind::Pvh, sample::pv(), "in a PVH guest's image"),
        (GuestKind::Pv, sample::pvh(), "in a PV guest's image"),
    ] {
        let own: Vec<u32> = sample::of(guest).iter().map(Record::number).collect();
        let foreign =
            |record: &&Record<'_>| !own.contains(&record.number()) && record.number() != common;
        for record in other.iter().filter(foreign) {
            let bytes = unchecked(guest, std::slice::from_ref(record));
            let needs_width = matches!(record, Record::P2mFrames(_));
            assert_eq!(refusal(&bytes).fault, Fault::Misplaced(why), "{record:?}");
            let error = written(sample::header(guest), std::slice::from_ref(record)).unwrap_err();
            assert!(needs_width || error.fault == Fault::Misplaced(why), "{record:?}: {error}");
        }
    }
}

#[test]
fn checkpoints_are_not_for_plain_streams() {
    for number in [kind::CHECKPOINT, kind::CHECKPOINT_DIRTY_PFN_LIST] {
        let mut bytes = unchecked(GuestKind::Pvh, &sample::pvh()[..3]);
        bytes.extend([number.to_le_bytes(), [0; 4]].concat());
        assert_eq!(refusal(&bytes).fault, Fault::Misplaced("in a stream without checkpoints"));
    }
}

#[test]
fn a_writer_refuses_what_no_reader_takes() {
    let table = |start, end, frames| Record::P2mFrames(P2mFrames { start, end, frames });
    for (what, guest, record) in [
        ("no pages", GuestKind::Pvh, Record::Pages(sample::pages(&[]))),
        ("an empty context", GuestKind::Pvh, Record::HvmContext(&[])),
        ("a table that ends before it begins", GuestKind::Pv, table(2, 1, vec![1])),
        ("a table with a frame too few", GuestKind::Pv, table(0, 512, vec![1])),
    ] {
        let mut records = sample::of(guest);
        records.truncate(if guest == GuestKind::Pv { 4 } else { 3 });
        records.push(record);
        assert!(written(sample::header(guest), &records).is_err(), "{what}");
    }
}

#[test]
fn an_image_without_its_end_is_not_given_back() {
    let records = sample::pvh();
    let error = written(sample::header(GuestKind::Pvh), &records[..8]).unwrap_err();
    assert_eq!(error.fault, Fault::Missing("END"));
}
