//! Lanes of a stranger's: each thing that must not be is an error of its own, and costs no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::super::error::FormatError;
use super::super::format::{HEAD_BYTES, Preamble, end, piece};
use super::super::{
    AHEAD_BYTES_MAX, HELD_BYTES_MAX, Inbound, LANES_MAX, LaneError, PIECE_BYTES_MAX,
};
use super::{MemoryStream, Sent, Way, paused, raw};

/// What a lane brings, by the number of its stream; without an end it is cut.
struct Bad {
    number: u32,
    bytes: Vec<u8>,
    is_over: bool,
}

fn preamble(lane: u8, lanes: u8) -> Vec<u8> {
    Preamble { lanes, lane }.write().to_vec()
}

/// A lane that begins and ends as it should.
fn whole(lane: u8, lanes: u8, parts: &[Vec<u8>]) -> Bad {
    let bytes = [preamble(lane, lanes), parts.concat()].concat();
    Bad { number: lane.into(), bytes, is_over: true }
}

fn alone(parts: &[Vec<u8>]) -> Vec<Bad> {
    vec![whole(0, 1, parts)]
}

/// Takes all of it, cut so.
async fn take(lanes: &[Bad], cut: usize) -> Result<Vec<u8>, LaneError> {
    let (give, streams) = mpsc::channel(2 * LANES_MAX);
    for Bad { number, bytes, is_over } in lanes {
        let (to, stream) = raw(*number, Way { cut, ..Way::default() });
        assert!(give.try_send(stream).is_ok());
        assert!(to.try_send(Sent::Bytes(bytes.clone())).is_ok());
        if *is_over {
            assert!(to.try_send(Sent::End).is_ok());
        }
    }
    let mut inbound = Inbound::<MemoryStream>::new(streams);
    let mut came = Vec::new();
    inbound.first().await?;
    while let Some(part) = inbound.next().await? {
        came.extend(part);
    }
    inbound.finish().await?;
    Ok(came)
}

fn check(lanes: &[Bad], expect: &LaneError) {
    for cut in [1, 5, usize::MAX] {
        let told = paused(take(lanes, cut)).unwrap_err();
        assert_eq!(told, *expect, "cut by {cut}");
        assert!(!told.to_string().is_empty());
    }
}

#[test]
fn what_is_as_it_should_be_arrives_in_any_cuts() {
    let lanes = [
        whole(0, 2, &[piece(0, b"one "), piece(8, b"three"), end(13)]),
        whole(1, 2, &[piece(4, b"two "), end(13)]),
    ];
    for cut in [1, 7, usize::MAX] {
        assert_eq!(paused(take(&lanes, cut)).unwrap(), b"one two three");
    }
    assert_eq!(paused(take(&alone(&[end(0)]), 3)).unwrap(), b"");
}

#[test]
fn a_stream_that_is_no_lane_is_refused_with_what_to_do() {
    let lane = |bytes: Vec<u8>| [Bad { number: 0, bytes, is_over: true }];
    // As an agent sends that knows no lanes.
    let hello = b"\x01\0\0\0\x20\0\0\0VMMG\x01\0\0\0".to_vec();
    check(&lane(hello), &FormatError::NoLane.into());
    let mut newer = preamble(0, 1);
    newer[8] = 2;
    check(&lane(newer), &FormatError::Version { version: 2 }.into());
    for error in [FormatError::NoLane, FormatError::Version { version: 2 }] {
        assert!(error.to_string().contains("the same release"), "{error}");
    }
    for (which, lanes) in [(0, 0), (1, 1), (0, 9), (3, 2), (255, 255)] {
        let wrong = FormatError::Which { lane: which, lanes };
        check(&lane(preamble(which, lanes)), &wrong.into());
    }
    check(&lane(preamble(0, 1)[..HEAD_BYTES - 1].to_vec()), &FormatError::Truncated.into());
}

#[test]
fn lanes_that_do_not_fit_each_other_are_refused() {
    let of = |number, lane, lanes| Bad { number, ..whole(lane, lanes, &[end(0)]) };
    check(&[of(0, 0, 2), of(0, 1, 2)], &LaneError::Twice { lane: 0 });
    check(&[of(0, 0, 2), of(1, 0, 2)], &LaneError::Misnamed { number: 1, lane: 0 });
    check(&[of(0, 0, 2), of(1, 1, 3)], &LaneError::Disagree { lane: 1, lanes: 3, before: 2 });
    check(&[of(8, 0, 2)], &LaneError::Number { number: 8 });
    check(&[of(u32::MAX, 0, 2)], &LaneError::Number { number: u32::MAX });
}

#[test]
fn pieces_that_cannot_be_are_refused() {
    let head =
        |position: u64, bytes: u32| [&position.to_le_bytes()[..], &bytes.to_le_bytes()].concat();
    // An endless one.
    for bytes in [u32::MAX, u32::try_from(PIECE_BYTES_MAX).unwrap() + 1] {
        check(&alone(&[head(0, bytes)]), &FormatError::TooLong { bytes }.into());
    }
    let wrong = FormatError::NoPlace { position: u64::MAX, bytes: 1 };
    check(&alone(&[head(u64::MAX, 1)]), &wrong.into());
    // One lane twice, back, or with something behind its end.
    let back = |position, before| FormatError::Back { position, before }.into();
    check(&alone(&[piece(0, b"ab"), piece(0, b"ab"), end(2)]), &back(0, 2));
    check(&alone(&[piece(0, b"ab"), piece(1, b"c"), end(2)]), &back(1, 2));
    check(&alone(&[piece(0, b"ab"), end(1)]), &back(1, 2));
    check(&alone(&[end(0), piece(0, b"ab")]), &FormatError::Behind.into());
    // Ended in the middle, and before it said so.
    let truncated = FormatError::Truncated.into();
    check(&alone(&[piece(0, b"abc")[..HEAD_BYTES + 2].to_vec()]), &truncated);
    check(&alone(&[piece(0, b"abc")]), &truncated);
    let cut = Bad { is_over: false, ..whole(0, 1, &[piece(0, b"abc")]) };
    let told = paused(take(&[cut], 1)).unwrap_err();
    assert!(matches!(told, LaneError::Broken { lane: 0, .. }), "{told:?}");
}

