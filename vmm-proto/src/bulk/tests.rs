//! Frames under attack, and across a change of keys.

use proptest::prelude::*;

use super::frame::{HEADER_BYTES, Header, Kind, Numbered, PAYLOAD_BYTES_MAX};
use super::keys::BulkKey;
use super::{BulkError, StreamName};
use crate::aead::{Backend, TAG_BYTES};
use crate::envelope::Direction;

const NAME: StreamName = StreamName { transfer: [7; 16], number: 3 };
const SESSION: &str = "000102030405060708090a0b0c0d0e0f";

fn numbered(backend: Backend, epoch: u64, nonces: [u8; 2]) -> Numbered {
    let key = BulkKey::derive(&[7; 32], Direction::ClientToServer, &[9; 32]);
    let key = key.of_stream(SESSION, &NAME, &nonces.map(|byte| [byte; 16]));
    Numbered::with_epochs(key, backend, epoch)
}

fn sealed(count: u8, epoch: u64) -> Vec<Vec<u8>> {
    let mut sender = numbered(Backend::Fast, epoch, [1, 2]);
    let frames = (0..count).map(|n| {
        let mut frame = Vec::new();
        let is_last = n + 1 == count;
        sender.seal(Kind::Data, is_last, &vec![n; usize::from(n)], &mut frame).unwrap();
        frame
    });
    frames.collect()
}

fn open(receiver: &mut Numbered, frame: &[u8]) -> Result<Vec<u8>, BulkError> {
    let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().expect("a header");
    let mut body = body.to_vec();
    Ok(receiver.open(Header::read(header)?, &mut body)?.to_vec())
}

#[test]
fn frames_arrive_over_changes_of_keys_and_with_either_library() {
    let mut receiver = numbered(Backend::Portable, 3, [1, 2]);
    let frames = sealed(10, 3);
    for (n, frame) in (0_u8..).zip(&frames) {
        assert_eq!(open(&mut receiver, frame).unwrap(), vec![n; usize::from(n)]);
    }
    // Without the change the same frames would look otherwise.
    let unchanged = sealed(10, 1000);
    assert_eq!(frames[..3], unchanged[..3]);
    assert!(
        frames[3..]
            .iter()
            .zip(&unchanged[3..])
            .all(|(a, b)| a[HEADER_BYTES..] != b[HEADER_BYTES..])
    );
    // Nothing comes behind the last one.
    let mut sender = numbered(Backend::Fast, 3, [1, 2]);
    sender.seal(Kind::End, true, b"", &mut Vec::new()).unwrap();
    assert!(sender.seal(Kind::Data, false, b"x", &mut Vec::new()).is_err());
    assert!(open(&mut receiver, &frames[0]).is_err());
}

#[test]
fn each_bit_of_a_frame_is_authentic() {
    let frame = &sealed(6, 1000)[5];
    let read = |frame: &[u8]| {
        let mut receiver = numbered(Backend::Fast, 1000, [1, 2]);
        sealed(5, 1000).iter().take(4).for_each(|f| drop(open(&mut receiver, f).unwrap()));
        let mut early = Vec::new();
        let mut again = numbered(Backend::Fast, 1000, [1, 2]);
        for n in 0..5 {
            early.clear();
            again.seal(Kind::Data, false, &vec![n; usize::from(n)], &mut early).unwrap();
        }
        open(&mut receiver, &early).unwrap();
        open(&mut receiver, frame)
    };
    assert_eq!(read(frame).unwrap(), [5; 5]);
    for bit in 0..frame.len() * 8 {
        let mut changed = frame.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&changed).is_err(), "bit {bit}");
    }
    for length in 0..TAG_BYTES {
        let cut = &frame[..HEADER_BYTES + length];
        assert!(read(cut).is_err(), "a tag of {length} bytes");
    }
}

#[test]
fn a_frame_of_another_connection_stream_session_or_direction_is_refused() {
    let frame = &sealed(2, 1000)[0];
    assert!(open(&mut numbered(Backend::Fast, 1000, [1, 2]), frame).is_ok());
    for nonces in [[3, 2], [1, 3], [2, 1]] {
        assert!(open(&mut numbered(Backend::Fast, 1000, nonces), frame).is_err(), "{nonces:?}");
    }
    let other = |direction, hash: u8, session: &str, name: StreamName| {
        let key = BulkKey::derive(&[7; 32], direction, &[hash; 32]);
        Numbered::new(key.of_stream(session, &name, &[[1; 16], [2; 16]]), Backend::Fast)
    };
    let c2s = Direction::ClientToServer;
    assert!(open(&mut other(c2s, 9, SESSION, NAME), frame).is_ok());
    for mut wrong in [
        other(Direction::ServerToClient, 9, SESSION, NAME),
        other(c2s, 8, SESSION, NAME),
        other(c2s, 9, &SESSION.replace('f', "e"), NAME),
        other(c2s, 9, SESSION, StreamName { number: 4, ..NAME }),
        other(c2s, 9, SESSION, StreamName { transfer: [8; 16], ..NAME }),
    ] {
        assert!(open(&mut wrong, frame).is_err());
    }
}

/// Key, salt and a frame as `docs/protocol.md` has them.
#[test]
fn the_published_vector_is_what_we_do() {
    let key = BulkKey::derive(&[7; 32], Direction::ClientToServer, &[9; 32]);
    let key = key.of_stream(SESSION, &NAME, &[[1; 16], [2; 16]]);
    let (first, salt) = key.epoch(0);
    let mut frame = Vec::new();
    Numbered::new(key, Backend::Portable).seal(Kind::Data, false, b"bulk", &mut frame).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let protocol = include_str!("../../../docs/protocol.md");
    let values = [hex(first.as_slice()), hex(&salt), hex(&frame)];
    let missing: Vec<&String> = values.iter().filter(|v| !protocol.contains(*v)).collect();
    assert!(missing.is_empty(), "not in docs/protocol.md: {missing:?}");
}

proptest! {
    #[test]
    fn any_order_but_the_right_one_is_refused(order in proptest::collection::vec(0_usize..6, 1..12)) {
        let frames = sealed(6, 2);
        let mut receiver = numbered(Backend::Fast, 2, [1, 2]);
        for (expected, n) in order.into_iter().enumerate() {
            let opened = open(&mut receiver, &frames[n]);
            prop_assert_eq!(opened.is_ok(), n == expected);
            if opened.is_err() {
                break;
            }
        }
    }

    #[test]
    fn any_bytes_are_a_header_or_none(bytes in any::<[u8; HEADER_BYTES]>()) {
        if let Ok(header) = Header::read(&bytes) {
            prop_assert!(header.length <= PAYLOAD_BYTES_MAX);
        }
    }
}
