//! Every way in which a move ends early: cancelled, cut, stalled, failed, dropped. The source's guest runs on, nothing is left.

use std::sync::Arc;

use xen_bindings::sim::{MemoryWriter, Op};
use xen_bindings::{GuestKind, Leftover, XenErrorKind};

use super::host::{Host, MEMORY_KIB, MIB, Moves};
use super::wire::Kind;
use super::{Ended, Move, differences};
use crate::env::Blocking;
use crate::migrate::lanes::tests::alive;
use crate::migrate::{Arrival, ArrivalError, SendError};

/// Steps that are tried of a sequence too long to try them all: all of the first, then ever fewer.
fn some(total: u64) -> impl Iterator<Item = u64> {
    let next = |step: &u64| Some(step + 1 + step / 3);
    std::iter::successors(Some(1), next).take_while(move |step| *step <= total)
}

/// From a cancel to the answer: the log and the brake are switched off, or the last bytes were just handed over.
const A_FEW_POLLS: u32 = 12;

struct Pair {
    from: Host,
    to: Host,
    domid: xen_bindings::DomId,
}

impl Pair {
    async fn new() -> Self {
        let (from, to) = (Host::new(), Host::new());
        let writers = [MemoryWriter::idle(), MemoryWriter::hot_set(300, 4000)];
        let domid = from.boot(&writers).await;
        Self { from, to, domid }
    }

