//! A pool through some short random days, and the proof that a seed decides everything.

use vmm_e2e::pool::{Day, Size};

/// Seeds of every test run; `cargo xtask sim --seeds N` runs more.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;

#[test]
fn invariants_hold_over_twenty_random_days() {
    for seed in SEEDS {
        if let Err(error) = Day::run(seed, Size::SMALL) {
            panic!("{error:#}\nagain with: cargo xtask sim --seeds 1 --first {seed}");
        }
    }
}

/// Between a small day and one of `cargo xtask sim --large`.
const MEDIUM: Size = Size { hosts: 12, vms: 150, steps: 30 };

#[test]
fn invariants_hold_over_a_day_of_many_changes_and_faults_at_once() {
    if let Err(error) = Day::run(1, MEDIUM) {
        panic!("{error:#}");
    }
}

#[test]
fn a_seed_replays_the_same_day() {
    let (first, second) =
        (Day::run(7, Size::SMALL).expect("runs"), Day::run(7, Size::SMALL).expect("runs"));
    assert_eq!(first.lines, second.lines);
}
