//! What one more VM costs on a host: the one formula, for explanations and for the index alike.
//!
//! Of each *contended* resource the host has a price that grows exponentially from idle to full, `B^(u-1)` with `u` the share in use. A VM that takes `d`
//! more costs `B^(u+d-1) - B^(u-1)`: its opportunity cost (Amir, Awerbuch, Barak, Borgstrom, Keren, IEEE TPDS 11(7), 2000). The scarcest resource dominates by
//! itself, without weights, and the sum over all hosts is a soft form of the greatest load.
//!
//! *Hard* resources fit or do not. Where VMs shall stand densely, what counts is what is left of a host: little (`packing`), and no large hole broken
//! for a small VM (`holes`). Where they shall be spread, hard resources have the same exponential price (`spread`). [`Preference`] mixes the two.
//!
//! The formula is written once, for `L` demands at a time on one host: `L` is 1 for an explanation and the width of the index's rows there. The operations and
//! their order are the same, so both give the same bits, and an explained decision is the decision.

use super::resource::{Amounts, Resource};

/// What a price grows by from idle to full. High, so that a resource costs next to nothing until it becomes scarce, and then much.
const PRICE_BASE: f64 = 10_000.0;
/// What filling one contended resource of an idle host costs, beside leaving a whole host's hard resources idle.
const CONTENDED_WEIGHT: f64 = 4.0;
/// What a vCPU of a broken hole costs.
const HOLE_WEIGHT: f64 = 0.2;
/// Beyond some overcommitment all hosts are equally hopeless; finite numbers keep the order total.
const SHARE_MAX: f64 = 8.0;
/// vCPUs up to which holes are told apart.
const HOLE_TABLE: usize = 1024;

/// From balance (0: spread the load) to density (1: few hosts, full ones).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preference {
    density: f64,
}

impl Preference {
    /// Spread the load over all hosts.
    pub const BALANCE: Self = Self { density: 0.0 };
    /// Fill hosts, keep the others free.
    pub const DENSITY: Self = Self { density: 1.0 };

    /// Anything between; `None` for a number outside of 0 to 1.
    #[must_use]
    pub fn new(density: f64) -> Option<Self> {
        (0.0..=1.0).contains(&density).then_some(Self { density })
    }

    /// 0 for balance, 1 for density.
    #[must_use]
    pub fn density(self) -> f64 {
        self.density
    }
}

/// A part of a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Term {
    /// Processor time becomes scarcer.
    Cpu,
    /// Disk throughput does.
    DiskBandwidth,
    /// Disk requests do.
    DiskRequests,
    /// Network throughput does.
    Network,
    /// Hard resources become scarcer (balance).
    Spread,
    /// Hard resources stay idle (density).
    Packing,
    /// A large hole is broken for a small VM (density).
    Holes,
    /// The template's image must be fetched first.
    Fetch,
    /// The VM must be moved there.
    Migration,
    /// Wishes that are not fulfilled.
    Wishes,
}

const TERM_COUNT: usize = 10;
/// Those that the formula gives; the others are added by rules and by moves.
const FORMULA_COUNT: usize = 7;

impl Term {
    /// All, in the order in which they are summed.
    pub const ALL: [Self; TERM_COUNT] = [
        Self::Cpu,
        Self::DiskBandwidth,
        Self::DiskRequests,
        Self::Network,
        Self::Spread,
        Self::Packing,
        Self::Holes,
        Self::Fetch,
        Self::Migration,
        Self::Wishes,
    ];

    /// For people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::DiskBandwidth => "disk",
            Self::DiskRequests => "iops",
            Self::Network => "network",
            Self::Spread => "spread",
            Self::Packing => "packing",
            Self::Holes => "holes",
            Self::Fetch => "fetch",
            Self::Migration => "migration",
            Self::Wishes => "wishes",
        }
    }
}

/// A cost with its parts. 1 is about what an idle host is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms([f64; TERM_COUNT]);

impl Terms {
    /// One part.
    #[must_use]
    pub fn get(&self, term: Term) -> f64 {
        self.0[term as usize]
    }

    /// Adds to one part.
    pub fn add(&mut self, term: Term, cost: f64) {
        self.0[term as usize] += cost;
    }

