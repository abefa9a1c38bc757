//! Decisions a second of the index: a VM is released, another is placed, in a pool that is 85 % full.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vmm_core::scheduler::index::{FlavourIndex, HostIndex, Index};
use vmm_core::scheduler::{Amounts, CostModel, Preference, Resource};

use crate::report::Report;

const FLAVOURS: u64 = 16;
const VCPUS: u64 = 32;
const FULL_PERCENT: u64 = 85;
const DECISIONS: u32 = 400_000;
/// The best of some, since this machine may be busy: what the code can do, not what its neighbours do.
const ROUNDS: usize = 5;
/// Decisions that are compared with a look at all hosts.
const CHECKED: usize = 2_000;

pub(super) fn run(report: &mut Report) {
    for (hosts, goal) in [(10_240, 1.0), (100_000, 0.5)] {
        for (name, preference) in
            [("density", Preference::DENSITY), ("balance", Preference::BALANCE)]
        {
            let mut pool = Filled::new(hosts, preference);
            let best = (0..ROUNDS).map(|_| pool.churn()).fold(0.0, f64::max);
            let label = format!("{hosts} hosts, {FLAVOURS} flavours, {name}: place and release");
            report.at_least(label, best, "M/s", goal);
            let wrong = pool.disagreements(CHECKED);
            let label =
                format!("{hosts} hosts, {name}: answers that a look at all hosts does not give");
            report.at_most(label, f64::from(wrong), "of 2000", 0.0);
        }
    }
}

struct Filled {
    index: Index,
    flavours: Vec<(FlavourIndex, Amounts)>,
    placed: Vec<(HostIndex, Amounts)>,
    rng: StdRng,
}

impl Filled {
    fn new(hosts: u64, preference: Preference) -> Self {
        let mut index = Index::new(CostModel::new(preference));
        let capacity = Amounts::UNCOUNTED
            .with(Resource::Vcpus, VCPUS)
            .with(Resource::Memory, 160 << 20)
            .with(Resource::Cpu, VCPUS * 1000)
            .with(Resource::DiskBandwidth, 400_000_000)
            .with(Resource::DiskRequests, 50_000)
            .with(Resource::Network, 1_000_000_000);
        for _ in 0..hosts {
            index.add_host(capacity, Amounts::NOTHING).expect("hosts of one kind");
        }
        let flavours = (0..FLAVOURS).map(flavour).map(|d| (index.add_flavour(d), d)).collect();
        let mut pool =
            Self { index, flavours, placed: Vec::new(), rng: StdRng::seed_from_u64(hosts) };
        let mut vcpus = 0;
        while vcpus < hosts * VCPUS * FULL_PERCENT / 100 {
            vcpus += pool.place();
        }
        pool
    }

    /// A VM more; its vCPUs.
    fn place(&mut self) -> u64 {
        let (flavour, demand) = self.flavours[self.rng.random_range(0..self.flavours.len())];
        let cheapest = self.index.cheapest(flavour).expect("the pool is not full");
        self.index.charge(cheapest.host, &demand);
        self.placed.push((cheapest.host, demand));
        demand[Resource::Vcpus]
    }

    fn release(&mut self) {
        let which = self.rng.random_range(0..self.placed.len());
        let (host, demand) = self.placed.swap_remove(which);
        self.index.release(host, &demand);
    }

    /// Millions a second.
    fn churn(&mut self) -> f64 {
        let start = Instant::now();
        for _ in 0..DECISIONS {
            self.release();
            self.place();
        }
        f64::from(DECISIONS) / start.elapsed().as_secs_f64() / 1e6
    }

    fn disagreements(&mut self, checks: usize) -> u32 {
        let mut wrong = 0;
        for _ in 0..checks {
            self.release();
            let (flavour, demand) = self.flavours[self.rng.random_range(0..self.flavours.len())];
            let same = self.index.cheapest(flavour) == self.index.scan(&demand, |_| Some(0.0));
            wrong += u32::from(!same);
            self.place();
        }
        wrong
    }
}

fn flavour(number: u64) -> Amounts {
    let vcpus = 1 << (number % 4);
    let memory_mib = [1792, 4096, 3500, 1024][usize::try_from(number / 4 % 4).unwrap_or(0)];
    Amounts::NOTHING
        .with(Resource::Vcpus, vcpus)
        .with(Resource::Memory, vcpus * memory_mib * 1024)
        .with(Resource::Cpu, vcpus * 300 + number * 10)
        .with(Resource::DiskBandwidth, vcpus * 1_000_000 * (number + 1))
        .with(Resource::DiskRequests, vcpus * 100 + number)
        .with(Resource::Network, vcpus * 3_000_000)
}
