//! PV guests, which libxenguest copies: they arrive page by page the same, or stay as they were.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::sleep;
use vmm_core::migration::layered::Phase;
use vmm_core::migration::{Encoding, Limits, Reason};
use xen_bindings::sim::{MemoryWriter, Op, SimConfig};
use xen_bindings::{DomId, GuestKind, XenErrorKind};

use super::host::Host;
use super::wire::Kind;
use super::{Ended, Move, differences, paused};
use crate::env::Blocking;
use crate::migrate::{ArrivalError, SendError};

/// Two hosts, and a PV guest on one of them.
struct Pair {
    from: Host,
    to: Host,
    domid: DomId,
    limits: Limits,
}

impl Pair {
    async fn new() -> Self {
        Self::with(&[MemoryWriter::idle(), MemoryWriter::hot_set(300, 4000)]).await
    }

    async fn with(writers: &[MemoryWriter]) -> Self {
        Self::from(Host::new(), writers).await
    }

    /// The source's Xen logs no PV guest, and the guest may stand still for as long as it takes.
    async fn unlogged() -> Self {
        let from = Host::with(SimConfig { shadow: false, ..SimConfig::default() });
        let writers = [MemoryWriter::idle(), MemoryWriter::hot_set(300, 4000)];
        let limits = Limits { downtime_max: Duration::from_secs(10), ..Limits::default() };
        Self { limits, ..Self::from(from, &writers).await }
    }

    async fn from(from: Host, writers: &[MemoryWriter]) -> Self {
        let domid = from.boot_of(GuestKind::Pv, writers).await;
        Self { from, to: Host::new(), domid, limits: Limits::default() }
    }

