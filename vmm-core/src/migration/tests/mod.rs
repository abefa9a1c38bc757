//! What must hold of every policy, whatever happens: under random writers, losses, late reports and refusals.

mod chaos;

use std::time::Duration;

use proptest::prelude::*;

use super::reference::qemu::{Features, Qemu};
use super::reference::xen::Xen;
use super::*;
use chaos::{Chaos, End, Script};

/// A thousand, or as many as the environment asks for.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(1000), ..config }
}

prop_compose! {
    fn script()(
        seed in any::<u64>(),
        pages in 1_u32..1200,
        writes_per_ms in prop_oneof![0_u32..3, 0_u32..60],
        hot_percent in 1_u32..=100,
        free_percent in 0_u32..90,
        losses in 0_u32..12,
        refusals in 0_u32..5,
        slowness in 1_u64..60,
    ) -> Script {
        Script { seed, pages, writes_per_ms, hot_percent, free_percent, losses, refusals, slowness }
    }
}

prop_compose! {
    fn options()(flags in any::<[bool; 8]>()) -> Options {
        let [compaction, layering, brake, zero, same, delta, packs, sums] = flags;
        let packs = if packs { vec![Pack::Lz4, Pack::Zstd] } else { Vec::new() };
        Options { compaction, layering, brake, tricks: Tricks { zero, same, delta }, sums, packs }
    }
}

prop_compose! {
    fn limits()(target in 1_u64..400, more in 0_u64..2000, deadline in 1_u64..20, budget in 0_u64..4000, weight in 0.0..4.0) -> Limits {
        Limits {
            downtime_target: Duration::from_millis(target),
            downtime_max: Duration::from_millis(target + more),
            deadline: Duration::from_secs(deadline),
            brake_budget: Duration::from_millis(budget),
            downtime_weight: weight,
        }
    }
}

fn guest(script: &Script, gives_hints: bool) -> Guest {
    let held = Kib(u64::from(script.pages) * 4);
    Guest {
        pages: script.pages,
        held,
        used: Some(Kib(held.0 / 2)),
        floor: Kib::ZERO,
        gives_hints,
        link_bytes_per_s: 20_000_000,
        threads: 2,
        fixed: Duration::from_millis(1),
    }
}

/// What one action of the chaos takes at most, and its waits.
fn longest_step(script: &Script) -> f64 {
    script.slowness as f64 * 1e-4 + 0.006
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ours_loses_no_page_keeps_its_budget_and_ends(
        script in script(), options in options(), limits in limits(), hints in any::<bool>(),
    ) {
        let mut policy = Layered::new(guest(&script, hints), limits, options);
        let story = Chaos::new(script.clone()).run(&mut policy);
        if story.end == End::Committed {
            prop_assert_eq!(&story.lost_pages, &[]);
        }
        prop_assert_eq!(story.needless, 0, "a page went out without a new reason");
        prop_assert_eq!(story.in_vain, 0, "a page went out that was in the log");
        prop_assert_eq!(story.brake, Brake::OFF, "the brake is off in the end");
        prop_assert!(!story.stops_braked, "it takes long to stop");
        let budget = limits.brake_budget.as_secs_f64() + 2.0 * longest_step(&script);
        prop_assert!(story.braked_s <= budget, "{} of {}", story.braked_s, budget);
        prop_assert!(policy.state_bytes() <= 4 * script.pages as usize + 64);
        if script.losses == 0 {
            // Until the deadline it may go on; what is left then is at most all of it, a batch an action.
            let rest = f64::from(script.pages) * longest_step(&script) * 4.0 + 1.0;
            prop_assert!(story.took.as_secs_f64() <= limits.deadline.as_secs_f64() + rest, "{:?}", story.took);
        }
    }

    #[test]
    fn what_others_do_loses_no_page_here_either(script in script(), which in 0_usize..4, features in any::<[bool; 4]>()) {
        let [hints, zstd, xbzrle, auto_converge] = features;
        let features = Features { hints, zstd, xbzrle, auto_converge };
        let limit = Duration::from_millis(300);
        let mut policy: Box<dyn Policy> = match which {
            0 => Box::new(Xen::today(script.pages)),
            1 => Box::new(Xen::legacy(script.pages)),
            _ => Box::new(Qemu::new(script.pages, 20_000_000, limit, features).until(Duration::from_secs(5))),
        };
        let story = Chaos::new(script).run(policy.as_mut());
        if story.end == End::Committed {
            prop_assert_eq!(&story.lost_pages, &[]);
        }
        prop_assert_eq!(story.brake, Brake::OFF);
    }
}

