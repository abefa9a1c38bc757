//! What a VM will take: from what was promised, what was measured, and what VMs of its class do.
//!
//! ```text
//!   contended resource:  promised? ── greater of ──► measured at this hour and the next, 95th percentile ──► else its class's ──► else a small step
//!                            └──────────────────────────── never more than its limit ─────────────────────────────────────────────┘
//! ```
//!
//! A VM of which nothing is known is charged a small step of each contended resource: what a small step costs is the derivative of the price, so it goes where
//! the price is flat, and is charged properly when it has been measured (the differential form of E-PVM, which keeps three quarters of the gain).

use super::resource::{Amounts, Resource};

/// How fast the mean forgets: the weight of one sample.
const MEAN_STEP: f64 = 0.1;
/// The rank of the quantile.
const RANK: f64 = 0.95;
/// How far one sample moves a quantile that has seen many, in mean deviations.
const QUANTILE_STEP: f64 = 0.02;
/// Samples of an hour before its quantile is believed.
const TRUSTED: u16 = 10;
const HOURS: usize = 24;
/// A small step: a tenth of a CPU, a megabyte and a hundred requests a second.
const STEP: [(Resource, u64); 4] = [
    (Resource::Cpu, 100),
    (Resource::DiskBandwidth, 1_000_000),
    (Resource::DiskRequests, 100),
    (Resource::Network, 1_000_000),
];

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It was promised to the VM.
    Promised,
    /// It was measured.
    Measured,
    /// VMs of its class take that much.
    Class,
    /// Nothing is known: a small step.
    Unknown,
}

/// One contended resource of one VM, as measured: the mean of late, and a 95th percentile for each hour of the day.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    mean: f64,
    deviation: f64,
    samples: u64,
    hours: [Quantile; HOURS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Quantile {
    estimate: f32,
    samples: u16,
}

impl Default for History {
    fn default() -> Self {
        Self { mean: 0.0, deviation: 0.0, samples: 0, hours: [Quantile::default(); HOURS] }
    }
}

impl History {
    /// Takes a sample, at a time in seconds since any midnight.
    pub fn sampled(&mut self, at_s: u64, amount: u64) {
        let amount = amount as f64;
        if self.samples == 0 {
            self.mean = amount;
        }
        self.samples += 1;
        // The first samples count fully, so that the mean does not begin with one of them for long.
        let step = MEAN_STEP.max(1.0 / self.samples as f64);
        self.deviation += step * ((amount - self.mean).abs() - self.deviation);
        self.mean += step * (amount - self.mean);
        let spread = self.deviation.max(self.mean * 0.01).max(1.0);
        self.hours[hour(at_s)].sampled(amount, spread);
    }

    /// The mean of late.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// What it will take in the hour from `at_s`, seldom more; `None` before anything was measured.
    #[must_use]
    pub fn forecast(&self, at_s: u64) -> Option<u64> {
        if self.samples == 0 {
            return None;
        }
        let now = hour(at_s);
        let trusted = [now, (now + 1) % HOURS]
            .into_iter()
            .map(|hour| self.hours[hour])
            .filter(|quantile| quantile.samples >= TRUSTED)
            .map(|quantile| f64::from(quantile.estimate));
        Some(whole(trusted.fold(self.mean, f64::max)))
    }
}

impl Quantile {
    /// A step up where the sample is above, a small one down where it is below: where both balance is the quantile.
    fn sampled(&mut self, amount: f64, spread: f64) {
        let before = f64::from(self.estimate);
        let step = (QUANTILE_STEP + 1.0 / f64::from(self.samples.max(1))) * spread;
        let after = match self.samples {
            0 => amount,
            _ if amount > before => before + step * RANK / (1.0 - RANK),
            _ => before - step,
        };
        // A step never goes beyond the sample that caused it.
        let after = if amount > before { after.min(amount) } else { after.max(amount) };
        self.samples = self.samples.saturating_add(1);
        self.estimate = narrow(if self.samples == 1 { amount } else { after });
    }
}

/// What is known of a VM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// What was promised; 0 is nothing. The hard part is what it takes.
    pub promised: Amounts,
    /// The most that it may take of what is contended; 0 is no limit.
    pub limit: Amounts,
    /// Of each contended resource, in the order of [`Resource::CONTENDED`].
    pub measured: [Option<History>; 4],
    /// What VMs of its class take.
    pub class: Option<Amounts>,
}

