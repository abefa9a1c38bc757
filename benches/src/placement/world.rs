//! The hosts that policies place on, as they are and as the policy sees them, and what becomes of a trace under a policy.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::policies::Policy;
use crate::trace::Arrival;

/// Shares of a host: vCPUs, memory, disk, network. The first two are hard.
pub(super) type Shares = [f64; 4];

/// A host: 32 CPUs, 160 GiB, 400 MB/s of disk, 1 GB/s of network.
pub(super) const VCPUS: f64 = 32.0;
pub(super) const MEMORY_MIB: f64 = 160.0 * 1024.0;
pub(super) const DISK: f64 = 400.0;
pub(super) const NETWORK: f64 = 1000.0;
/// Figures are taken from then on: before, the pool fills.
const WARM_UP_S: f64 = 43_200.0;
const SAMPLE_S: f64 = 600.0;
/// What is lost in adding and taking away.
const ROUNDING: f64 = 1e-9;

/// What a policy sees of an arrival.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) vcpus: u32,
    pub(super) memory_mib: u64,
    /// In MB/s.
    pub(super) disk: f64,
    pub(super) network: f64,
    pub(super) shares: Shares,
}

impl Asked {
    pub(super) fn of(arrival: &Arrival, io: [f64; 2]) -> Self {
        let shares = [
            f64::from(arrival.vcpus) / VCPUS,
            arrival.memory_mib as f64 / MEMORY_MIB,
            io[0] / DISK,
            io[1] / NETWORK,
        ];
        let (vcpus, memory_mib) = (arrival.vcpus, arrival.memory_mib);
        Self { vcpus, memory_mib, disk: io[0], network: io[1], shares }
    }
}

/// All hosts, by share in use.
#[derive(Clone)]
pub(super) struct World {
    /// As the policy has it.
    pub(super) seen: Vec<Shares>,
    real: Vec<Shares>,
    /// Sums over hosts of what is seen, and of its squares.
    pub(super) sums: Shares,
    pub(super) squares: Shares,
}

impl World {
    pub(super) fn new(hosts: usize) -> Self {
        let empty = vec![[0.0; 4]; hosts];
        Self { seen: empty.clone(), real: empty, sums: [0.0; 4], squares: [0.0; 4] }
    }

    pub(super) fn fits(&self, host: usize, asked: &Asked) -> bool {
        (0..2).all(|r| self.seen[host][r] + asked.shares[r] <= 1.0 + ROUNDING)
    }

    fn change(&mut self, host: usize, seen: &Shares, real: &Shares, sign: f64) {
        for r in 0..4 {
            let (old, new) = (self.seen[host][r], (self.seen[host][r] + sign * seen[r]).max(0.0));
            self.sums[r] += new - old;
            self.squares[r] += new * new - old * old;
            self.seen[host][r] = new;
            self.real[host][r] = (self.real[host][r] + sign * real[r]).max(0.0);
        }
    }
}

/// What became of a trace.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) refused: f64,
    /// Shares in percent.
    pub(super) refused_vcpus: f64,
    pub(super) disk_over: f64,
    pub(super) network_over: f64,
    /// Standard deviations over hosts, of what is really in use.
    pub(super) deviation: [f64; 3],
    pub(super) hosts_used: f64,
    pub(super) decision_ns: f64,
}

impl Outcome {
    /// Each figure by its own rule.
    pub(super) fn fold(outcomes: &[Self], join: impl Fn(&[f64]) -> f64) -> Self {
        let of = |pick: fn(&Self) -> f64| join(&outcomes.iter().map(pick).collect::<Vec<_>>());
        Self {
            refused: of(|o| o.refused),
            refused_vcpus: of(|o| o.refused_vcpus),
            disk_over: of(|o| o.disk_over),
            network_over: of(|o| o.network_over),
            deviation: [of(|o| o.deviation[0]), of(|o| o.deviation[1]), of(|o| o.deviation[2])],
            hosts_used: of(|o| o.hosts_used),
            decision_ns: of(|o| o.decision_ns),
        }
    }
}

/// Hosts that the greatest demand at one time fills to `full`.
pub(super) fn host_count(arrivals: &[Arrival], full: f64) -> usize {
    let peak = |of: fn(&Arrival) -> f64| {
        let mut events: Vec<(f64, f64)> =
            arrivals.iter().flat_map(|a| [(a.at_s, of(a)), (a.at_s + a.life_s, -of(a))]).collect();
        events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let add = |(now, peak): (f64, f64), (_, change): &(f64, f64)| {
            let now = now + change;
            (now, peak.max(now))
        };
        events.iter().fold((0.0, 0.0), add).1
    };
    let cpu = peak(|a| f64::from(a.vcpus) / VCPUS);
    let memory = peak(|a| a.memory_mib as f64 / MEMORY_MIB);
    usize::try_from(crate::trace::whole((cpu.max(memory) / full).ceil())).unwrap_or(2).max(2)
}