    fn a_move(&self) -> Move<'_> {
        let kind = Kind { bytes_per_s: 30e6, ..Kind::default() };
        let (guest, limits) = (GuestKind::Pv, self.limits);
        Move { kind, guest, limits, ..Move::new(&self.from, self.domid, &self.to) }
    }

    fn same(&self, there: DomId) {
        assert_eq!(differences((&self.from, self.domid), (&self.to, there)), []);
    }

    /// After a move that was given up.
    async fn is_as_before(&self, ended: &Ended, what: &str) {
        self.from.resume(self.domid).await;
        self.from.assert_runs_free(self.domid, what).await;
        self.to.assert_goes(ended.shell().domid()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pv_guest_that_writes_arrives_byte_by_byte_and_goes_on_there() {
    let writers =
        [MemoryWriter::idle(), MemoryWriter::hot_set(200, 5000), MemoryWriter::muncher(2000, 3000)];
    let pair = Pair::with(&writers).await;
    let running = pair.a_move();
    let owner = running.owner.clone();
    let ended = running.run().await;
    let (spec, stream, progress) = (ended.spec, ended.stream.len() as u64, ended.progress.unwrap());
    let (sent, built, shell, arrived) = ended.whole();
    pair.same(shell.domid());
    assert_eq!((sent.sent_bytes, arrived.stream_bytes), (stream, stream));
    assert_eq!(sent.ram_bytes, pair.from.info(pair.domid).unwrap().pages.0 * 4096);
    assert_eq!(sent.encodings, arrived.encodings);
    assert_eq!(arrived.frames * 4096, sent.ram_bytes);
    assert!(sent.sent_bytes < sent.ram_bytes / 2, "{sent:?}");
    assert!(sent.stopped_at <= sent.elapsed && sent.rounds > 1, "{sent:?}");
    assert!(sent.encodings[Encoding::Zero as usize] > 3000, "{sent:?}");
    assert!(sent.encodings[Encoding::Delta as usize] > 10, "{sent:?}");
    assert_eq!((progress.phase, progress.harvests), (Phase::Over, sent.rounds));
    assert!(owner.state().is_pinned, "who owns it lets it go");
    pair.to.introduce(shell.domid(), built, &spec);
    pair.to.xen.control.unpause(shell.domid()).unwrap();
    sleep(Duration::from_secs(1)).await;
    pair.to.assert_runs_free(shell.domid(), "the guest that moved").await;
    assert_ne!(differences((&pair.from, pair.domid), (&pair.to, shell.domid())), []);
    pair.from.assert_goes(pair.domid).await;
}

#[tokio::test(start_paused = true)]
async fn a_pv_guest_that_writes_faster_than_the_link_stays_and_is_told_why() {
    let pair = Pair::with(&[MemoryWriter::muncher(4000, 6000)]).await;
    let kind = Kind { bytes_per_s: 3e6, ..Kind::default() };
    let ended = Move { kind, ..pair.a_move() }.run().await;
    let refused = matches!(ended.sent, Err(SendError::Policy(Reason::DoesNotConverge { .. })));
    assert!(refused, "{:?}", ended.sent);
    pair.is_as_before(&ended, "a guest that writes too fast").await;
    // Who may stand still for longer moves.
    let limits = Limits { downtime_max: Duration::from_secs(60), ..Limits::default() };
    let (_, _, shell, _) = Move { kind, limits, ..pair.a_move() }.run().await.whole();
    pair.same(shell.domid());
}

#[tokio::test(start_paused = true)]
async fn a_pv_guest_that_nobody_logs_is_copied_while_it_stands_still() {
    let pair = Pair::unlogged().await;
    let moving = pair.a_move();
    let owner = moving.owner.clone();
    let ended = moving.run().await;
    let (spec, progress) = (ended.spec, ended.progress.unwrap());
    let (sent, built, shell, arrived) = ended.whole();
    pair.same(shell.domid());
    assert_eq!((sent.encodings, sent.rounds, progress.left_bytes), (arrived.encodings, 0, 0));
    assert_eq!(arrived.frames * 4096, sent.ram_bytes);
    assert!(sent.stopped_at < Duration::from_millis(500), "{sent:?}");
    assert_eq!(sent.encodings[Encoding::Delta as usize], 0, "no page goes twice");
    assert!(owner.state().is_pinned);
    pair.to.introduce(shell.domid(), built, &spec);
    pair.to.xen.control.unpause(shell.domid()).unwrap();
    sleep(Duration::from_secs(1)).await;
    pair.to.assert_runs_free(shell.domid(), "the guest that moved").await;
    pair.from.assert_goes(pair.domid).await;
}

#[tokio::test(start_paused = true)]
async fn a_pv_guest_that_nobody_logs_stays_when_it_may_not_stand_still_for_so_long() {
    let pair = Pair::unlogged().await;
    let moving = Move { limits: Limits::default(), ..pair.a_move() };
    let owner = moving.owner.clone();
    let ended = moving.run().await;
    let refused =
        |ended: &Ended| matches!(ended.sent, Err(SendError::Policy(Reason::MustStand { .. })));
    assert!(refused(&ended), "{:?}", ended.sent);
    assert_eq!(owner.state().suspends, 0, "it was not even asked");
    pair.from.assert_runs_free(pair.domid, "a guest that was not stopped").await;
    pair.is_as_before(&ended, "a guest that was not stopped").await;
    // The link carries much less than it was expected to.
    let kind = Kind { bytes_per_s: 3e4, ..Kind::default() };
    let ended = Move { kind, ..pair.a_move() }.run().await;
    assert!(refused(&ended), "{:?}", ended.sent);
    pair.is_as_before(&ended, "a guest that stood still for too long").await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_pv_move_in_the_middle_of_a_round() {
    let pair = Pair::new().await;
    let kind = Kind { bytes_per_s: 1e5, ..Kind::default() };
    let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
    let ended = Move { kind, limits, ..pair.a_move() }.run().await;
    let refused = matches!(ended.sent, Err(SendError::Policy(Reason::Deadline { .. })));
    assert!(refused, "{:?}", ended.sent);
    pair.is_as_before(&ended, "a guest whose move took too long").await;
}

#[tokio::test(start_paused = true)]
async fn a_pv_guest_that_does_not_suspend_is_asked_again_and_then_stays() {
    let pair = Pair::new().await;
    for (refusals, arrives) in [(1, true), (9, false)] {
        let asked = pair.a_move();
        *asked.owner.refusals.lock().unwrap() = refusals;
        let ended = asked.run().await;
        match &ended.sent {
            Ok(_) => pair.same(ended.shell().domid()),
            Err(error) => assert!(error.to_string().contains("did not suspend"), "{error}"),
        }
        assert_eq!(ended.sent.is_ok(), arrives);
        pair.is_as_before(&ended, "a guest that was asked").await;
    }
}

/// Numbers of polls all over a move.
fn some(total: u32) -> impl Iterator<Item = u32> {
    (1..total.min(10)).chain((10..total).step_by((total / 12).max(1) as usize))
}

#[tokio::test(start_paused = true)]
async fn a_pv_move_that_is_cancelled_anywhere_leaves_everything_as_it_was() {
    for (blocking, pair) in [
        (Blocking::Inline, Pair::new().await),
        (Blocking::Pool, Pair::new().await),
        (Blocking::Pool, Pair::unlogged().await),
    ] {
        let measure = Move { blocking, ..pair.a_move() }.run().await;
        let total = measure.polls;
        pair.is_as_before(&measure, "the measure").await;
        for at in some(total) {
            let moving = Move { blocking, cancel_at: Some(at), ..pair.a_move() };
            let owner = moving.owner.clone();
            let ended = moving.run().await;
            if let Err(error) = &ended.sent {
                assert!(matches!(error, SendError::Cancelled), "poll {at}: {error}");
                assert!(!owner.state().is_pinned, "poll {at}");
            }
            pair.is_as_before(&ended, &format!("cancelled at poll {at} of {total}")).await;
        }
    }
}

/// How many parts of this program hold the host's saver.
fn savers(host: &Host) -> usize {
    Arc::strong_count(&host.backend.xen.image)
}

#[tokio::test(start_paused = true)]
async fn a_pv_sender_that_is_dropped_anywhere_ends_its_save() {
    ends_its_save_when_dropped(Pair::new().await).await;
    ends_its_save_when_dropped(Pair::unlogged().await).await;
}

async fn ends_its_save_when_dropped(pair: Pair) {
    let whole = pair.a_move().run().await;
    let (total, idle) = (whole.polls, savers(&pair.from));
    pair.is_as_before(&whole, "the measure").await;
    for at in some(total).step_by(3) {
        let ended = Move { drop_at: Some(at), ..pair.a_move() }.run().await;
        // Its thread ends by itself.
        while savers(&pair.from) > idle {
            std::thread::yield_now();
        }
        pair.is_as_before(&ended, &format!("dropped at poll {at}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_cut_anywhere_leaves_a_pv_guest_as_it_was() {
    stays_when_cut(Pair::new().await).await;
    stays_when_cut(Pair::unlogged().await).await;
}

async fn stays_when_cut(pair: Pair) {
    let whole = pair.a_move().run().await;
    let bytes = whole.stream.len() as u64;
    pair.is_as_before(&whole, "the measure").await;
    for breaks_at in [0, 1, 40, 1000].into_iter().chain((1..9).map(|part| bytes * part / 10)) {
        let kind = Kind { breaks_at: Some(breaks_at), ..pair.a_move().kind };
        let ended = Move { kind, ..pair.a_move() }.run().await;
        assert!(matches!(ended.sent, Err(SendError::Link(_))), "{breaks_at}: {:?}", ended.sent);
        let error = ended.arrived.as_ref().map(|_| ()).unwrap_err();
        assert!(matches!(error.error, ArrivalError::Truncated), "{breaks_at}: {}", error.error);
        pair.is_as_before(&ended, &format!("cut at byte {breaks_at}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_save_or_a_restore_fails_with_is_told() {
    let pair = Pair::new().await;
    pair.from.machine.faults().fail_next(Op::GuestSaveLive, XenErrorKind::OutOfMemory);
    let ended = pair.a_move().run().await;
    let told = matches!(&ended.sent, Err(SendError::Xen(error)) if error.kind() == XenErrorKind::OutOfMemory);
    assert!(told, "{:?}", ended.sent);
    pair.is_as_before(&ended, "a save that failed").await;
    pair.to.machine.faults().fail_next(Op::GuestRestore, XenErrorKind::OutOfMemory);
    let ended = pair.a_move().run().await;
    let failed = ended.arrived.as_ref().map(|_| ()).unwrap_err();
    assert!(failed.error.to_string().contains("cannot be restored"), "{}", failed.error);
    pair.is_as_before(&ended, "a restore that failed").await;
}

fn a_writer() -> impl Strategy<Value = MemoryWriter> {
    let stretch = (1_u64..3000, 1_u64..40_000);
    let hot = stretch.clone().prop_map(|(pages, rate)| MemoryWriter::hot_set(pages, rate));
    let muncher = stretch.prop_map(|(pages, rate)| MemoryWriter::muncher(pages, rate));
    prop_oneof![Just(MemoryWriter::idle()), hot, muncher]
}

async fn moved_or_stays(writers: &[MemoryWriter], kind: Kind) {
    let pair = Pair::with(writers).await;
    let ended = Move { kind, ..pair.a_move() }.run().await;
    match (&ended.sent, &ended.arrived) {
        (Ok(sent), Ok((_, shell, arrived))) => {
            pair.same(shell.domid());
            assert_eq!(sent.encodings, arrived.encodings);
        }
        (Err(SendError::Policy(_)), Err(_)) => {
            pair.is_as_before(&ended, "a guest that was not moved").await;
        }
        (sent, arrived) => panic!("{sent:?}, {:?}", arrived.as_ref().map(|(_, _, come)| come)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_pv_guest_writes_it_arrives_byte_by_byte_or_stays(
        writers in vec(a_writer(), 0..4), bytes_per_s in 2e6..1e9, round_trip_us in 0_u64..30_000,
    ) {
        let round_trip = Duration::from_micros(round_trip_us);
        paused(moved_or_stays(&writers, Kind { bytes_per_s, round_trip, ..Kind::default() }));
    }
}
