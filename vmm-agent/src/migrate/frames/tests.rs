//! Frames as they are written, in any pieces, and changed anywhere.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A frame that owns what it has.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Hello(u32, u32, Vec<u8>),
    Batch(Vec<(u32, PageType, usize, bool, Vec<u8>)>),
    Mark(u64),
    Gone(Vec<(u32, u32)>),
    Tail(u64, u64, Vec<u8>),
}

fn write(frame: &Owned, out: &mut Vec<u8>) {
    match frame {
        Owned::Hello(pfn_end, copies_max, prologue) => {
            hello(&Hello { pfn_end: *pfn_end, copies_max: *copies_max, prologue }, out);
        }
        Owned::Batch(pages) => {
            let mut batch = BatchWriter::default();
            for (page, kind, encoding, keep, body) in pages {
                batch.body().extend(body);
                batch.end_of(Pfn(*page), *kind, Encoding::ALL[*encoding], *keep);
            }
            batch.write(out);
        }
        Owned::Mark(number) => mark(*number, out),
        Owned::Gone(runs) => {
            let runs: Vec<Run> = runs
                .iter()
                .map(|(first, pages)| Run { first: Pfn(*first), pages: *pages })
                .collect();
            gone(&runs, out);
        }
        Owned::Tail(frames, gone, epilogue) => {
            tail(&Tail { frames: *frames, gone: *gone, epilogue }, out);
        }
    }
}

fn own(frame: Frame<'_>) -> Owned {
    let number = |encoding| Encoding::ALL.iter().position(|known| *known == encoding).unwrap();
    match frame {
        Frame::Hello(of) => Owned::Hello(of.pfn_end, of.copies_max, of.prologue.to_vec()),
        Frame::Batch(batch) => {
            assert_eq!(batch.iter().count(), batch.len());
            let page = |of: Entry<'_>| {
                (of.page.0, of.kind, number(of.encoding), of.keep, of.body.to_vec())
            };
            Owned::Batch(batch.iter().map(page).collect())
        }
        Frame::Mark(number) => Owned::Mark(number),
        Frame::Gone(of) => Owned::Gone(of.iter().map(|run| (run.first.0, run.pages)).collect()),
        Frame::Tail(of) => Owned::Tail(of.frames, of.gone, of.epilogue.to_vec()),
    }
}

fn read(bytes: &[u8], piece: usize) -> Result<Vec<Owned>, FrameError> {
    let (mut reader, mut frames) = (Reader::new(), Vec::new());
    for mut piece in bytes.chunks(piece) {
        while let Some(frame) = reader.next(&mut piece)? {
            frames.push(own(frame));
        }
        assert!(piece.is_empty());
    }
    Ok(frames)
}

fn a_type() -> impl Strategy<Value = PageType> {
    let known = (0..16).filter_map(PageType::from_bits);
    prop::sample::select(
        known.filter(|kind| *kind != PageType::AllocOnly).collect::<Vec<PageType>>(),
    )
}

fn a_batch() -> impl Strategy<Value = Owned> {
    let body = vec(any::<u8>(), 0..40);
    let page = (any::<u32>(), a_type(), 0..Encoding::ALL.len(), any::<bool>(), body);
    let page = page.prop_map(|(page, kind, encoding, keep, body)| match kind.has_contents() {
        true => (page, kind, encoding, keep, body),
        false => (page, kind, Encoding::Zero as usize, false, Vec::new()),
    });
    vec(page, 1..20).prop_map(Owned::Batch)
}

/// A stream in its order; marks count up.
fn a_stream() -> impl Strategy<Value = Vec<Owned>> {
    let hello = (any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..60))
        .prop_map(|(end, copies, prologue)| Owned::Hello(end, copies, prologue));
    let gone = vec((any::<u32>(), 1_u32..9), 1..5).prop_map(Owned::Gone);
    let tail = (any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..60))
        .prop_map(|(frames, gone, epilogue)| Owned::Tail(frames, gone, epilogue));
    let middle = (vec(a_batch(), 0..5), vec(gone, 0..3));
    (hello, middle, tail, any::<u32>()).prop_map(|(hello, (batches, gone), tail, mark)| {
        let mut frames = vec![hello];
        for (number, frame) in (u64::from(mark)..).zip(batches.into_iter().chain(gone)) {
            frames.extend([frame, Owned::Mark(number)]);
        }
        frames.push(tail);
        frames
    })
}