/// Lets a policy place a trace. With `known` it sees what each VM will ask of disks and network; without, its class's.
pub(super) fn simulate(
    policy: &mut dyn Policy,
    hosts: usize,
    arrivals: &[Arrival],
    known: bool,
) -> Outcome {
    let mut world = World::new(hosts);
    let mut leaving: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let mut books = Books::new(arrivals);
    let see = |a: &Arrival| Asked::of(a, if known { a.real } else { a.class });
    let real = |a: &Arrival| Asked::of(a, a.real).shares;
    for (index, arrival) in arrivals.iter().enumerate() {
        while let Some(&Reverse((at, host, who))) = leaving.peek() {
            if at > millis(arrival.at_s) {
                break;
            }
            leaving.pop();
            let gone = see(&arrivals[who]);
            world.change(host, &gone.shares, &real(&arrivals[who]), -1.0);
            policy.left(host, &gone);
        }
        books.sample(&world, arrival.at_s);
        let asked = see(arrival);
        let start = Instant::now();
        let chosen = policy.choose(&world, &asked);
        books.decided(&asked, chosen, start.elapsed());
        if let Some(host) = chosen {
            assert!(world.fits(host, &asked), "a policy overfills a host");
            world.change(host, &asked.shares, &real(arrival), 1.0);
            let start = Instant::now();
            policy.placed(host, &asked);
            books.deciding += start.elapsed();
            leaving.push(Reverse((millis(arrival.at_s + arrival.life_s), host, index)));
        }
    }
    books.close(arrivals.len())
}

struct Books {
    next_s: f64,
    samples: f64,
    sums: Outcome,
    refused: f64,
    refused_vcpus: f64,
    asked_vcpus: f64,
    deciding: Duration,
}

impl Books {
    fn new(arrivals: &[Arrival]) -> Self {
        let first = arrivals.first().map_or(0.0, |a| a.at_s);
        Self {
            next_s: first + WARM_UP_S,
            samples: 0.0,
            sums: Outcome::default(),
            refused: 0.0,
            refused_vcpus: 0.0,
            asked_vcpus: 0.0,
            deciding: Duration::ZERO,
        }
    }

    fn decided(&mut self, asked: &Asked, chosen: Option<usize>, took: Duration) {
        self.deciding += took;
        self.asked_vcpus += f64::from(asked.vcpus);
        if chosen.is_none() {
            self.refused += 1.0;
            self.refused_vcpus += f64::from(asked.vcpus);
        }
    }

    fn sample(&mut self, world: &World, now_s: f64) {
        while now_s >= self.next_s {
            self.next_s += SAMPLE_S;
            self.samples += 1.0;
            let hosts = world.real.len() as f64;
            let total = |r: usize| world.real.iter().map(|host| host[r]).sum::<f64>();
            let over = |r: usize| {
                world.real.iter().map(|host| (host[r] - 1.0).max(0.0)).sum::<f64>()
                    / total(r).max(1e-9)
            };
            self.sums.disk_over += over(2);
            self.sums.network_over += over(3);
            for r in 0..3 {
                let mean = total(r) / hosts;
                let square = |host: &Shares| (host[r] - mean) * (host[r] - mean);
                self.sums.deviation[r] +=
                    (world.real.iter().map(square).sum::<f64>() / hosts).sqrt();
            }
            self.sums.hosts_used +=
                world.real.iter().filter(|host| host[0] > ROUNDING).count() as f64;
        }
    }

    fn close(self, arrivals: usize) -> Outcome {
        let samples = self.samples.max(1.0);
        Outcome {
            refused: self.refused,
            refused_vcpus: 100.0 * self.refused_vcpus / self.asked_vcpus.max(1.0),
            disk_over: 100.0 * self.sums.disk_over / samples,
            network_over: 100.0 * self.sums.network_over / samples,
            deviation: self.sums.deviation.map(|sum| sum / samples),
            hosts_used: self.sums.hosts_used / samples,
            decision_ns: self.deciding.as_secs_f64() * 1e9 / arrivals.max(1) as f64,
        }
    }
}

fn millis(seconds: f64) -> u64 {
    crate::trace::whole(seconds * 1000.0)
}
