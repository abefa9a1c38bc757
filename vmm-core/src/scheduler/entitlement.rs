//! What each VM gets of a contended resource when all want it: the shares of credit2.
//!
//! Xen's credit2 gives CPU time by weight, up to each domain's cap, and what one does not want goes to the others. Filling from below says what comes out of that
//! without running anything: the scheduler's forecast of how content a VM would be on a host.

/// One VM's claim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// What it would use if it were alone, in any unit.
    pub demand: f64,
    /// Its credit2 weight; 256 is usual.
    pub weight: f64,
    /// The most that it may have; infinite without a cap.
    pub cap: f64,
}

impl Claim {
    fn wanted(&self) -> f64 {
        self.demand.min(self.cap).max(0.0)
    }
}

/// What each gets of `capacity`, in the order of the claims.
#[must_use]
pub fn divide(capacity: f64, claims: &[Claim]) -> Vec<f64> {
    let mut given = vec![0.0; claims.len()];
    let mut left = capacity.max(0.0);
    let mut hungry: Vec<usize> = (0..claims.len()).filter(|i| claims[*i].wanted() > 0.0).collect();
    // Each round satisfies at least one, or is the last.
    while !hungry.is_empty() && left > 0.0 {
        let weights: f64 = hungry.iter().map(|i| claims[*i].weight.max(f64::MIN_POSITIVE)).sum();
        let share = |i: usize| left * claims[i].weight.max(f64::MIN_POSITIVE) / weights;
        let (content, still): (Vec<usize>, Vec<usize>) =
            hungry.iter().copied().partition(|i| claims[*i].wanted() <= share(*i));
        if content.is_empty() {
            still.iter().for_each(|i| given[*i] = share(*i));
            return given;
        }
        for i in content {
            given[i] = claims[i].wanted();
            left -= given[i];
        }
        hungry = still;
    }
    given
}

/// What each gets of what it wants within its cap, from 0 to 1: 1 when it waits for nobody.
#[must_use]
pub fn content(capacity: f64, claims: &[Claim]) -> Vec<f64> {
    let given = divide(capacity, claims);
    let share = |(given, claim): (f64, &Claim)| match claim.wanted() {
        0.0 => 1.0,
        wanted => (given / wanted).min(1.0),
    };
    given.into_iter().zip(claims).map(share).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(demand: f64, weight: f64, cap: f64) -> Claim {
        Claim { demand, weight, cap }
    }

    #[test]
    fn weight_decides_only_where_there_is_too_little() {
        const NONE: f64 = f64::INFINITY;
        let check = |capacity, claims: &[Claim], expect: &[f64]| {
            let given = divide(capacity, claims);
            let close = given.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(close && given.len() == expect.len(), "{given:?} {expect:?}");
        };
        check(4.0, &[claim(1.0, 256.0, NONE), claim(2.0, 1.0, NONE)], &[1.0, 2.0]);
        check(4.0, &[claim(4.0, 256.0, NONE), claim(4.0, 512.0, NONE)], &[4.0 / 3.0, 8.0 / 3.0]);
        check(4.0, &[claim(1.0, 256.0, NONE), claim(9.0, 256.0, NONE)], &[1.0, 3.0]);
        check(4.0, &[claim(4.0, 256.0, 0.5), claim(4.0, 256.0, NONE)], &[0.5, 3.5]);
        check(0.0, &[claim(1.0, 1.0, NONE)], &[0.0]);
        check(1.0, &[], &[]);
        assert_eq!(content(1.0, &[claim(0.0, 1.0, NONE), claim(4.0, 1.0, NONE)]), [1.0, 0.25]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_nothing_is_invented_and_nobody_envies(
            capacity in 0.0..64.0f64,
            claims in proptest::collection::vec(
                (0.0..16.0f64, 1.0..1024.0f64, prop_oneof![Just(f64::INFINITY), 0.1..8.0f64]), 0..12,
            ),
        ) {
            let claims: Vec<Claim> = claims.into_iter().map(|(d, w, c)| claim(d, w, c)).collect();
            let given = divide(capacity, &claims);
            let (sum, wanted): (f64, f64) =
                (given.iter().sum(), claims.iter().map(Claim::wanted).sum());
            prop_assert!((sum - capacity.min(wanted)).abs() < 1e-6);
            for (given, claim) in given.iter().zip(&claims) {
                prop_assert!(*given <= claim.wanted() + 1e-9);
            }
            // Who lacks something has by weight no less than anybody else.
            for (i, lacking) in claims.iter().enumerate() {
                if given[i] < lacking.wanted() - 1e-6 {
                    for (j, other) in claims.iter().enumerate() {
                        prop_assert!(given[i] / lacking.weight >= given[j] / other.weight - 1e-6);
                    }
                }
            }
        }
    }
}
