//! Frames into an image: what was sent is what is restored, and each thing that must not be is refused.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use vmm_core::migration::codec::{self, Against, Key, PAGE, Packer, Page};
use vmm_core::migration::{Encoding, Pack, Pfn, Tricks};
use xen_bindings::stream::Input;
use xen_bindings::stream::image::{ImageReader, Limits, Record};
use xen_bindings::{Gfn, PageTable, PageType};

use super::{ArrivalError, Intake};
use crate::migrate::frames::{BatchWriter, Hello, Run, Tail, gone, hello, mark, tail};
use crate::migrate::fuzz::{BOUNDS, Shared, parts, pv_parts};

/// A stream that is being made.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    fn begun() -> Self {
        Self::default().hello(100, 8, &parts().0)
    }

    fn hello(mut self, pfn_end: u32, copies_max: u32, prologue: &[u8]) -> Self {
        hello(&Hello { pfn_end, copies_max, prologue }, &mut self.bytes);
        self
    }

    /// Pages of one batch.
    fn batch(mut self, pages: &[(u32, Encoding, bool, &[u8])]) -> Self {
        let mut batch = BatchWriter::default();
        for (page, encoding, keep, body) in pages {
            batch.body().extend(*body);
            batch.end(Pfn(*page), *encoding, *keep);
        }
        batch.write(&mut self.bytes);
        self
    }

    fn zeros(self, pages: impl IntoIterator<Item = u32>) -> Self {
        let page = |page| (page, Encoding::Zero, false, &[][..]);
        let pages: Vec<_> = pages.into_iter().map(page).collect();
        self.batch(&pages)
    }

    /// Pages of zeros, or of nothing, of these types.
    fn typed(mut self, pages: &[(u32, PageType)]) -> Self {
        let mut batch = BatchWriter::default();
        for (page, kind) in pages {
            batch.end_of(Pfn(*page), *kind, Encoding::Zero, false);
        }
        batch.write(&mut self.bytes);
        self
    }

    fn gone(mut self, runs: &[(u32, u32)]) -> Self {
        let run = |(first, pages): &(u32, u32)| Run { first: Pfn(*first), pages: *pages };
        gone(&runs.iter().map(run).collect::<Vec<_>>(), &mut self.bytes);
        self
    }

    fn tail(self, frames: u64, gone: u64) -> Self {
        self.tail_with(frames, gone, &parts().1)
    }

    fn tail_with(mut self, frames: u64, gone: u64, epilogue: &[u8]) -> Self {
        tail(&Tail { frames, gone, epilogue }, &mut self.bytes);
        self
    }

    /// The image's pages, when all is well.
    fn taken(&self, piece: usize) -> Result<BTreeMap<u64, Page>, ArrivalError> {
        let image = Shared::default();
        let mut intake = Intake::new(image.clone(), BOUNDS);
        for piece in self.bytes.chunks(piece) {
            intake.take(piece)?;
        }
        let whole = intake.into_whole().ok_or(ArrivalError::Truncated)?;
        let mut pages = pages(&image.bytes());
        assert_eq!(whole.arrived.frames, pages.len() as u64);
        pages.retain(|gfn, _| !whole.gone.contains(Gfn(*gfn)));
        Ok(pages)
    }
}

/// What an image restores.
fn pages(image: &[u8]) -> BTreeMap<u64, Page> {
    let mut reader = ImageReader::open(Input::new(image), Limits::default()).unwrap();
    let mut pages = BTreeMap::new();
    while let Some(record) = reader.next().unwrap() {
        if let Record::Pages(of) = record {
            pages.extend(of.iter().map(|page| (page.pfn().0, *page.bytes().unwrap())));
        }
    }
    pages
}

#[test]
fn a_guest_of_no_pages_is_one() {
    assert_eq!(Stream::begun().tail(0, 0).taken(9).unwrap(), BTreeMap::new());
}

