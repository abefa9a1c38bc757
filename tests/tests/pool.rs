//! A pool through some short random days, and the proof that a seed decides everything.

use vmm_e2e::pool::Day;

/// Seeds of every test run; `cargo xtask sim --seeds N` runs more.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;

#[test]
fn invariants_hold_over_twenty_random_days() {
    for seed in SEEDS {
        if let Err(error) = Day::run(seed) {
            panic!("{error:#}\nagain with: cargo xtask sim --seeds 1 --first {seed}");
        }
    }
}

#[test]
fn a_seed_replays_the_same_day() {
    let (first, second) = (Day::run(7).expect("runs"), Day::run(7).expect("runs"));
    assert_eq!(first.lines, second.lines);
}