    fn a_move(&self) -> Move<'_> {
        let kind = Kind { bytes_per_s: 30e6, ..Kind::default() };
        Move { kind, ..Move::new(&self.from, self.domid, &self.to) }
    }

    /// After a move that was given up: the guest runs on here, and there is nothing there.
    async fn is_as_before(&self, ended: &Ended, what: &str) {
        self.from.resume(self.domid).await;
        self.from.assert_runs_free(self.domid, what).await;
        self.to.assert_goes(ended.shell().domid()).await;
    }

    /// It can be moved all the same.
    async fn moves(&self) {
        let ended = self.a_move().run().await;
        let (_, _, shell, _) = ended.whole();
        assert_eq!(differences((&self.from, self.domid), (&self.to, shell.domid())), []);
        self.from.resume(self.domid).await;
        self.to.assert_goes(shell.domid()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_cancelled_anywhere_leaves_everything_as_it_was() {
    let pair = Pair::new().await;
    let memory = pair.to.machine.memory();
    let polls = pair.a_move().run().await;
    let total = polls.polls;
    pair.is_as_before(&polls, "the measure").await;
    assert!(total > 50, "{total} polls");
    for at in some(total.into()).map(|at| u32::try_from(at).unwrap()) {
        let moving = Move { cancel_at: Some(at), ..pair.a_move() };
        let owner = moving.owner.clone();
        let ended = moving.run().await;
        if at + A_FEW_POLLS < ended.polls {
            panic!("cancelled at poll {at}, it went on until {}: {:?}", ended.polls, ended.sent);
        }
        if let Err(error) = &ended.sent {
            assert!(matches!(error, SendError::Cancelled), "poll {at}: {error}");
            assert!(!owner.state().is_pinned, "poll {at}");
            assert!(
                matches!(&ended.arrived, Err(failed) if matches!(failed.error, ArrivalError::Truncated))
            );
        }
        pair.is_as_before(&ended, &format!("cancelled at poll {at}")).await;
    }
    assert_eq!(pair.to.machine.memory(), memory);
    pair.moves().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_dropped_anywhere_leaves_no_log_and_no_mapping() {
    let pair = Pair::new().await;
    let whole = pair.a_move().run().await;
    let total = whole.polls;
    pair.is_as_before(&whole, "the measure").await;
    for at in some(total.into()).step_by(3).map(|at| u32::try_from(at).unwrap()) {
        let ended = Move { drop_at: Some(at), ..pair.a_move() }.run().await;
        // The brake is not the dropped one's to take off.
        let off = xen_bindings::Credit2 { weight: 256, cap_percent: 0 };
        pair.from.xen.vcpu.set_credit2(pair.domid, off).unwrap();
        pair.is_as_before(&ended, &format!("dropped at poll {at}")).await;
    }
    pair.from.assert_goes(pair.domid).await;
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_cut_anywhere_leaves_everything_as_it_was() {
    let pair = Pair::new().await;
    let whole = pair.a_move().run().await;
    let bytes = whole.stream.len() as u64;
    pair.is_as_before(&whole, "the measure").await;
    let cuts =
        [0, 1, 7, 8, 9, 40, 200, 1000].into_iter().chain((1..9).map(|part| bytes * part / 10));
    for breaks_at in cuts {
        let kind = Kind { breaks_at: Some(breaks_at), ..pair.a_move().kind };
        let ended = Move { kind, ..pair.a_move() }.run().await;
        assert!(matches!(ended.sent, Err(SendError::Link(_))), "{breaks_at}: {:?}", ended.sent);
        let error = ended.arrived.as_ref().map(|_| ()).unwrap_err();
        assert!(matches!(error.error, ArrivalError::Truncated), "{breaks_at}: {}", error.error);
        pair.is_as_before(&ended, &format!("cut at byte {breaks_at}")).await;
    }
    pair.moves().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_says_nothing_is_given_up() {
    let pair = Pair::new().await;
    for lanes in [0, 3] {
        let kind = Kind { is_deaf: true, lanes, ..Kind::default() };
        let ended = Move { kind, ..pair.a_move() }.run().await;
        assert!(matches!(ended.sent, Err(SendError::Stalled { .. })), "{:?}", ended.sent);
        pair.is_as_before(&ended, "nobody answered").await;
    }
}

/// Cancelled, dropped or cut: the hosts are as before, and no task of a lane is left.
#[tokio::test(start_paused = true)]
async fn a_move_over_lanes_that_ends_anywhere_leaves_nothing_running() {
    let pair = Pair::new().await;
    let lanes = 3;
    let over_lanes = || {
        let a_move = pair.a_move();
        Move { kind: Kind { lanes, ..a_move.kind }, ..a_move }
    };
    let idle = alive();
    let whole = over_lanes().run().await;
    let (total, bytes) = (whole.polls, whole.stream.len() as u64);
    assert!(whole.sent.is_ok() && whole.arrived.is_ok());
    pair.is_as_before(&whole, "the measure").await;
    assert_eq!(alive(), idle, "after a move that was whole");
    let polls = || some(total.into()).map(|at| u32::try_from(at).unwrap());
    let cancels = polls().map(|at| Move { cancel_at: Some(at), ..over_lanes() });
    let drops = polls().step_by(2).map(|at| Move { drop_at: Some(at), ..over_lanes() });
    let cuts = [0, 9, 1000].into_iter().chain((1..6).map(|part| bytes * part / 6));
    let cuts = cuts.map(|at| {
        let a_move = over_lanes();
        Move { kind: Kind { breaks_at: Some(at), ..a_move.kind }, ..a_move }
    });
    for moving in cancels.chain(drops).chain(cuts) {
        let (cancel_at, drop_at) = (moving.cancel_at, moving.drop_at);
        let what =
            format!("cancel {cancel_at:?}, drop {drop_at:?}, cut {:?}", moving.kind.breaks_at);
        let ended = moving.run().await;
        if ended.sent.is_err() {
            assert!(ended.arrived.is_err(), "{what}");
        }
        // The brake is not the dropped one's to take off.
        let off = xen_bindings::Credit2 { weight: 256, cap_percent: 0 };
        pair.from.xen.vcpu.set_credit2(pair.domid, off).unwrap();
        pair.is_as_before(&ended, &what).await;
        assert_eq!(alive(), idle, "{what}");
    }
    pair.moves().await;
}

#[tokio::test(start_paused = true)]
async fn whichever_call_of_the_source_fails_the_guest_runs_on_and_moves_later() {
    let pair = Pair::new().await;
    for step in some(400) {
        pair.from.machine.faults().fail_step(step);
        let ended = pair.a_move().run().await;
        pair.from.machine.faults().clear();
        // What could not be switched off because that call failed is taken over by the next move.
        drop(pair.from.xen.guest_memory.log_dirty(pair.domid, Leftover::Replace).unwrap());
        let off = xen_bindings::Credit2 { weight: 256, cap_percent: 0 };
        pair.from.xen.vcpu.set_credit2(pair.domid, off).unwrap();
        if let (Ok(_), Ok((_, shell, _))) = (&ended.sent, &ended.arrived) {
            assert_eq!(differences((&pair.from, pair.domid), (&pair.to, shell.domid())), []);
        }
        pair.is_as_before(&ended, &format!("call {step} failed")).await;
    }
    pair.moves().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_somebody_else_switched_off_is_noticed() {
    let pair = Pair::new().await;
    let moving = pair.a_move();
    let (memory, domid) = (pair.from.xen.guest_memory.clone(), pair.domid);
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        drop(memory.log_dirty(domid, Leftover::Replace).unwrap());
    });
    let ended = moving.run().await;
    let reason = ended.sent.as_ref().unwrap_err().to_string();
    assert!(reason.contains("switched it off"), "{reason}");
    pair.is_as_before(&ended, "another's log").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_destination_refuses_is_told_and_the_shell_comes_back() {
    let pair = Pair::new().await;
    let check = |ended: &Ended, expect: &str| {
        let failed = ended.arrived.as_ref().map(|_| ()).unwrap_err();
        assert!(failed.error.to_string().contains(expect), "{}", failed.error);
    };
    // The host is full, late.
    pair.to.machine.faults().fail_next(Op::GuestRestore, XenErrorKind::OutOfMemory);
    let ended = pair.a_move().run().await;
    check(&ended, "cannot be restored");
    pair.is_as_before(&ended, "a restore that failed").await;
    // Frames that were given back cannot be released.
    pair.to.machine.faults().fail_always(Op::MemoryRelease, XenErrorKind::Invalid);
    let mut moving = pair.a_move();
    moving.owner.restless = Some((Moves::Late, 34 * MIB));
    let ended = moving.run().await;
    check(&ended, "cannot be released");
    pair.to.machine.faults().clear();
    pair.is_as_before(&ended, "a release that failed").await;
}

/// As an agent on Xen runs: steps are on other threads, and who waits for one may be dropped while it goes on.
#[tokio::test(start_paused = true)]
async fn steps_on_a_pool_do_the_same_whenever_they_are_cancelled_or_dropped() {
    let pair = Pair::new().await;
    let pooled = || Move { blocking: Blocking::Pool, ..pair.a_move() };
    let ended = pooled().run().await;
    let total = ended.polls;
    let (_, _, shell, _) = ended.whole();
    assert_eq!(differences((&pair.from, pair.domid), (&pair.to, shell.domid())), []);
    pair.from.resume(pair.domid).await;
    pair.to.assert_goes(shell.domid()).await;
    for at in some(total.into()).step_by(2).map(|at| u32::try_from(at).unwrap()) {
        for cancelled in [true, false] {
            let (cancel_at, drop_at) = if cancelled { (Some(at), None) } else { (None, Some(at)) };
            let ended = Move { cancel_at, drop_at, ..pooled() }.run().await;
            let off = xen_bindings::Credit2 { weight: 256, cap_percent: 0 };
            pair.from.xen.vcpu.set_credit2(pair.domid, off).unwrap();
            pair.is_as_before(&ended, &format!("ended at poll {at}, cancelled: {cancelled}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_arrival_whose_step_was_dropped_can_be_given_up() {
    let pair = Pair::new().await;
    let stream = pair.a_move().run().await.stream;
    for blocking in [Blocking::Inline, Blocking::Pool] {
        for bytes in [10, 70_000, stream.len()] {
            let shell = pair.to.shell(GuestKind::Pvh, MEMORY_KIB);
            let (domid, spec) = (shell.domid(), pair.to.ports(&shell));
            let begun = Arrival::begin(&pair.to.backend, blocking, shell, spec, Host::bounds());
            let mut arrival = begun.map_err(|failed| failed.error).unwrap();
            let dropped = tokio::select! {
                biased;
                _ = arrival.take(stream[..bytes].to_vec()) => false,
                () = std::future::ready(()) => true,
            };
            assert!(dropped, "a step gives others their turn");
            assert!(matches!(
                arrival.take(stream[bytes..].to_vec()).await,
                Err(ArrivalError::Over)
            ));
            assert_eq!(arrival.abandon().await.domid(), domid);
            pair.to.assert_goes(domid).await;
        }
    }
}

/// How many parts of this program hold the host's restorer.
fn restorers(host: &Host) -> usize {
    Arc::strong_count(&host.backend.xen.image)
}

#[tokio::test(start_paused = true)]
async fn an_arrival_ends_with_its_thread_whenever_it_is_given_up() {
    let pair = Pair::new().await;
    let stream = pair.a_move().run().await.stream;
    for bytes in [0, 5, 300, stream.len() / 2, stream.len() - 1, stream.len()] {
        let shell = pair.to.shell(GuestKind::Pvh, MEMORY_KIB);
        let (domid, spec, idle) = (shell.domid(), pair.to.ports(&shell), restorers(&pair.to));
        let begun = Arrival::begin(&pair.to.backend, Blocking::Inline, shell, spec, Host::bounds());
        let mut arrival = begun.map_err(|failed| failed.error).unwrap();
        for piece in stream[..bytes].chunks(70_000) {
            arrival.take(piece.to_vec()).await.unwrap();
        }
        assert_eq!(arrival.abandon().await.domid(), domid);
        assert_eq!(restorers(&pair.to), idle, "after {bytes} bytes");
        pair.to.assert_goes(domid).await;
    }
}