#[test]
fn what_was_given_back_is_to_be_released() {
    let stream = Stream::begun().zeros(0..20).gone(&[(3, 4), (19, 1)]).gone(&[(1, 1)]).tail(20, 6);
    let there: Vec<u64> = stream.taken(100).unwrap().into_keys().collect();
    assert_eq!(there, [0, 2, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
}

#[test]
fn each_thing_that_must_not_be_is_refused() {
    let (prologue, epilogue) = parts();
    let raw = [7; PAGE];
    let begun = Stream::begun;
    let check = |stream: Stream, expect: &str| {
        let told = stream.taken(500).map(|pages| pages.len()).unwrap_err().to_string();
        assert!(told.contains(expect), "{told:?} has no {expect:?}");
    };
    // Bounds.
    check(Stream::default().hello(2_000_000, 0, &prologue), "more memory than it was said");
    check(Stream::default().hello(100, 17, &prologue), "copies of 17 pages");
    check(begun().zeros(0..65), "more than the 64 pages");
    check(begun().zeros([100]), "page 0x64 lies beyond");
    check(begun().zeros([u32::MAX]), "lies beyond");
    // Pages.
    check(begun().zeros([1, 2, 1]), "page 0x1 comes twice");
    check(begun().batch(&[(1, Encoding::Zero, false, &[0])]), "has a body of 1 bytes");
    check(begun().batch(&[(1, Encoding::Raw, false, &raw[1..])]), "has a body of 4095 bytes");
    check(begun().batch(&[(1, Encoding::Lz4, false, b"no")]), "cannot be unpacked");
    check(begun().batch(&[(1, Encoding::Zstd, false, b"no")]), "cannot be unpacked");
    check(begun().batch(&[(1, Encoding::Same, false, &[0, 0])]), "not decoded before");
    check(begun().batch(&[(1, Encoding::Delta, false, &[])]), "nothing was kept");
    check(begun().batch(&[(1, Encoding::Blocks, false, &[0, 0])]), "nothing was kept");
    let kept = |page| (page, Encoding::Raw, true, &raw[..]);
    let all: Vec<_> = (0..9).map(kept).collect();
    check(begun().batch(&all), "copies of 9 pages");
    let forgotten = begun().batch(&[kept(1)]).zeros([1]);
    check(forgotten.batch(&[(1, Encoding::Delta, false, &[])]), "nothing was kept");
    // What is gone, and how many there are.
    check(begun().zeros([1]).gone(&[(2, 1)]), "page 0x2 was given back, and never came");
    check(begun().zeros([1]).gone(&[(1, 1), (1, 1)]), "never came");
    check(begun().zeros([1]).gone(&[(1, u32::MAX)]), "page 0x2 was given back");
    check(begun().zeros([1]).tail(2, 0), "2 frames were said to have come, and 1 have");
    check(begun().zeros([1]).gone(&[(1, 1)]).tail(1, 0), "0 frames were said");
    // The image around them.
    check(Stream::default().hello(9, 0, b"none"), "static data cannot be used");
    check(Stream::default().hello(9, 0, &[&prologue[..], &epilogue].concat()), "more than static");
    check(Stream::default().hello(9, 0, &prologue[..prologue.len() - 8]), "cannot be used");
    check(begun().tail_with(0, 0, b""), "the guest's state cannot be used");
    check(begun().tail_with(0, 0, &[&epilogue[..], b"more"].concat()), "something behind its end");
    check(begun().tail_with(0, 0, &epilogue[32..]), "no time stamp counter");
    // PAGE_DATA of one zero page, and VERIFY.
    let page =
        [&[1, 0, 0, 0, 16, 16, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8], &[0; PAGE]].concat();
    check(begun().tail_with(0, 0, &[&page[..], &epilogue].concat()), "pages among");
    check(
        begun().tail_with(0, 0, &[&[13, 0, 0, 0, 0, 0, 0, 0], &epilogue[..]].concat()),
        "pages among",
    );
    // Marked optional, and known to nobody: Xen would skip it.
    let private = [&[99, 0, 0, 0x80, 0, 0, 0, 0], &epilogue[..]].concat();
    check(begun().tail_with(0, 0, &private), "behind its end");
    let mut pv = prologue.clone();
    pv[24] = 1;
    check(Stream::default().hello(9, 0, &pv), "without X86_PV_INFO");
    // Its end.
    check(begun().zeros([1]), "ended before the guest had come");
    check(begun().tail(0, 0).zeros([1]), "comes where it must not");
}

#[test]
fn a_pv_guests_pages_come_with_their_types_and_the_last_word_counts() {
    let (prologue, epilogue) = pv_parts(100);
    let table = PageType::Table(PageTable::new(4, true).unwrap());
    let stream = Stream::default()
        .hello(100, 8, &prologue)
        .zeros([1, 2, 3])
        .typed(&[(2, table), (4, table)])
        .typed(&[(3, PageType::Absent), (4, PageType::Normal)])
        .tail_with(4, 0, &epilogue);
    let image = Shared::default();
    let mut intake = Intake::new(image.clone(), BOUNDS);
    stream.bytes.chunks(50).for_each(|piece| intake.take(piece).unwrap());
    assert_eq!(intake.into_whole().unwrap().arrived.frames, 4);
    let image = image.bytes();
    let mut reader = ImageReader::open(Input::new(&image[..]), Limits::default()).unwrap();
    let mut types = BTreeMap::new();
    while let Some(record) = reader.next().unwrap() {
        if let Record::Pages(pages) = record {
            types.extend(pages.iter().map(|page| (page.pfn().0, page.kind())));
        }
    }
    let expect = [(1, PageType::Normal), (2, table), (3, PageType::Absent), (4, PageType::Normal)];
    assert_eq!(types, BTreeMap::from(expect));
}

#[test]
fn each_thing_that_must_not_be_of_a_pv_guest_is_refused() {
    let (prologue, epilogue) = pv_parts(100);
    let begun = || Stream::default().hello(100, 8, &prologue);
    let check = |stream: Stream, expect: &str| {
        let told = stream.taken(500).map(|pages| pages.len()).unwrap_err().to_string();
        assert!(told.contains(expect), "{told:?} has no {expect:?}");
    };
    let table = PageType::Table(PageTable::new(1, false).unwrap());
    check(Stream::begun().typed(&[(1, table)]), "a type that only PV guests have");
    check(Stream::begun().zeros([1]).typed(&[(1, PageType::Absent)]), "only PV guests have");
    check(begun().typed(&[(1, PageType::Absent)]), "never came");
    check(begun().typed(&[(1, PageType::AllocOnly)]), "as its entry");
    check(begun().typed(&[(100, table)]), "lies beyond");
    check(begun().zeros([1]).gone(&[(1, 1)]), "a PV guest gave back");
    check(Stream::default().hello(99, 8, &prologue), "a table of more frames than it has");
    let cut = &prologue[..prologue.len() - 24];
    check(Stream::default().hello(100, 8, cut), "static data cannot be used");
    let second = &prologue[prologue.len() - 24..];
    check(begun().tail_with(0, 0, &[second, &epilogue[..]].concat()), "a second table");
    check(begun().tail(0, 0), "state cannot be used");
}

#[test]
fn an_arrival_that_has_failed_takes_no_more() {
    let mut intake = Intake::new(Shared::default(), BOUNDS);
    assert!(intake.take(&Stream::begun().zeros([100]).bytes).is_err());
    let mut next = Vec::new();
    mark(0, &mut next);
    assert!(matches!(intake.take(&next), Err(ArrivalError::Over)));
    assert!(intake.into_whole().is_none());
}

/// A page that a guest writes: of a kind, and of a version that differs in a few bytes.
fn contents(kind: u8, version: u8) -> Page {
    let mut page = match kind {
        0 => [0; PAGE],
        1 => [7; PAGE],
        _ => {
            let mut word = u64::from(kind);
            std::array::from_fn(|_| {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (word >> 56) as u8
            })
        }
    };
    if kind > 0 {
        page[usize::from(version) * 16] = version;
    }
    page
}

/// Batches of pages: which, what they hold, whether a copy is kept.
fn batches() -> impl Strategy<Value = Vec<BTreeMap<u32, (u8, u8, bool)>>> {
    let page = (0_u8..5, 0_u8..9, any::<bool>());
    vec(prop::collection::btree_map(0_u32..60, page, 1..20), 0..12)
}

proptest! {
    #[test]
    fn what_was_sent_last_is_what_is_restored(
        batches in batches(), packs in vec(0_usize..3, 12), piece in 1_usize..9000,
    ) {
        let mut packer = Packer::new(Key::new([1, 2])).unwrap();
        let (mut sent, mut copies) = (BTreeMap::new(), BTreeMap::new());
        let mut stream = Stream::begun();
        let tricks = Tricks { zero: true, same: false, delta: true };
        for (batch, pack) in batches.iter().zip(packs) {
            let pack = [Pack::Raw, Pack::Lz4, Pack::Zstd][pack];
            let mut frame = BatchWriter::default();
            for (page, (kind, version, keep)) in batch {
                let contents = contents(*kind, *version);
                let against = copies.get(page).map_or(Against::Nothing, Against::Copy);
                let how = (pack, tricks);
                let encoding = codec::encode(&mut packer, &contents, against, how, frame.body());
                copies.remove(page);
                let keep = *keep && copies.len() < 8;
                if keep {
                    copies.insert(*page, contents);
                }
                frame.end(Pfn(*page), encoding, keep);
                sent.insert(u64::from(*page), contents);
            }
            frame.write(&mut stream.bytes);
        }
        let stream = stream.tail(sent.len() as u64, 0);
        prop_assert!(stream.taken(piece).unwrap() == sent);
    }
}
