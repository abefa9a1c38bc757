//! Guests that arrive.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::sleep;
use vmm_core::migration::layered::Phase;
use vmm_core::migration::{Brake, Encoding, Limits, Options, Reason};
use vmm_core::units::Kib;
use xen_bindings::Gfn;
use xen_bindings::sim::MemoryWriter;

use super::host::{Host, MEMORY_KIB, MIB, Moves, Owner};
use super::wire::Kind;
use super::{Ended, Move, differences, paused};
use crate::migrate::SendError;

fn count(encodings: [u64; 7], of: Encoding) -> u64 {
    encodings[of as usize]
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_writes_arrives_byte_by_byte_and_goes_on_there() {
    let (from, to) = (Host::new(), Host::new());
    let writers =
        [MemoryWriter::idle(), MemoryWriter::hot_set(200, 5000), MemoryWriter::muncher(2000, 3000)];
    let domid = from.boot(&writers).await;
    let running = Move::new(&from, domid, &to);
    let owner = running.owner.clone();
    let ended = running.run().await;
    let (spec, stream) = (ended.spec, ended.stream.len() as u64);
    let progress = ended.progress.unwrap();
    let (sent, built, shell, arrived) = ended.whole();
    assert_eq!(differences((&from, domid), (&to, shell.domid())), []);
    assert_eq!((sent.sent_bytes, arrived.stream_bytes), (stream, stream));
    assert_eq!(sent.ram_bytes, from.info(domid).unwrap().pages.0 * 4096);
    assert_eq!(sent.encodings, arrived.encodings);
    assert_eq!(arrived.frames * 4096, sent.ram_bytes);
    assert!(sent.sent_bytes < sent.ram_bytes / 2, "{sent:?}");
    assert!(sent.stopped_at <= sent.elapsed && sent.rounds > 1, "{sent:?}");
    assert!(count(sent.encodings, Encoding::Zero) > 3000, "{sent:?}");
    assert!(count(sent.encodings, Encoding::Delta) > 100, "{sent:?}");
    assert_eq!((progress.phase, progress.harvests), (Phase::Over, sent.rounds));
    let state = owner.state();
    assert!(state.is_pinned && state.pins == 1, "who owns it lets it go: {state:?}");
    // It goes on.
    to.introduce(shell.domid(), built, &spec);
    to.xen.control.unpause(shell.domid()).unwrap();
    sleep(Duration::from_secs(1)).await;
    to.assert_runs_free(shell.domid(), "the guest that moved").await;
    assert_ne!(differences((&from, domid), (&to, shell.domid())), [], "it writes on");
    from.assert_goes(domid).await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_arrives_over_any_number_of_lanes() {
    // A batch of plain pages is several pieces, on several lanes: it may be heard of the first ones before the others.
    let (usual, plain) = (super::super::sender::options(), Options::plain());
    for (lanes, options) in
        [(1, &usual), (2, &usual), (3, &usual), (8, &usual), (1, &plain), (2, &plain), (4, &plain)]
    {
        let (from, to) = (Host::new(), Host::new());
        let domid = from.boot(&[MemoryWriter::hot_set(200, 5000)]).await;
        let kind = Kind { lanes, ..Kind::default() };
        let moving = Move { kind, options: options.clone(), ..Move::new(&from, domid, &to) };
        let ended = moving.run().await;
        let stream = ended.stream.len() as u64;
        let (sent, _, shell, arrived) = ended.whole();
        assert_eq!(differences((&from, domid), (&to, shell.domid())), [], "{lanes} lanes");
        // What lanes add of their own is not counted, and not seen.
        assert_eq!((sent.sent_bytes, arrived.stream_bytes), (stream, stream));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_machine_is_needed_to_move_plain_pages() {
    let (from, to) = (Host::new(), Host::new());
    let domid = from.boot(&[MemoryWriter::hot_set(500, 2000)]).await;
    let plain = Move { options: Options::plain(), ..Move::new(&from, domid, &to) };
    let (sent, _, shell, _) = plain.run().await.whole();
    assert_eq!(differences((&from, domid), (&to, shell.domid())), []);
    let pages: u64 = sent.encodings.iter().sum();
    assert_eq!(count(sent.encodings, Encoding::Raw), pages);
    assert!(sent.sent_bytes > sent.ram_bytes, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cap_on_the_bandwidth_makes_it_take_as_long_as_it_must() {
    let (from, to) = (Host::new(), Host::new());
    let domid = from.boot(&[MemoryWriter::idle()]).await;
    let bandwidth = Some(8_000_000);
    let capped = Move { bandwidth, options: Options::plain(), ..Move::new(&from, domid, &to) };
    let (sent, _, shell, _) = capped.run().await.whole();
    assert_eq!(differences((&from, domid), (&to, shell.domid())), []);
    let least = Duration::from_secs_f64(0.95 * sent.sent_bytes as f64 / 8e6);
    assert!(sent.elapsed >= least, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_squeezed_before_it_moves_over_a_slow_link() {
    let (from, to) = (Host::new(), Host::new());
    let domid = from.boot(&[MemoryWriter::idle()]).await;
    let kind = Kind { bytes_per_s: 20e6, ..Kind::default() };
    // Little is used: the policy goes down to that, a tenth more and some cache, which is more than all: so the floor is low.
    let squeezed = Move {
        kind,
        used: Some(Kib(MIB)),
        bandwidth: Some(20_000_000),
        ..Move::new(&from, domid, &to)
    };
    let (sent, _, shell, _) = squeezed.run().await.whole();
    assert_eq!(differences((&from, domid), (&to, shell.domid())), []);
    assert!(sent.ram_bytes <= (MEMORY_KIB + MIB) * 1024, "{sent:?}");
}

/// What a guest lost by the brake; timers go by milliseconds.
fn is_within(budget: Duration, owner: &Owner) {
    let (lost_s, budget_s) = (owner.state().lost_s, budget.as_secs_f64());
    assert!(lost_s <= budget_s + 0.003, "{lost_s} s of {budget_s} s");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_writes_faster_than_the_link_is_braked_within_its_budget_or_stays() {
    let (from, to) = (Host::new(), Host::new());
    let domid = from.boot(&[MemoryWriter::muncher(4000, 6000)]).await;
    let kind = Kind { bytes_per_s: 3e6, ..Kind::default() };
    let budget = Duration::from_secs(20);
    let limits = Limits { brake_budget: budget, ..Limits::default() };
    let braked = Move { kind, limits, ..Move::new(&from, domid, &to) };
    let owner = braked.owner.clone();
    let (sent, _, shell, _) = braked.run().await.whole();
    assert_eq!(differences((&from, domid), (&to, shell.domid())), []);
    assert!(owner.state().brake > Brake::OFF && sent.lost > Duration::ZERO, "{sent:?}");
    assert!(sent.lost <= budget, "{sent:?}");
    is_within(budget, &owner);
    assert_eq!(from.xen.vcpu.credit2(domid).unwrap().cap_percent, 0);
    // Without a brake it is told so, and stays.
    from.resume(domid).await;
    let limits = Limits { brake_budget: Duration::ZERO, ..Limits::default() };
    let stays = Move { kind, limits, ..Move::new(&from, domid, &to) };
    let owner = stays.owner.clone();
    let ended = stays.run().await;
    let refused = matches!(ended.sent, Err(SendError::Policy(Reason::DoesNotConverge { .. })));
    assert!(refused, "{:?}", ended.sent);
    assert!(!owner.state().is_pinned);
    from.assert_runs_free(domid, "a guest that writes too fast").await;
    to.assert_goes(ended.shell().domid()).await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_suspend_is_asked_again_and_then_stays() {
    let (from, to) = (Host::new(), Host::new());
    let domid = from.boot(&[MemoryWriter::hot_set(50, 500)]).await;
    for (refusals, arrives) in [(1, true), (9, false)] {
        let asked = Move::new(&from, domid, &to);
        *asked.owner.refusals.lock().unwrap() = refusals;
        let ended = asked.run().await;
        let shell = ended.shell().domid();
        if arrives {
            ended.whole();
            assert_eq!(differences((&from, domid), (&to, shell)), []);
        } else {
            let reason = ended.sent.unwrap_err().to_string();
            assert!(reason.contains("did not suspend"), "{reason}");
        }
        from.resume(domid).await;
        from.assert_runs_free(domid, "a guest that was asked").await;
        to.assert_goes(shell).await;
    }
}

/// A balloon that should have been held and was not.
#[tokio::test(start_paused = true)]
async fn what_a_balloon_takes_or_brings_meanwhile_arrives_all_the_same() {
    let (much, little) = (MEMORY_KIB, 34 * MIB);
    let moves = [
        (much, little, Moves::Early, false),
        (much, little, Moves::Late, true),
        (little, much, Moves::Early, false),
        (little, much, Moves::Late, false),
    ];
    // As one does of whom a look at all frames would take long, too.
    let looks = [Duration::ZERO, Duration::from_millis(30)];
    let cases = moves.iter().flat_map(|of| looks.map(|look_max| (*of, look_max)));
    for ((before, after, when, is_released), look_max) in cases {
        let (from, to) = (Host::new(), Host::new());
        let domid = from.boot(&[MemoryWriter::muncher(3000, 2000)]).await;
        from.set(domid, "memory/target", &before.to_string());
        sleep(Duration::from_secs(2)).await;
        let kind = Kind { bytes_per_s: 6e6, ..Kind::default() };
        let mut restless = Move { kind, look_max, ..Move::new(&from, domid, &to) };
        restless.owner.restless = Some((when, after));
        let (sent, _, shell, arrived) = restless.run().await.whole();
        let what = format!("{before} to {after} KiB, {when:?}, {look_max:?}: {arrived:?}");
        assert_eq!(differences((&from, domid), (&to, shell.domid())), [], "{what}");
        let now = from.info(domid).unwrap().pages;
        assert_eq!(to.info(shell.domid()).unwrap().pages, now, "{what}");
        assert_eq!(sent.ram_bytes, now.0 * 4096, "{what}");
        assert_eq!(arrived.released > 0, is_released, "{what}");
    }
}

/// Xen counts what it counted, and what was looked at while the guest ran has the one and not the other.
#[tokio::test(start_paused = true)]
async fn a_frame_that_takes_anothers_place_in_the_last_moment_arrives() {
    for look_max in [Duration::ZERO, Duration::from_millis(30)] {
        let (from, to) = (Host::new(), Host::new());
        let domid = from.boot(&[MemoryWriter::hot_set(100, 2000)]).await;
        from.set(domid, "memory/target", &(34 * MIB).to_string());
        sleep(Duration::from_secs(2)).await;
        let held: Vec<Gfn> = from.machine.guest_memory(domid).unwrap().gfns().collect();
        let (gives, takes) = (held[held.len() / 2], Gfn(35 * MIB / 4));
        let mut moving = Move { look_max, ..Move::new(&from, domid, &to) };
        moving.owner.swaps = Some((from.machine.clone(), gives, takes));
        let (_, _, shell, _) = moving.run().await.whole();
        assert_eq!(differences((&from, domid), (&to, shell.domid())), [], "{look_max:?}");
        let here = to.machine.guest_memory(shell.domid()).unwrap();
        assert_eq!(here.page(takes), Some([7; 4096]));
    }
}

fn a_writer() -> impl Strategy<Value = MemoryWriter> {
    let stretch = (1_u64..3000, 1_u64..40_000);
    let hot = stretch.clone().prop_map(|(pages, rate)| MemoryWriter::hot_set(pages, rate));
    let muncher = stretch.prop_map(|(pages, rate)| MemoryWriter::muncher(pages, rate));
    let cache = (1_u64..8).prop_map(|mib| MemoryWriter::page_cache(4000, mib << 20));
    prop_oneof![Just(MemoryWriter::idle()), hot, muncher, cache]
}

/// Speeds from 16 Mbit/s to 8 Gbit/s, delays up to 30 ms, over one connection or lanes.
fn a_link() -> impl Strategy<Value = Kind> {
    (2e6..1e9, 0_u64..30_000, 0_u32..5).prop_map(|(bytes_per_s, micros, lanes)| {
        let round_trip = Duration::from_micros(micros);
        Kind { bytes_per_s, round_trip, lanes, ..Kind::default() }
    })
}

/// How much the guest holds before, in KiB.
fn a_size() -> impl Strategy<Value = u64> {
    (34 * MIB / 4..=MEMORY_KIB / 4).prop_map(|pages| pages * 4)
}

async fn moved_or_stays(writers: &[MemoryWriter], kind: Kind, held_kib: u64, limits: Limits) {
    let (from, to) = (Host::new(), Host::new());
    let domid = from.boot(writers).await;
    from.set(domid, "memory/target", &held_kib.to_string());
    sleep(Duration::from_millis(300)).await;
    let moving = Move { kind, limits, ..Move::new(&from, domid, &to) };
    let owner = moving.owner.clone();
    let Ended { sent, arrived, .. } = moving.run().await;
    match (sent, arrived) {
        (Ok(sent), Ok((_, shell, arrived))) => {
            assert_eq!(differences((&from, domid), (&to, shell.domid())), []);
            assert_eq!(sent.encodings, arrived.encodings);
        }
        (Err(SendError::Policy(_)), Err(failed)) => {
            assert!(!owner.state().is_pinned);
            from.resume(domid).await;
            from.assert_runs_free(domid, "a guest that was not moved").await;
            to.assert_goes(failed.shell.domid()).await;
        }
        (sent, arrived) => panic!("{sent:?}, {:?}", arrived.map(|(_, _, arrived)| arrived)),
    }
    is_within(limits.brake_budget, &owner);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_guest_writes_it_arrives_byte_by_byte_or_stays(
        writers in vec(a_writer(), 0..4), kind in a_link(), held_kib in a_size(), budget_ms in 0_u64..5000,
    ) {
        let limits = Limits { brake_budget: Duration::from_millis(budget_ms), ..Limits::default() };
        paused(moved_or_stays(&writers, kind, held_kib, limits));
    }
}