/// What a VM is charged, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The charge.
    pub amounts: Amounts,
    /// Of each contended resource, in the order of [`Resource::CONTENDED`].
    pub basis: [Basis; 4],
}

/// What a VM will take from `at_s` on.
#[must_use]
pub fn demand(known: &Known, at_s: u64) -> Demand {
    let mut demand = Demand { amounts: known.promised, basis: [Basis::Promised; 4] };
    for (index, (resource, step)) in STEP.into_iter().enumerate() {
        let measured = known.measured[index].as_ref().and_then(|history| history.forecast(at_s));
        let class = known.class.map(|class| class[resource]);
        let promised = known.promised[resource];
        let (expected, basis) = match (measured, class) {
            (Some(measured), _) => (measured, Basis::Measured),
            (None, Some(class)) => (class, Basis::Class),
            (None, None) => (step, Basis::Unknown),
        };
        // A promise is a forecast too, where nothing better is known.
        let keeps_promise = promised >= expected || (promised > 0 && basis == Basis::Unknown);
        let (amount, basis) =
            if keeps_promise { (promised, Basis::Promised) } else { (expected, basis) };
        let limit = known.limit[resource];
        demand.amounts[resource] = if limit > 0 { amount.min(limit) } else { amount };
        demand.basis[index] = basis;
    }
    demand
}

fn hour(at_s: u64) -> usize {
    usize::try_from(at_s / 3600 % 24).unwrap_or(0)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and at least 0; a cast saturates"
)]
fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}

#[allow(clippy::cast_possible_truncation, reason = "seven digits of an estimate are enough")]
fn narrow(amount: f64) -> f32 {
    amount as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(samples: &[(u64, u64)]) -> History {
        let mut history = History::default();
        samples.iter().for_each(|(at_s, amount)| history.sampled(*at_s, *amount));
        history
    }

    fn known(promised: u64, limit: u64, class: Option<u64>, samples: &[(u64, u64)]) -> Known {
        let cpu = |amount| Amounts::NOTHING.with(Resource::Cpu, amount);
        let measured = (!samples.is_empty()).then(|| history(samples));
        Known {
            promised: cpu(promised),
            limit: cpu(limit),
            measured: [measured, None, None, None],
            class: class.map(cpu),
        }
    }

    #[test]
    fn the_best_that_is_known_counts_and_a_promise_is_kept() {
        let check = |known: Known, amount, basis| {
            let demand = demand(&known, 0);
            assert_eq!((demand.amounts[Resource::Cpu], demand.basis[0]), (amount, basis));
        };
        check(known(0, 0, None, &[]), 100, Basis::Unknown);
        check(known(50, 0, None, &[]), 50, Basis::Promised);
        check(known(0, 0, Some(700), &[]), 700, Basis::Class);
        check(known(0, 0, Some(700), &[(0, 300)]), 300, Basis::Measured);
        check(known(500, 0, Some(700), &[(0, 300)]), 500, Basis::Promised);
        check(known(0, 200, None, &[(0, 300)]), 200, Basis::Measured);
    }

    #[test]
    fn an_hour_that_was_busy_yesterday_is_expected_to_be_busy() {
        let day = |hour: u64| if hour == 9 { 3000 } else { 200 };
        let samples: Vec<(u64, u64)> =
            (0..2 * 24 * 60).map(|minute| (minute * 60, day(minute / 60 % 24))).collect();
        let history = history(&samples);
        let at = |hour: u64| history.forecast((48 + hour) * 3600).expect("measured");
        assert!(at(8) > 2500 && at(9) > 2500, "{} {}", at(8), at(9));
        assert!(at(12) < 500, "{}", at(12));
    }

    proptest! {
        #[test]
        fn one_sample_in_twenty_or_so_is_above_the_forecast(seed in any::<u64>(), scale in 200u64..100_000) {
            let mut state = seed | 1;
            let mut draw = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Skewed, as loads are.
                let share = (state % 1000) as f64 / 1000.0;
                whole(scale as f64 * (0.2 + share * share * share))
            };
            let mut history = History::default();
            (0..500).for_each(|_| history.sampled(0, draw()));
            // Each sample against the forecast before it: one forecast alone may stand at the largest sample, which it has just seen.
            let above = (0..4000)
                .filter(|_| {
                    let (forecast, sample) = (history.forecast(0).expect("measured"), draw());
                    history.sampled(0, sample);
                    sample > forecast
                })
                .count();
            prop_assert!((80..480).contains(&above), "{} of 4000 above", above);
        }
    }
}
