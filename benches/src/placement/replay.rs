//! Days of a pool whose load changes, with and without rebalancing.
//!
//! VMs arrive and leave as the trace says (of a large trace, a part of the arrivals, on as many fewer hosts). What each of them uses of CPU and disks is synthetic, whatever the trace: a level of
//! its own, times a day's curve with a phase of its own, times noise that lasts for hours. The product places by class, measures each VM every five minutes, forecasts with its own histories, and
//! asks its own rebalancing what to move. Hosts promise three vCPUs for each CPU, so that they can be overloaded.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::demand::{History, Known, demand};
use vmm_core::scheduler::index::{HostIndex, Index};
use vmm_core::scheduler::{
    Amounts, CostModel, Host, Limits, Mobility, Needs, Pool, Preference, Resource, Vm, rebalance,
};

use super::scheduled::{host, id};
use super::world::{DISK, MEMORY_MIB, VCPUS, host_count};
use crate::report::Report;
use crate::trace::{Arrival, Trace, normal, whole};

/// Arrivals that are replayed at most; of a longer trace every n-th.
const ARRIVALS_MAX: usize = 26_000;
const STEP_S: f64 = 300.0;
/// vCPUs promised for each CPU.
const OVERCOMMIT: f64 = 3.0;
/// Peak demand of vCPUs over what is promised.
const FULL: f64 = 0.9;
const LIMITS: Limits = Limits { moves_max: 32, cool_down_s: 3600, trusted_s: 3600 };
/// Of a vCPU, and of the spread over VMs.
const CPU_MEAN: f64 = 0.25;
const CPU_SIGMA: f64 = 0.8;
/// How much of a step's noise is the last step's, and its spread.
const NOISE_LASTS: f64 = 0.97;
const NOISE_SIGMA: f64 = 0.5;
const SEED: u64 = 7;

/// Replays a trace, and says what rebalancing does for it.
pub(super) fn run(trace: &Trace, label: &str, report: &mut Report) {
    let all = trace.arrivals(SEED);
    let stride = all.len().div_ceil(ARRIVALS_MAX);
    let arrivals: Vec<Arrival> = all.into_iter().step_by(stride).collect();
    let promised: Vec<Arrival> = arrivals.clone();
    let hosts = host_count(&promised, FULL * OVERCOMMIT).max(4);
    let [without, with] = [false, true].map(|moves| Days::new(hosts, moves).replay(&arrivals));
    let name = |what: &str| format!("replay of {label}: {what}");
    report.tell(name("hosts"), hosts as f64, "hosts");
    report.tell(name("days"), with.seconds / 86_400.0, "days");
    report.tell(
        name("overload-time without rebalancing"),
        100.0 * without.overload(),
        "% of host-time",
    );
    report.tell(name("overload-time with it"), 100.0 * with.overload(), "% of host-time");
    report.tell(name("moves"), with.moves, "moves");
    report.tell(name("moves a VM and day"), with.moves / with.vm_days.max(1e-9), "moves");
    report.tell(name("memory moved"), with.moved_gib, "GiB");
    let ratio = with.overload() / without.overload().max(1e-12);
    report.at_most(name("overload-time with rebalancing to that without"), ratio, "ratio", 0.5);
    report.at_most(name("VMs that came back within their cool-down"), with.returns, "VMs", 0.0);
}

#[derive(Default)]
struct Outcome {
    seconds: f64,
    overloaded: f64,
    samples: f64,
    moves: f64,
    moved_gib: f64,
    returns: f64,
    vm_days: f64,
}

impl Outcome {
    fn overload(&self) -> f64 {
        self.overloaded / self.samples.max(1.0)
    }
}

/// A VM with what it does.
struct Guest {
    vm: Vm,
    leaves_s: f64,
    /// Levels of CPU in thousandths and of disk in bytes a second, and where in the day its peak is.
    levels: [f64; 2],
    phase: f64,
    noise: [f64; 2],
    rng: StdRng,
    known: Known,
    moved_s: Option<f64>,
    /// Hosts that it left by a move, and when.
    left: Vec<(HostId, f64)>,
    now: Amounts,
}