    /// The figure that decides.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.0.iter().fold(0.0, |sum, term| sum + term)
    }

    /// Part by part, in which it costs more than `other`.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] - other.0[index]))
    }

    /// The part that weighs most.
    #[must_use]
    pub fn dominant(&self) -> Term {
        let most = |a: &Term, b: &Term| self.get(*a).total_cmp(&self.get(*b));
        Term::ALL.into_iter().max_by(most).unwrap_or(Term::Cpu)
    }

    /// What changes when a VM leaves here or comes there: the parts that are prices.
    #[must_use]
    pub fn price(&self) -> f64 {
        let prices =
            [Term::Cpu, Term::DiskBandwidth, Term::DiskRequests, Term::Network, Term::Spread];
        prices.into_iter().map(|term| self.get(term)).sum::<f64>() + self.get(Term::Wishes)
    }

    /// The parts that are not 0.
    pub fn parts(&self) -> impl Iterator<Item = (Term, f64)> + '_ {
        Term::ALL.into_iter().map(|term| (term, self.get(term))).filter(|(_, cost)| *cost != 0.0)
    }
}

/// The formula with its constants for one preference.
#[derive(Clone, Debug)]
pub struct CostModel {
    preference: Preference,
    log2_base: f64,
    holes: Box<[f64]>,
}

/// A host, as the formula reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostPrices {
    contended: [f64; 4],
    hard: [f64; 3],
    left: [f64; 3],
    free: [f64; 3],
    free_vcpus: usize,
}

/// `L` demands on hosts of one capacity, as the formula reads them.
#[derive(Clone, Debug)]
pub(super) struct DemandWeights<const L: usize> {
    contended: [[f64; L]; 4],
    hard: [[f64; L]; 3],
    shares: [[f64; L]; 3],
    amounts: [[f64; L]; 3],
    vcpus: [usize; L],
}

impl<const L: usize> Default for DemandWeights<L> {
    /// Nothing fits anywhere: what no demand has been put into yet.
    fn default() -> Self {
        Self {
            contended: [[0.0; L]; 4],
            hard: [[0.0; L]; 3],
            shares: [[0.0; L]; 3],
            amounts: [[f64::INFINITY; L]; 3],
            vcpus: [0; L],
        }
    }
}

impl CostModel {
    /// For one preference.
    #[must_use]
    pub fn new(preference: Preference) -> Self {
        let holes = (0..HOLE_TABLE).map(|free| HOLE_WEIGHT * preference.density * hole_value(free));
        Self { preference, log2_base: PRICE_BASE.log2(), holes: holes.collect() }
    }

    /// What it was made for.
    #[must_use]
    pub fn preference(&self) -> Preference {
        self.preference
    }

    /// What `demand` more costs on a host that has `capacity` and of which `used` is in use. It says nothing about whether it fits.
    #[must_use]
    pub fn terms(&self, demand: &Amounts, used: &Amounts, capacity: &Amounts) -> Terms {
        let mut weights = DemandWeights::<1>::default();
        self.weigh(&mut weights, 0, demand, capacity);
        let parts = self.evaluate(&self.price(used, capacity), &weights);
        Terms(std::array::from_fn(|index| parts.get(index).map_or(0.0, |part| part[0])))
    }

    /// The price of being this full: the potential whose differences are opportunity costs. Hard resources count as far as the load shall be spread.
    #[must_use]
    pub fn potential(&self, used: &Amounts, capacity: &Amounts) -> f64 {
        let HostPrices { contended, hard, .. } = self.price(used, capacity);
        contended.iter().chain(&hard).sum()
    }

    /// The price of a host as it stands, to compare whole assignments: its potential and, as far as VMs shall stand densely, that it is in use and what of it stays idle.
    pub(super) fn standing(&self, used: &Amounts, capacity: &Amounts) -> f64 {
        let density = self.preference.density;
        let in_use = *used != Amounts::NOTHING;
        let idle: f64 = self.price(used, capacity).left.iter().map(|left| left * left).sum();
        self.potential(used, capacity) + if in_use { density * (1.0 + idle) } else { 0.0 }
    }

    fn unit_price(&self, used: &Amounts, capacity: &Amounts, resource: Resource) -> f64 {
        let share = used.share(capacity, resource).min(SHARE_MAX);
        ((share - 1.0) * self.log2_base).exp2()
    }

