//! One thread that computes without end, to load a CPU.

use std::hint::black_box;

use crate::tally::Tally;

const ROUND: u64 = 1 << 20;

pub(crate) fn forever(tally: &Tally) {
    let mut word = 1_u64;
    loop {
        for _ in 0..ROUND {
            word = black_box(word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        Tally::add(&tally.burned_rounds, 1);
    }
}