impl Guest {
    /// What it uses at this time.
    fn live(&mut self, now_s: f64) {
        let day = (std::f64::consts::TAU * (now_s / 86_400.0 + self.phase)).sin();
        for noise in &mut self.noise {
            let fresh = (1.0 - NOISE_LASTS * NOISE_LASTS).sqrt() * normal(&mut self.rng);
            *noise = NOISE_LASTS * *noise + fresh;
        }
        let rate = |level: f64, noise: f64| level * (1.0 + 0.6 * day) * (NOISE_SIGMA * noise).exp();
        let most = self.vm.demand[Resource::Vcpus] as f64 * 1000.0;
        let cpu = rate(self.levels[0], self.noise[0]).min(most);
        self.now = Amounts::NOTHING
            .with(Resource::Cpu, whole(cpu))
            .with(Resource::DiskBandwidth, whole(rate(self.levels[1], self.noise[1])));
        self.vm.mobility.dirty_bytes_per_s = whole(cpu * 5_000.0);
    }

    fn measured(&mut self, now_s: f64) {
        let at = whole(now_s);
        for (index, resource) in [(0, Resource::Cpu), (1, Resource::DiskBandwidth)] {
            let history = self.known.measured[index].get_or_insert_with(History::default);
            history.sampled(at, self.now[resource]);
        }
        self.vm.demand = demand(&self.known, at).amounts;
        self.vm.mobility.moved_s_ago = self.moved_s.map(|moved| whole(now_s - moved));
    }
}

struct Days {
    rebalances: bool,
    index: Index,
    hosts: Vec<Host>,
    guests: Vec<Guest>,
    model: CostModel,
    outcome: Outcome,
}

impl Days {
    fn new(count: usize, rebalances: bool) -> Self {
        let model = CostModel::new(Preference::DENSITY);
        let mut index = Index::new(model.clone());
        let hosts: Vec<Host> =
            (0..count).map(|number| host(number, capacity(), Amounts::NOTHING)).collect();
        for host in &hosts {
            index.add_host(host.capacity, host.used).expect("hosts of one kind");
        }
        Self { rebalances, index, hosts, guests: Vec::new(), model, outcome: Outcome::default() }
    }

    fn replay(mut self, arrivals: &[Arrival]) -> Outcome {
        let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
            return self.outcome;
        };
        let mut waiting = arrivals.iter().enumerate().peekable();
        let mut now_s = first.at_s;
        while now_s < last.at_s {
            now_s += STEP_S;
            self.guests.retain(|guest| guest.leaves_s > now_s);
            self.charge();
            while let Some((number, arrival)) = waiting.next_if(|(_, a)| a.at_s <= now_s) {
                self.arrive(number, arrival);
            }
            self.live(now_s);
            // Half a day in, the pool is as full as it will be.
            if now_s > first.at_s + 43_200.0 {
                self.judge();
            }
            if self.rebalances {
                self.move_some(now_s);
            }
        }
        self.outcome.seconds = now_s - first.at_s;
        self.outcome
    }

    /// What hosts are charged for who is there now.
    fn charge(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.used = Amounts::NOTHING);
        for guest in &self.guests {
            if let Some(host) = guest.vm.host {
                let used = &mut self.hosts[number_of(host)].used;
                *used = used.plus(guest.vm.demand);
            }
        }
        for (number, host) in (0..).zip(&self.hosts) {
            self.index.set_used(HostIndex(number), host.used);
        }
    }

    fn arrive(&mut self, number: usize, arrival: &Arrival) {
        let mut guest = guest(number, arrival);
        let Some(found) = self.index.cheapest_for(&guest.vm.demand, |_| Some(0.0)) else { return };
        self.index.charge(found.host, &guest.vm.demand);
        let host = &mut self.hosts[usize::try_from(found.host.0).unwrap_or(0)];
        host.used = host.used.plus(guest.vm.demand);
        guest.vm.host = Some(host.id);
        self.guests.push(guest);
    }

    fn live(&mut self, now_s: f64) {
        for guest in &mut self.guests {
            guest.live(now_s);
            guest.measured(now_s);
        }
        self.outcome.vm_days += self.guests.len() as f64 * STEP_S / 86_400.0;
    }

    /// Which hosts are asked for more than they have.
    fn judge(&mut self) {
        let mut real = vec![Amounts::NOTHING; self.hosts.len()];
        for guest in &self.guests {
            if let Some(host) = guest.vm.host {
                real[number_of(host)] = real[number_of(host)].plus(guest.now);
            }
        }
        for (real, host) in real.iter().zip(&self.hosts) {
            let over = |r: Resource| real[r] > host.capacity[r];
            self.outcome.samples += 1.0;
            if over(Resource::Cpu) || over(Resource::DiskBandwidth) {
                self.outcome.overloaded += 1.0;
            }
        }
    }

    fn move_some(&mut self, now_s: f64) {
        self.charge();
        let vms = self.guests.iter().map(|guest| guest.vm.clone()).collect();
        let pool = Pool { hosts: self.hosts.clone(), vms, groups: Vec::new() };
        let plan = rebalance(&pool, &self.model, &LIMITS);
        for step in &plan.steps {
            let Some(guest) = self.guests.iter_mut().find(|guest| guest.vm.id == step.vm) else {
                continue;
            };
            let came_back = guest
                .left
                .iter()
                .any(|(host, at)| *host == step.to && now_s - at < LIMITS.cool_down_s as f64);
            self.outcome.returns += f64::from(u8::from(came_back && !step.is_temporary));
            guest.left.push((step.from, now_s));
            guest.vm.host = Some(step.to);
            guest.moved_s = Some(now_s);
            self.outcome.moves += 1.0;
            self.outcome.moved_gib += guest.vm.mobility.memory_bytes as f64 / 1.074e9;
        }
    }
}