fn quiet(pages: u32) -> Script {
    Script {
        seed: 1,
        pages,
        writes_per_ms: 0,
        hot_percent: 10,
        free_percent: 0,
        losses: 0,
        refusals: 0,
        slowness: 2,
    }
}

fn end_of(script: Script, limits: Limits) -> End {
    let mut policy = Layered::new(guest(&script, true), limits, Options::default());
    Chaos::new(script).run(&mut policy).end
}

#[test]
fn each_way_to_fail_has_its_reason() {
    let limits = Limits { deadline: Duration::from_secs(5), ..Limits::default() };
    let hot = Script { writes_per_ms: 3000, hot_percent: 100, slowness: 20, ..quiet(1500) };
    let strict = Limits {
        downtime_target: Duration::from_millis(2),
        downtime_max: Duration::from_millis(2),
        brake_budget: Duration::ZERO,
        ..limits
    };
    assert_eq!(end_of(quiet(500), limits), End::Committed);
    let refused = Script { refusals: 9, ..quiet(500) };
    assert_eq!(end_of(refused, limits), End::Aborted(Reason::WouldNotSuspend { asked: 3 }));
    let found = end_of(hot.clone(), strict);
    assert!(
        matches!(found, End::Aborted(Reason::DoesNotConverge { allowed_ms: 2, .. })),
        "{found:?}"
    );
    let at_once = Limits { deadline: Duration::ZERO, ..strict };
    let found = end_of(hot, at_once);
    assert!(matches!(found, End::Aborted(Reason::Deadline { seconds: 0, .. })), "{found:?}");
}

#[test]
fn a_brake_ends_where_standing_still_costs_less() {
    let script = Script { writes_per_ms: 300, hot_percent: 50, slowness: 20, ..quiet(1500) };
    let braked_s = |more| {
        let target = Duration::from_millis(5);
        let limits = Limits {
            downtime_target: target,
            downtime_max: target + Duration::from_millis(more),
            brake_budget: Duration::from_secs(60),
            ..Limits::default()
        };
        let mut policy = Layered::new(guest(&script, true), limits, Options::default());
        let story = Chaos::new(script.clone()).run(&mut policy);
        assert_eq!((story.end, story.lost_pages), (End::Committed, Vec::new()));
        story.braked_s
    };
    let (strict, lenient) = (braked_s(0), braked_s(500));
    assert!(lenient > 0.0 && lenient < 0.9 * strict, "{lenient} of {strict}");
}

#[test]
fn a_guest_that_sleeps_is_sent_once() {
    let script = quiet(1000);
    let mut policy = Layered::new(guest(&script, false), Limits::default(), Options::plain());
    let story = Chaos::new(script).run(&mut policy);
    assert_eq!((story.end, story.needless), (End::Committed, 0));
    assert!(story.bytes <= 1000 * 4096);
    assert_eq!(policy.progress(story.took).sent_pages, 1000);
}

#[test]
fn the_probe_leaves_a_curve() {
    let script = Script { writes_per_ms: 20, slowness: 200, ..quiet(1200) };
    let mut policy = Layered::new(guest(&script, false), Limits::default(), Options::default());
    Chaos::new(script).run(&mut policy);
    assert!(policy.curve().pages(0.05) > 0.0);
}
