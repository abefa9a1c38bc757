//! Streams of a stranger's: whatever they are, an arrival ends with a guest or an error, and nothing is left of it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::OnceLock;
use xen_bindings::GuestKind;
use xen_bindings::sim::MemoryWriter;

use super::host::{Host, MEMORY_KIB};
use super::{Move, paused};
use crate::env::Blocking;
use crate::migrate::{Arrival, ArrivalError};

const KINDS: [GuestKind; 2] = [GuestKind::Pvh, GuestKind::Pv];

/// A stream that is good.
fn good(guest: GuestKind) -> &'static [u8] {
    static GOOD: [OnceLock<Vec<u8>>; 2] = [const { OnceLock::new() }; 2];
    GOOD[usize::from(guest == GuestKind::Pv)].get_or_init(|| {
        paused(async {
            let (from, to) = (Host::new(), Host::new());
            let domid = from.boot_of(guest, &[MemoryWriter::hot_set(200, 3000)]).await;
            let ended = Move { guest, ..Move::new(&from, domid, &to) }.run().await;
            assert!(ended.sent.is_ok() && ended.arrived.is_ok());
            ended.stream
        })
    })
}

/// What is done to it.
#[derive(Clone, Debug)]
enum Harm {
    Flip(Index, u8),
    Cut(Index),
    Drop(Index, usize),
    Double(Index, usize),
    Insert(Index, Vec<u8>),
}

fn a_harm() -> impl Strategy<Value = Harm> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 1_u8..).prop_map(|(at, by)| Harm::Flip(at, by)),
        1 => at().prop_map(Harm::Cut),
        1 => (at(), 1_usize..5000).prop_map(|(at, bytes)| Harm::Drop(at, bytes)),
        1 => (at(), 1_usize..5000).prop_map(|(at, bytes)| Harm::Double(at, bytes)),
        1 => (at(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
    ]
}

/// Half of all harm is done to the first and the last few thousand bytes, where the numbers are.
fn place(at: Index, bytes: usize, is_end: bool) -> usize {
    let near = bytes.min(4000);
    match (is_end, at.index(4)) {
        (_, 0) => at.index(bytes),
        (true, _) => bytes - 1 - at.index(near),
        (false, _) => at.index(near),
    }
}

fn harm(stream: &mut Vec<u8>, harm: &Harm, is_end: bool) {
    if stream.is_empty() {
        return;
    }
    let bytes = stream.len();
    let place = |at: &Index| place(*at, bytes, is_end);
    match harm {
        Harm::Flip(at, by) => stream[place(at)] ^= by,
        Harm::Cut(at) => stream.truncate(place(at)),
        Harm::Drop(at, count) => {
            let at = place(at);
            stream.drain(at..bytes.min(at + count));
        }
        Harm::Double(at, count) => {
            let at = place(at);
            let part = stream[at..bytes.min(at + count)].to_vec();
            stream.splice(at..at, part);
        }
        Harm::Insert(at, part) => {
            let at = place(at);
            stream.splice(at..at, part.iter().copied());
        }
    }
}

/// Takes a stream; afterwards the host is as before.
async fn take(guest: GuestKind, stream: &[u8], piece: usize) -> Result<(), ArrivalError> {
    let host = Host::new();
    let before = host.machine.memory();
    let shell = host.shell(guest, MEMORY_KIB);
    let (domid, spec) = (shell.domid(), host.ports(&shell));
    let begun = Arrival::begin(&host.backend, Blocking::Inline, shell, spec, Host::bounds());
    let mut arrival = begun.map_err(|failed| failed.error)?;
    let mut taken = Ok(());
    for piece in stream.chunks(piece) {
        taken = arrival.take(piece.to_vec()).await;
        if taken.is_err() {
            break;
        }
    }
    let outcome = match taken {
        Ok(()) => arrival.finish().await.map(|_| ()).map_err(|failed| failed.error),
        Err(error) => {
            arrival.abandon().await;
            Err(error)
        }
    };
    host.assert_goes(domid).await;
    assert_eq!(host.machine.memory(), before);
    outcome
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_that_was_harmed_is_refused_or_a_guest(
        guest in prop::sample::select(KINDS.to_vec()),
        harms in vec((a_harm(), any::<bool>()), 1..4), piece in 200_usize..300_000,
    ) {
        let mut stream = good(guest).to_vec();
        for (of, is_end) in &harms {
            harm(&mut stream, of, *is_end);
        }
        if let Err(error) = paused(take(guest, &stream, piece)) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn a_good_stream_is_a_guest_in_any_pieces_and_twice_is_too_much() {
    for guest in KINDS {
        for piece in [333, 65_536, usize::MAX] {
            paused(take(guest, good(guest), piece)).unwrap();
        }
        let twice = [good(guest), good(guest)].concat();
        let error = paused(take(guest, &twice, 65_536)).unwrap_err();
        assert!(error.to_string().contains("comes where it must not"), "{error}");
    }
    let [own, other] = KINDS;
    assert!(matches!(paused(take(own, good(other), 999)), Err(ArrivalError::Restore(_))));
}
