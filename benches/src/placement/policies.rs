//! The policies side by side. Theirs are written from their papers and sources, over the same shares of hosts; ours is the product's index itself.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vmm_core::scheduler::index::{HostIndex, Index};
use vmm_core::scheduler::{Amounts, CostModel, Preference, Resource};

use super::world::{Asked, DISK, MEMORY_MIB, NETWORK, VCPUS, World};
use crate::trace::whole;

/// A way to choose a host.
pub(super) trait Policy {
    /// The host for a VM that asks this much; `None` refuses it.
    fn choose(&mut self, world: &World, asked: &Asked) -> Option<usize>;

    /// What was chosen is true now.
    fn placed(&mut self, _host: usize, _asked: &Asked) {}

    /// A VM has left.
    fn left(&mut self, _host: usize, _asked: &Asked) {}
}

/// All of them, by name, for a pool of so many hosts.
pub(super) const NAMES: [&str; 13] = [
    OURS_DENSITY,
    "ours, balance",
    "random",
    "round-robin",
    "least-loaded (cpu)",
    "Nova-like (ram, cpu)",
    "first-fit",
    BEST_FIT,
    "dot product",
    "power of two",
    "Ganeti-like (stddev)",
    "E-PVM",
    "hybrid of the notes",
];
pub(super) const OURS_DENSITY: &str = "ours, density";
pub(super) const BEST_FIT: &str = "best-fit (cpu, mem)";

/// Makes one.
pub(super) fn make(name: &str, hosts: usize, seed: u64) -> Box<dyn Policy> {
    let base = hosts as f64;
    match name {
        OURS_DENSITY => Box::new(Ours::new(hosts, Preference::DENSITY)),
        "ours, balance" => Box::new(Ours::new(hosts, Preference::BALANCE)),
        "random" => Box::new(Random(StdRng::seed_from_u64(seed))),
        "round-robin" => Box::new(RoundRobin(0)),
        "least-loaded (cpu)" => scan(|w, h, _| w.seen[h][0]),
        "Nova-like (ram, cpu)" => scan(|w, h, _| w.seen[h][0] + w.seen[h][1]),
        "first-fit" => Box::new(FirstFit),
        BEST_FIT => scan(|w, h, _| -(w.seen[h][0] + w.seen[h][1])),
        "dot product" => {
            scan(|w, h, a| -(0..4).map(|r| a.shares[r] * (1.0 - w.seen[h][r])).sum::<f64>())
        }
        "power of two" => Box::new(PowerOfTwo(StdRng::seed_from_u64(seed))),
        "Ganeti-like (stddev)" => scan(deviations),
        "E-PVM" => scan(move |w, h, a| opportunity(w, h, a, (base, 0..4))),
        _ => scan(move |w, h, a| {
            let left = |r: usize| 1.0 - w.seen[h][r] - a.shares[r];
            4.0 / base * opportunity(w, h, a, (base, 2..4)) + left(0) * left(0) + left(1) * left(1)
        }),
    }
}

/// The sum of prices' rises, with prices that grow by `base` from idle to full.
fn opportunity(
    world: &World,
    host: usize,
    asked: &Asked,
    (base, resources): (f64, std::ops::Range<usize>),
) -> f64 {
    let log2 = base.log2();
    let rise = |r: usize| {
        let used = world.seen[host][r];
        ((used + asked.shares[r]) * log2).exp2() - (used * log2).exp2()
    };
    resources.map(rise).sum()
}

/// The sum of standard deviations over hosts after the placement.
fn deviations(world: &World, host: usize, asked: &Asked) -> f64 {
    let hosts = world.seen.len() as f64;
    let deviation = |r: usize| {
        let (old, new) = (world.seen[host][r], world.seen[host][r] + asked.shares[r]);
        let mean = (world.sums[r] + asked.shares[r]) / hosts;
        let square = (world.squares[r] + new * new - old * old) / hosts;
        (square - mean * mean).max(0.0).sqrt()
    };
    (0..4).map(deviation).sum()
}

fn scan(score: impl Fn(&World, usize, &Asked) -> f64 + 'static) -> Box<dyn Policy> {
    Box::new(Scan(score))
}

