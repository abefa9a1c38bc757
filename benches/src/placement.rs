//! The product's placement beside simple policies: what is refused, how much disk demand finds no disk, and the time of a
//! decision. CPU and disk are soft for all policies, memory is hard.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use vmm_core::host::{Health, HostCapacity, HostLoad, Reservation, ReservationReason};
use vmm_core::id::HostId;
use vmm_core::scheduler::{HostView, Request, place};
use vmm_core::units::{BytesPerSecond, Kib, MilliCpu};

use crate::report::Report;
use crate::trace::{Arrival, Trace};

/// A host of the benchmark.
const CAPACITY: HostCapacity = HostCapacity {
    cpu: MilliCpu::from_cpus(32),
    memory: Kib::from_mib(160 * 1024),
    disk: BytesPerSecond(400_000_000),
};
/// Peak CPU demand over what the hosts have: a pool that is nearly full.
const FULL: f64 = 0.95;

#[derive(Clone, Copy)]
enum Policy {
    CostModel,
    RoundRobin,
    LeastCpu,
}

/// What a policy did.
#[derive(Default)]
struct Outcome {
    refused: usize,
    disk_over: f64,
    disk_asked: f64,
    deciding: Duration,
    decisions: u32,
}

pub(crate) fn run(trace: &Trace) -> Report {
    let mut report = Report::new("placement");
    let hosts = host_count(&trace.arrivals);
    println!(
        "{} arrivals ({}), {hosts} hosts; disk demand is synthetic",
        trace.arrivals.len(),
        trace.source
    );
    report.tell("hosts", f64::from(u32::try_from(hosts).unwrap_or(u32::MAX)), "count");
    let [ours, round_robin, least_cpu] = [Policy::CostModel, Policy::RoundRobin, Policy::LeastCpu]
        .map(|policy| simulate(policy, hosts, &trace.arrivals));
    for (name, outcome) in
        [("cost model", &ours), ("round robin", &round_robin), ("least CPU", &least_cpu)]
    {
        report.tell(
            format!("{name}: refused"),
            ratio(outcome.refused, trace.arrivals.len()) * 100.0,
            "%",
        );
        report.tell(format!("{name}: disk demand above capacity"), outcome.overload() * 100.0, "%");
        let ns = outcome.deciding.as_secs_f64() * 1e9 / f64::from(outcome.decisions.max(1));
        report.tell(format!("{name}: decision"), ns, "ns");
    }
    let best_other = round_robin.overload().min(least_cpu.overload());
    report.at_most(
        "disk overload, ours to the best of the others",
        ours.overload() / best_other.max(1e-12),
        "ratio",
        0.5,
    );
    report
}

impl Outcome {
    fn overload(&self) -> f64 {
        self.disk_over / self.disk_asked.max(1.0)
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a trace")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Hosts that peak CPU demand fills to [`FULL`].
fn host_count(arrivals: &[Arrival]) -> usize {
    let mut events: Vec<(f64, f64)> = arrivals
        .iter()
        .flat_map(|a| [(a.at_s, f64::from(a.vcpus)), (a.at_s + a.life_s, -f64::from(a.vcpus))])
        .collect();
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut now, mut peak) = (0.0_f64, 0.0_f64);
    for (_, change) in events {
        now += change;
        peak = peak.max(now);
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand hosts"
    )]
    let hosts = (peak / 32.0 / FULL).ceil() as usize;
    hosts.max(2)
}

fn simulate(policy: Policy, host_count: usize, arrivals: &[Arrival]) -> Outcome {
    let mut hosts: Vec<HostView> = (0..host_count).map(empty_host).collect();
    let mut leaving: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let (mut outcome, mut turn) = (Outcome::default(), 0);
    for (index, arrival) in arrivals.iter().enumerate() {
        while let Some(&Reverse((at, host, who))) = leaving.peek() {
            if at > millis(arrival.at_s) {
                break;
            }
            leaving.pop();
            charge(&mut hosts[host], &arrivals[who], false);
        }
        let start = Instant::now();
        let chosen = choose(policy, &hosts, arrival, &mut turn);
        outcome.deciding += start.elapsed();
        outcome.decisions += 1;
        let Some(host) = chosen else {
            outcome.refused += 1;
            continue;
        };
        charge(&mut hosts[host], arrival, true);
        outcome.add_disk(&hosts[host], arrival);
        leaving.push(Reverse((millis(arrival.at_s + arrival.life_s), host, index)));
    }
    outcome
}

impl Outcome {
    /// The part of a new VM's disk demand that finds no disk, at the moment that it arrives.
    #[allow(clippy::cast_precision_loss, reason = "bytes a second")]
    fn add_disk(&mut self, host: &HostView, arrival: &Arrival) {
        let over = host.reserved.disk.saturating_sub(CAPACITY.disk).0.min(arrival.disk_bytes_per_s);
        self.disk_over += over as f64;
        self.disk_asked += arrival.disk_bytes_per_s as f64;
    }
}

fn choose(
    policy: Policy,
    hosts: &[HostView],
    arrival: &Arrival,
    turn: &mut usize,
) -> Option<usize> {
    let fits =
        |host: &HostView| CAPACITY.memory.saturating_sub(host.reserved.memory) >= memory(arrival);
    match policy {
        Policy::CostModel => {
            let chosen = place(&request(arrival), hosts).chosen?;
            hosts.iter().position(|host| host.id == chosen)
        }
        Policy::RoundRobin => (0..hosts.len())
            .map(|n| (*turn + n) % hosts.len())
            .find(|n| fits(&hosts[*n]))
            .inspect(|n| *turn = n + 1),
        Policy::LeastCpu => {
            (0..hosts.len()).filter(|n| fits(&hosts[*n])).min_by_key(|n| hosts[*n].reserved.cpu)
        }
    }
}

fn request(arrival: &Arrival) -> Request {
    Request {
        vcpus: arrival.vcpus,
        memory: memory(arrival),
        cpu: MilliCpu::from_cpus(arrival.vcpus),
        disk: BytesPerSecond(arrival.disk_bytes_per_s),
    }
}

fn memory(arrival: &Arrival) -> Kib {
    Kib::from_mib(arrival.memory_mib)
}

fn charge(host: &mut HostView, arrival: &Arrival, add: bool) {
    let (request, held) = (request(arrival), &mut host.reserved);
    if add {
        *held = Reservation {
            cpu: held.cpu + request.cpu,
            memory: held.memory + request.memory,
            disk: held.disk + request.disk,
            ..*held
        };
    } else {
        *held = Reservation {
            cpu: held.cpu - request.cpu,
            memory: held.memory - request.memory,
            disk: held.disk - request.disk,
            ..*held
        };
    }
    host.load.memory_free = CAPACITY.memory.saturating_sub(held.memory);
}

fn empty_host(index: usize) -> HostView {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(index as u64).to_be_bytes());
    HostView {
        id: HostId::from_bytes(id),
        name: format!("host{index:05}"),
        health: Health::Up,
        maintenance: false,
        disk_in_use: false,
        capacity: CAPACITY,
        reserved: Reservation {
            cpu: MilliCpu(0),
            memory: Kib(0),
            disk: BytesPerSecond(0),
            reason: ReservationReason::Running,
        },
        load: HostLoad { memory_free: CAPACITY.memory, ..HostLoad::default() },
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "milliseconds of a trace"
)]
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}