#[test]
fn pieces_of_several_lanes_that_do_not_fit_each_other_are_refused() {
    let two = |one: &[Vec<u8>], other: &[Vec<u8>]| [whole(0, 2, one), whole(1, 2, other)];
    let overlap = |lane, position, next| LaneError::Overlap { lane, position, next };
    check(&two(&[piece(0, b"ab"), end(2)], &[piece(0, b"ab"), end(2)]), &overlap(1, 0, 0));
    check(&two(&[piece(0, b"abc"), end(4)], &[piece(1, b"bcd"), end(4)]), &overlap(1, 1, 3));
    let gap = two(&[piece(0, b"ab"), end(9)], &[piece(5, b"defg"), end(9)]);
    check(&gap, &LaneError::Gap { next: 2 });
    // A gap at the end, and ends that are not the same.
    let missing = two(&[piece(0, b"ab"), end(5)], &[end(5)]);
    check(&missing, &LaneError::End { lane: 0, end: 5, next: 2 });
    let ends = two(&[piece(0, b"ab"), end(2)], &[end(3)]);
    check(&ends, &LaneError::End { lane: 1, end: 3, next: 2 });
    let short = two(&[piece(0, b"abc"), end(3)], &[end(1)]);
    check(&short, &LaneError::End { lane: 1, end: 1, next: 3 });
    let position = AHEAD_BYTES_MAX + 1;
    let ends = end(position + 1);
    let far = two(&[piece(position, b"a"), ends.clone()], &[ends]);
    check(&far, &LaneError::Far { lane: 0, position, next: 0 });
}

/// A lane that writes for as long as it is read, pieces that are not next.
fn endless(lane: u8, lanes: u8, length: usize, read: &Arc<AtomicUsize>) -> MemoryStream {
    let (to, stream) = raw(lane.into(), Way::default());
    let read = read.clone();
    tokio::spawn(async move {
        let _ = to.send(Sent::Bytes(preamble(lane, lanes))).await;
        let bytes = vec![7; length];
        for at in (1..).map(|at: u64| at * length as u64) {
            if to.send(Sent::Bytes(piece(at, &bytes))).await.is_err() {
                return;
            }
            read.fetch_add(length, Ordering::Relaxed);
        }
    });
    stream
}

/// All lanes but one run full. The one comes and says nothing, or does not come.
#[test]
fn memory_is_bounded_while_a_lane_is_waited_for_and_it_is_not_waited_for_forever() {
    let all = u8::try_from(LANES_MAX).unwrap();
    for (comes, length) in [(true, PIECE_BYTES_MAX), (true, 1), (false, PIECE_BYTES_MAX)] {
        let (told, read) = paused(async {
            let (give, streams) = mpsc::channel(LANES_MAX);
            let read = Arc::new(AtomicUsize::new(0));
            for lane in 1..all {
                assert!(give.try_send(endless(lane, all, length, &read)).is_ok());
            }
            let (to, silent) = raw(0, Way::default());
            to.try_send(Sent::Bytes(preamble(0, all))).unwrap();
            if comes {
                assert!(give.try_send(silent).is_ok());
            }
            let mut inbound = Inbound::new(streams);
            inbound.first().await.unwrap();
            let told = inbound.next().await.unwrap_err();
            (told, read.load(Ordering::Relaxed))
        });
        match comes {
            true => assert!(matches!(told, LaneError::Stalled { next: 0, .. }), "{told}"),
            false => assert_eq!(told, LaneError::Missing { come: LANES_MAX - 1, lanes: LANES_MAX }),
        }
        // What is held, and for each lane what is looked at, read, and on its way.
        let slack = LANES_MAX * 5 * PIECE_BYTES_MAX;
        assert!(read <= HELD_BYTES_MAX + slack, "{read} bytes");
        assert!(read >= (LANES_MAX - 1) * 60 * length, "{read} bytes: they were not read at all");
    }
}

/// The lane with the next piece is read, however many wait on others.
#[test]
fn a_lane_that_comes_late_frees_those_that_ran_ahead() {
    paused(async {
        let (give, streams) = mpsc::channel(LANES_MAX);
        let read = Arc::new(AtomicUsize::new(0));
        assert!(give.try_send(endless(1, 2, 1000, &read)).is_ok());
        let mut inbound = Inbound::new(streams);
        inbound.first().await.unwrap();
        let late = async {
            tokio::time::sleep(std::time::Duration::from_secs(20)).await;
            let (to, stream) = raw(0, Way::default());
            assert!(give.try_send(stream).is_ok());
            to.send(Sent::Bytes(preamble(0, 2))).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(20)).await;
            to.send(Sent::Bytes(piece(0, &[9; 1000]))).await.unwrap();
            to
        };
        let come = async {
            for expect in [9_u8, 7, 7, 7] {
                assert_eq!(inbound.next().await.unwrap(), Some(vec![expect; 1000]));
            }
            for _ in 0..500 {
                assert_eq!(inbound.next().await.unwrap(), Some(vec![7; 1000]));
            }
        };
        tokio::join!(late, come);
    });
}