fn written(frames: &[Owned]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| write(frame, &mut bytes));
    bytes
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_any_pieces(frames in a_stream(), piece in 1_usize..200) {
        prop_assert_eq!(read(&written(&frames), piece), Ok(frames));
    }

    #[test]
    fn a_stream_that_was_changed_is_read_as_what_it_is_or_refused(
        frames in a_stream(), at: prop::sample::Index, with: u8, piece in 1_usize..200,
    ) {
        let mut bytes = written(&frames);
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(frames) = read(&bytes, piece) {
            let again = written(&frames);
            prop_assert_eq!(&again[..], &bytes[..again.len()]);
        }
    }

    #[test]
    fn any_bytes_are_harmless(bytes in vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let _ = read(&bytes, piece);
    }
}

#[test]
fn frames_come_in_their_order() {
    let hello = || Owned::Hello(9, 0, Vec::new());
    let batch = || Owned::Batch(vec![(1, PageType::Normal, 0, false, Vec::new())]);
    let (mark, gone, tail) =
        (Owned::Mark, || Owned::Gone(vec![(1, 1)]), || Owned::Tail(1, 0, vec![]));
    let misplaced = |kind| Err(FrameError::Misplaced { kind });
    let check = |frames: Vec<Owned>, expect: Result<usize, FrameError>| {
        assert_eq!(read(&written(&frames), 7).map(|read| read.len()), expect, "{frames:?}");
    };
    check(vec![hello(), batch(), mark(0), gone(), mark(1), tail()], Ok(6));
    check(vec![batch()], Err(FrameError::NotAGuest));
    check(vec![hello(), hello()], misplaced(Kind::Hello));
    check(vec![hello(), gone(), batch()], misplaced(Kind::Batch));
    check(vec![hello(), tail(), mark(0)], misplaced(Kind::Mark));
    check(vec![hello(), tail(), tail()], misplaced(Kind::Tail));
    let again = FrameError::Field { kind: Kind::Mark, field: "number", value: 4 };
    check(vec![hello(), mark(4), mark(4)], Err(again));
}

#[test]
fn each_thing_that_none_may_say_is_refused() {
    let prefix = written(&[Owned::Hello(9, 0, Vec::new())]);
    let check = |frame: &[u8], expect: &str| {
        let bytes = [&prefix[..], frame].concat();
        let told = read(&bytes, 64).unwrap_err().to_string();
        assert!(told.contains(expect), "{told}");
    };
    check(&[9, 0, 0, 0, 0, 0, 0, 0], "unknown kind 9");
    check(&[3, 1, 0, 0, 8, 0, 0, 0], "reserved");
    check(&[3, 0, 0, 0, 9, 0, 0, 0], "no such frame is so long");
    check(&[2, 0, 0, 0, 255, 255, 255, 255], "no such frame is so long");
    check(&[3, 0, 0, 0, 1, 0, 0, 0, 1], "it must have eight");
    check(&[2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0], "count of pages");
    check(&[2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0], "another length");
    check(&[2, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0], "entry");
    check(&[2, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0], "entry");
    check(&[2, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 6, 0, 1, 0], "another length");
    check(&[4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0], "empty run");
    check(&[4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0], "another length");
    check(&[4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0], "count of runs");
    check(&[5, 0, 0, 0, 1, 0, 0, 0, 1], "its own numbers");
    let mut other = prefix.clone();
    other[HEAD_BYTES + 4] = 2;
    assert_eq!(read(&other, 64), Err(FrameError::Version { version: 2 }));
    other[HEAD_BYTES] = b'x';
    assert_eq!(read(&other, 64), Err(FrameError::NotAGuest));
}

#[test]
fn a_length_alone_allocates_nothing() {
    let mut reader = Reader::new();
    reader.next(&mut &written(&[Owned::Hello(9, 0, Vec::new())])[..]).unwrap();
    let mut head: &[u8] = &[5, 0, 0, 0, 0, 0, 0x80, 0];
    assert_eq!(reader.next(&mut head), Ok(None));
    assert!(reader.buffer.capacity() < 1 << 16, "{}", reader.buffer.capacity());
}