/// The least score among all hosts that it fits on.
struct Scan<F>(F);

impl<F: Fn(&World, usize, &Asked) -> f64> Policy for Scan<F> {
    fn choose(&mut self, world: &World, asked: &Asked) -> Option<usize> {
        let fitting = (0..world.seen.len()).filter(|host| world.fits(*host, asked));
        let score = |host: usize| ((self.0)(world, host, asked), host);
        let less = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0);
        fitting.map(score).min_by(less).map(|(_, host)| host)
    }
}

struct FirstFit;

impl Policy for FirstFit {
    fn choose(&mut self, world: &World, asked: &Asked) -> Option<usize> {
        (0..world.seen.len()).find(|host| world.fits(*host, asked))
    }
}

struct RoundRobin(usize);

impl Policy for RoundRobin {
    fn choose(&mut self, world: &World, asked: &Asked) -> Option<usize> {
        let hosts = world.seen.len();
        let host =
            (0..hosts).map(|n| (self.0 + n) % hosts).find(|host| world.fits(*host, asked))?;
        self.0 = host + 1;
        Some(host)
    }
}

struct Random(StdRng);

impl Policy for Random {
    fn choose(&mut self, world: &World, asked: &Asked) -> Option<usize> {
        let hosts = world.seen.len();
        let drawn = (0..32).map(|_| self.0.random_range(0..hosts)).find(|h| world.fits(*h, asked));
        let start = self.0.random_range(0..hosts);
        drawn.or_else(|| (0..hosts).map(|n| (start + n) % hosts).find(|h| world.fits(*h, asked)))
    }
}

/// Of two drawn hosts that fit, the one whose fullest resource is less full.
struct PowerOfTwo(StdRng);

impl Policy for PowerOfTwo {
    fn choose(&mut self, world: &World, asked: &Asked) -> Option<usize> {
        let hosts = world.seen.len();
        let fullest =
            |h: usize| (0..4).map(|r| world.seen[h][r] + asked.shares[r]).fold(0.0, f64::max);
        let drawn =
            (0..200).map(|_| self.0.random_range(0..hosts)).filter(|h| world.fits(*h, asked));
        let best = drawn.take(2).min_by(|a, b| fullest(*a).total_cmp(&fullest(*b)));
        best.or_else(|| (0..hosts).find(|h| world.fits(*h, asked)))
    }
}

/// The product's.
struct Ours(Index);

impl Ours {
    fn new(hosts: usize, preference: Preference) -> Self {
        let mut index = Index::new(CostModel::new(preference));
        for _ in 0..hosts {
            index.add_host(capacity(), Amounts::NOTHING).expect("hosts of one kind");
        }
        Self(index)
    }
}

impl Policy for Ours {
    fn choose(&mut self, _: &World, asked: &Asked) -> Option<usize> {
        let cheapest = self.0.cheapest_for(&amounts(asked), |_| Some(0.0))?;
        usize::try_from(cheapest.host.0).ok()
    }

    fn placed(&mut self, host: usize, asked: &Asked) {
        self.0.charge(at(host), &amounts(asked));
    }

    fn left(&mut self, host: usize, asked: &Asked) {
        self.0.release(at(host), &amounts(asked));
    }
}

fn at(host: usize) -> HostIndex {
    HostIndex(u32::try_from(host).expect("fewer than 2^32 hosts"))
}

fn capacity() -> Amounts {
    Amounts::UNCOUNTED
        .with(Resource::Vcpus, whole(VCPUS))
        .with(Resource::Memory, whole(MEMORY_MIB) * 1024)
        .with(Resource::DiskBandwidth, whole(DISK * 1e6))
        .with(Resource::Network, whole(NETWORK * 1e6))
}

fn amounts(asked: &Asked) -> Amounts {
    Amounts::NOTHING
        .with(Resource::Vcpus, u64::from(asked.vcpus))
        .with(Resource::Memory, asked.memory_mib * 1024)
        .with(Resource::DiskBandwidth, whole(asked.disk * 1e6))
        .with(Resource::Network, whole(asked.network * 1e6))
}