    /// What the formula needs of a host.
    pub(super) fn price(&self, used: &Amounts, capacity: &Amounts) -> HostPrices {
        let spread = 1.0 - self.preference.density;
        let free = |r: Resource| capacity[r].saturating_sub(used[r]);
        HostPrices {
            contended: Resource::CONTENDED
                .map(|r| CONTENDED_WEIGHT * self.unit_price(used, capacity, r)),
            hard: Resource::HARD.map(|r| spread * self.unit_price(used, capacity, r)),
            left: Resource::HARD.map(|r| 1.0 - used.share(capacity, r).min(SHARE_MAX)),
            free: Resource::HARD.map(|r| free(r) as f64),
            free_vcpus: hole_index(free(Resource::Vcpus)),
        }
    }

    /// Puts a demand into one lane.
    pub(super) fn weigh<const L: usize>(
        &self,
        weights: &mut DemandWeights<L>,
        lane: usize,
        demand: &Amounts,
        capacity: &Amounts,
    ) {
        let share = |r: Resource| demand.share(capacity, r).min(SHARE_MAX);
        let weight = |r: Resource| (share(r) * self.log2_base).exp2() - 1.0;
        for (index, resource) in Resource::CONTENDED.into_iter().enumerate() {
            weights.contended[index][lane] = weight(resource);
        }
        for (index, resource) in Resource::HARD.into_iter().enumerate() {
            weights.hard[index][lane] = weight(resource);
            weights.shares[index][lane] = share(resource);
            weights.amounts[index][lane] = demand[resource] as f64;
        }
        weights.vcpus[lane] = hole_index(demand[Resource::Vcpus]);
    }

    /// The cost of each lane's demand; infinite where it does not fit.
    pub(super) fn score<const L: usize>(
        &self,
        host: &HostPrices,
        weights: &DemandWeights<L>,
    ) -> [f64; L] {
        let parts = self.evaluate(host, weights);
        let mut totals = [0.0; L];
        for part in &parts {
            for (total, cost) in totals.iter_mut().zip(part) {
                *total += cost;
            }
        }
        for (amounts, free) in weights.amounts.iter().zip(host.free) {
            for (total, amount) in totals.iter_mut().zip(amounts) {
                *total = if *amount > free { f64::INFINITY } else { *total };
            }
        }
        totals
    }

    /// Part by part, in the order of [`Term::ALL`].
    #[inline]
    fn evaluate<const L: usize>(
        &self,
        host: &HostPrices,
        weights: &DemandWeights<L>,
    ) -> [[f64; L]; FORMULA_COUNT] {
        let mut parts = [[0.0; L]; FORMULA_COUNT];
        for (index, price) in host.contended.into_iter().enumerate() {
            for (part, weight) in parts[index].iter_mut().zip(&weights.contended[index]) {
                *part = price * weight;
            }
        }
        let density = self.preference.density;
        for (index, price) in host.hard.into_iter().enumerate() {
            let left = host.left[index];
            let spread = &mut parts[Term::Spread as usize];
            for (part, weight) in spread.iter_mut().zip(&weights.hard[index]) {
                *part += price * weight;
            }
            let packing = &mut parts[Term::Packing as usize];
            for (part, share) in packing.iter_mut().zip(&weights.shares[index]) {
                *part += density * ((left - share) * (left - share));
            }
        }
        if density > 0.0 {
            let before = self.holes[host.free_vcpus];
            for (part, vcpus) in parts[Term::Holes as usize].iter_mut().zip(&weights.vcpus) {
                let after = self.holes[host.free_vcpus.saturating_sub(*vcpus)];
                *part = before - after;
            }
        }
        parts
    }
}

fn hole_index(vcpus: u64) -> usize {
    usize::try_from(vcpus).unwrap_or(usize::MAX).min(HOLE_TABLE - 1)
}

/// What `free` vCPUs are worth: those in holes of eight count whole, in one of four by half, of two by a quarter, since only small VMs fit there.
fn hole_value(free: usize) -> f64 {
    let (eights, four, two) = (free / 8 * 8, free % 8 / 4 * 4, free % 4 / 2 * 2);
    eights as f64 + 0.5 * four as f64 + 0.25 * two as f64
}
