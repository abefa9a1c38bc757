//! To share an amount out in proportion, when nobody can take more than its own most.
//!
//! Everybody gets `level × weight`, or its most when that is less; the level is the one that makes it add up. Who has reached its
//! most leaves the rest to the others. A larger amount never gives anybody less: the level only rises.

use crate::units::Kib;

/// One who shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its proportion; 0 shares nothing.
    pub weight: u128,
    /// The most that it takes.
    pub most: Kib,
}

/// Which way a share that is no whole KiB goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// All shares together are at least the amount, as far as there is enough.
    Up,
    /// All shares together are at most the amount.
    Down,
}

/// The share of each, in order.
#[must_use]
pub fn share(amount: Kib, parts: &[Part], round: Round) -> Vec<Kib> {
    let (numerator, denominator) = level(amount, parts);
    let of = |part: &Part| {
        let exact = numerator.saturating_mul(part.weight);
        let whole = match (denominator, round) {
            (0, _) => return if part.weight > 0 { part.most } else { Kib::ZERO },
            (_, Round::Up) => exact.div_ceil(denominator),
            (_, Round::Down) => exact / denominator,
        };
        part.most.min(Kib(u64::try_from(whole).unwrap_or(u64::MAX)))
    };
    parts.iter().map(of).collect()
}

/// The level as a fraction; over 0 when nobody is left who could take more.
fn level(amount: Kib, parts: &[Part]) -> (u128, u128) {
    let mut open: Vec<&Part> = parts.iter().filter(|part| part.weight > 0).collect();
    let mut left = u128::from(amount.0);
    loop {
        let weights: u128 = open.iter().map(|part| part.weight).sum();
        // Those whose share would be more than their most take that; the level of the rest rises.
        let (full, rest): (Vec<&Part>, Vec<&Part>) = open.iter().partition(|part| {
            u128::from(part.most.0).saturating_mul(weights) <= left.saturating_mul(part.weight)
        });
        if rest.is_empty() {
            return (1, 0);
        }
        if full.is_empty() {
            return (left, weights);
        }
        let taken: u128 = full.iter().map(|part| u128::from(part.most.0)).sum();
        left = left.saturating_sub(taken);
        open = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(amount: u64, parts: &[(u128, u64)], expect: &[u64]) {
        let parts: Vec<Part> =
            parts.iter().map(|&(weight, most)| Part { weight, most: Kib(most) }).collect();
        let shares: Vec<u64> =
            share(Kib(amount), &parts, Round::Up).into_iter().map(|share| share.0).collect();
        assert_eq!(shares, expect, "{amount} among {parts:?}");
    }

    #[test]
    fn shares_are_proportional_until_somebody_has_enough() {
        check(30, &[(1, 100), (2, 100)], &[10, 20]);
        check(30, &[(1, 100), (2, 5)], &[25, 5]);
        check(300, &[(1, 100), (2, 100)], &[100, 100]);
        check(10, &[(1, 100), (1, 100), (1, 100)], &[4, 4, 4]);
        check(10, &[(0, 100), (1, 100)], &[0, 10]);
        check(10, &[], &[]);
        check(0, &[(1, 100)], &[0]);
    }

    proptest! {
        #[test]
        fn it_adds_up_and_more_to_share_gives_nobody_less(
            parts in proptest::collection::vec((0_u128..1 << 40, 0_u64..1 << 30), 0..9),
            amount in 0_u64..1 << 32,
            more in 0_u64..1 << 30,
        ) {
            let parts: Vec<Part> =
                parts.into_iter().map(|(weight, most)| Part { weight, most: Kib(most) }).collect();
            let able: Kib = parts.iter().filter(|p| p.weight > 0).map(|p| p.most).sum();
            let sum = |shares: &[Kib]| shares.iter().copied().sum::<Kib>();
            let (up, down) =
                (share(Kib(amount), &parts, Round::Up), share(Kib(amount), &parts, Round::Down));
            prop_assert!(sum(&up) >= able.min(Kib(amount)));
            prop_assert!(sum(&up).0 <= amount + u64::try_from(parts.len()).expect("few"));
            prop_assert!(sum(&down) <= Kib(amount).max(Kib(0)));
            let greater = share(Kib(amount + more), &parts, Round::Up);
            for ((part, less), more) in parts.iter().zip(&up).zip(&greater) {
                prop_assert!(less <= more && *more <= part.most);
            }
        }
    }
}