fn number_of(host: HostId) -> usize {
    let bytes = host.bytes();
    let low = bytes[8..].try_into().map_or(0, u64::from_be_bytes);
    usize::try_from(low).unwrap_or(0)
}

fn capacity() -> Amounts {
    Amounts::UNCOUNTED
        .with(Resource::Vcpus, whole(VCPUS * OVERCOMMIT))
        .with(Resource::Memory, whole(MEMORY_MIB * OVERCOMMIT) * 1024)
        .with(Resource::Cpu, whole(VCPUS * 1000.0))
        .with(Resource::DiskBandwidth, whole(DISK * 1e6))
}

fn guest(number: usize, arrival: &Arrival) -> Guest {
    let mut rng = StdRng::seed_from_u64(SEED + number as u64);
    let vcpus = f64::from(arrival.vcpus);
    let level = (CPU_SIGMA * normal(&mut rng) - CPU_SIGMA * CPU_SIGMA / 2.0).exp();
    // A third of the trace's disk demand, since three times as many VMs share a host.
    let levels = [(1000.0 * vcpus * CPU_MEAN * level), arrival.real[0] * 1e6 / OVERCOMMIT];
    let hard = Amounts::NOTHING
        .with(Resource::Vcpus, u64::from(arrival.vcpus))
        .with(Resource::Memory, arrival.memory_mib * 1024);
    let class = Amounts::NOTHING
        .with(Resource::Cpu, whole(1000.0 * vcpus * CPU_MEAN))
        .with(Resource::DiskBandwidth, whole(arrival.class[0] * 1e6 / OVERCOMMIT));
    let known = Known { promised: hard, class: Some(class), ..Known::default() };
    let vm = Vm {
        id: VmId::from_bytes(id(number)),
        name: format!("vm{number}"),
        demand: demand(&known, whole(arrival.at_s)).amounts,
        host: None,
        needs: Needs { vcpus: arrival.vcpus, ..Needs::default() },
        image: None,
        mobility: Mobility {
            is_movable: true,
            memory_bytes: arrival.memory_mib << 20,
            dirty_bytes_per_s: 0,
            stands: false,
            moved_s_ago: None,
        },
    };
    Guest {
        vm,
        leaves_s: arrival.at_s + arrival.life_s,
        levels,
        phase: 0.15 * normal(&mut rng),
        noise: [normal(&mut rng), normal(&mut rng)],
        known,
        moved_s: None,
        left: Vec::new(),
        now: Amounts::NOTHING,
        rng: StdRng::seed_from_u64(rng.random()),
    }
}
