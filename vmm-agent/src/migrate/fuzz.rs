//! Any bytes as a guest's stream, and as what the lanes bring that it travels on.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use vmm_core::cpu::Features;
use xen_bindings::stream::image::{
    DomainHeader, HvmParam, ImageReader, ImageWriter, Limits, P2mFrames, PvVcpuPart, PvWidth,
    Record, TscInfo, ZERO_PAGE,
};
use xen_bindings::stream::{Input, Output};
use xen_bindings::{CpuidLeaf, GuestKind, MsrEntry};

use super::arrival::{Bounds, Intake};
use super::frames::{self, BatchWriter, Frame, Hello, Reader, Run};
use super::lanes::{Item, Next, Order, Parser, Preamble};

/// A small guest's.
pub(super) const BOUNDS: Bounds =
    Bounds { frames_max: 64, copies_bytes_max: 16 << 12, features: Features(Vec::new()) };

/// What is written to it can be read behind its owner's back.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prologue and epilogue of a small image.
pub(super) fn parts() -> (Vec<u8>, Vec<u8>) {
    let header = DomainHeader { kind: GuestKind::Pvh, xen_major: 4, xen_minor: 17 };
    let mut writer = ImageWriter::begin(Output::new(Vec::new()), header).expect("a Vec has room");
    let write =
        |writer: &mut ImageWriter<Vec<u8>>, record| writer.write(&record).expect("a Vec has room");
    write(&mut writer, Record::CpuidPolicy(vec![CpuidLeaf::default()]));
    write(&mut writer, Record::MsrPolicy(vec![MsrEntry::default()]));
    write(&mut writer, Record::StaticDataEnd);
    let prologue = usize::try_from(writer.offset()).expect("it is small");
    write(&mut writer, Record::Tsc(TscInfo::default()));
    write(&mut writer, Record::HvmContext(b"context"));
    write(&mut writer, Record::HvmParams(vec![HvmParam { index: 1, value: 2 }]));
    write(&mut writer, Record::End);
    let mut image = writer.into_output().expect("it has ended").into_inner();
    let epilogue = image.split_off(prologue);
    (image, epilogue)
}

/// As [`parts`], of a PV guest of so many pages.
pub(super) fn pv_parts(pages: u32) -> (Vec<u8>, Vec<u8>) {
    let header = DomainHeader { kind: GuestKind::Pv, xen_major: 4, xen_minor: 17 };
    let mut writer = ImageWriter::begin(Output::new(Vec::new()), header).expect("a Vec has room");
    let table = P2mFrames { start: 0, end: pages - 1, frames: vec![1] };
    for record in [
        Record::PvInfo(PvWidth::Bits64),
        Record::CpuidPolicy(vec![CpuidLeaf::default()]),
        Record::MsrPolicy(vec![MsrEntry::default()]),
        Record::StaticDataEnd,
        Record::P2mFrames(table),
    ] {
        writer.write(&record).expect("a Vec has room");
    }
    let prologue = writer.written().len();
    for record in [
        Record::Tsc(TscInfo::default()),
        Record::SharedInfo(&ZERO_PAGE),
        Record::PvVcpu { part: PvVcpuPart::Basic, vcpu: 0, state: b"registers" },
        Record::End,
    ] {
        writer.write(&record).expect("a Vec has room");
    }
    let mut image = writer.into_output().expect("it has ended").into_inner();
    let epilogue = image.split_off(prologue);
    (image, epilogue)
}

/// The first byte says in which pieces the rest comes, and whether a good beginning is put before it, and of which kind of guest.
pub(crate) fn stream(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(how >> 1) * 37 + 1;
    let mut all = Vec::new();
    if how & 1 == 1 {
        let prologue = if how & 2 == 0 { parts().0 } else { pv_parts(200).0 };
        frames::hello(&Hello { pfn_end: 200, copies_max: 8, prologue: &prologue }, &mut all);
    }
    all.extend(bytes);
    read(&all, piece);
    take(&all, piece);
    lanes(*how, bytes, piece);
}

/// As what a few lanes bring, each a part of it: read, put in order, or refused.
fn lanes(how: u8, bytes: &[u8], piece: usize) {
    let lanes = how % 3 + 1;
    let mut order = Order::default();
    let (mut whole, mut items) = (0, Vec::new());
    for (lane, bytes) in (0..lanes).zip(bytes.chunks(bytes.len() / usize::from(lanes) + 1)) {
        let seat = order.seat(lane.into()).expect("each comes once");
        let preamble = Preamble { lanes, lane }.write();
        // One in four has to bring its own.
        let own = if how & 0xc == 0xc { Vec::new() } else { preamble.to_vec() };
        let Some(read) = read_lane(&[&own, bytes].concat(), piece) else { return };
        items.push((seat, read.into_iter()));
    }
    loop {
        for (seat, items) in &mut items {
            while order.wants(*seat)
                && let Some(item) = items.next()
            {
                if order.put(*seat, item).is_err() {
                    return;
                }
            }
        }
        match order.next() {
            Ok(Next::Bytes(bytes)) => whole += bytes.len(),
            Ok(Next::Wait) => break,
            Ok(Next::Over) => {
                assert!(order.is_complete() && items.iter().all(|(_, items)| items.len() == 0));
                break;
            }
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
    assert!(whole <= bytes.len(), "more than came");
}

/// What is read of a lane is written as it was, and was not longer.
fn read_lane(bytes: &[u8], piece: usize) -> Option<Vec<Item>> {
    let (mut parser, mut items, mut again) = (Parser::new(), Vec::new(), Vec::new());
    for mut piece in bytes.chunks(piece) {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(item)) => {
                    item.write(&mut again);
                    items.push(item);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return None;
                }
            }
        }
    }
    assert_eq!(again, bytes[..again.len()]);
    Some(items)
}

/// What is read is written as it was.
fn read(bytes: &[u8], piece: usize) {
    let (mut reader, mut again) = (Reader::new(), Vec::new());
    for mut piece in bytes.chunks(piece) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(frame)) => write(&frame, &mut again),
                Ok(None) => break,
                Err(error) => return assert!(!error.to_string().is_empty()),
            }
        }
    }
    assert_eq!(again, bytes[..again.len()]);
}

fn write(frame: &Frame<'_>, out: &mut Vec<u8>) {
    match frame {
        Frame::Hello(of) => frames::hello(of, out),
        Frame::Mark(number) => frames::mark(*number, out),
        Frame::Tail(of) => frames::tail(of, out),
        Frame::Gone(of) => frames::gone(&of.iter().collect::<Vec<Run>>(), out),
        Frame::Batch(of) => {
            let mut batch = BatchWriter::default();
            for entry in of.iter() {
                batch.body().extend(entry.body);
                batch.end_of(entry.page, entry.kind, entry.encoding, entry.keep);
            }
            batch.write(out);
        }
    }
}

/// It becomes an image or an error.
fn take(bytes: &[u8], piece: usize) {
    let image = Shared::default();
    let mut intake = Intake::new(image.clone(), BOUNDS);
    for piece in bytes.chunks(piece) {
        if let Err(error) = intake.take(piece) {
            return assert!(!error.to_string().is_empty());
        }
    }
    let Some(whole) = intake.into_whole() else { return };
    assert!(whole.arrived.frames <= BOUNDS.frames_max);
    assert_eq!(whole.gone.len(), whole.arrived.released);
    let image = image.bytes();
    let mut reader =
        ImageReader::open(Input::new(&image[..]), Limits::default()).expect("an image");
    while reader.next().expect("well-formed").is_some() {}
    assert_eq!(reader.offset(), image.len() as u64);
}
