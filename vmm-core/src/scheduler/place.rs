//! Rules first, then cost, then the decision with all its reasons.

use std::fmt;

use super::cost::{CostTerms, opportunity};
use crate::host::{Health, HostCapacity, HostLoad, Reservation};
use crate::id::HostId;
use crate::units::{BytesPerSecond, Kib, MilliCpu};

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// vCPUs that it starts with. Spare ones cost nothing until somebody brings them online.
    pub vcpus: u32,
    /// Memory that is reserved for it, overhead included.
    pub memory: Kib,
    /// Processor time that it is expected to use.
    pub cpu: MilliCpu,
    /// Disk throughput that it is expected to use.
    pub disk: BytesPerSecond,
}

/// A host as the scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Which.
    pub id: HostId,
    /// Its name, for people and for a stable order among equals.
    pub name: String,
    /// Is it heard?
    pub health: Health,
    /// Placements are switched off.
    pub maintenance: bool,
    /// A VM on it uses a disk that this one needs.
    pub disk_in_use: bool,
    /// What it has.
    pub capacity: HostCapacity,
    /// What is reserved on it.
    pub reserved: Reservation,
    /// What it was measured to use.
    pub load: HostLoad,
}

/// Why a host cannot take the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not heard since the manager started.
    NotHeardYet,
    /// Silent for too long.
    Silent,
    /// Switched off for placements.
    Maintenance,
    /// A disk of the VM is in use there: two writers would destroy it.
    DiskInUse,
    /// Not enough memory left.
    Memory {
        /// What it needs.
        needed: Kib,
        /// What is left.
        free: Kib,
    },
    /// More vCPUs at the start than the host has processors: they would wait for each other.
    Vcpus {
        /// What it needs.
        needed: u32,
        /// Processors of the host.
        pcpus: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeardYet => f.write_str("has not reported yet"),
            Self::Silent => f.write_str("is silent: no heartbeat"),
            Self::Maintenance => f.write_str("is in maintenance"),
            Self::DiskInUse => f.write_str("has a VM that uses a disk of this one"),
            Self::Memory { needed, free } => {
                write!(f, "memory: needs {} MiB, {} MiB left", needed.0.div_ceil(1024), free.mib())
            }
            Self::Vcpus { needed, pcpus } => {
                write!(f, "vCPUs: needs {needed}, the host has {pcpus} processors")
            }
        }
    }
}

/// What became of one host.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It could take the VM, at this cost.
    Eligible(CostTerms),
    /// It cannot.
    Refused(Refusal),
}

/// One host's part in the decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which host.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// In words: why it won or lost.
    pub reason: String,
}

/// Where the VM goes, and why not elsewhere. The winner comes first, then by cost, then the refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The winner; `None` when no host can take it.
    pub chosen: Option<HostId>,
    /// All hosts.
    pub candidates: Vec<Candidate>,
}

/// Decides.
#[must_use]
pub fn place(request: &Request, hosts: &[HostView]) -> Decision {
    let mut candidates: Vec<Candidate> = hosts.iter().map(|host| judge(request, host)).collect();
    candidates.sort_by(|a, b| rank(a).total_cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
    explain(&mut candidates);
    let chosen = candidates
        .first()
        .filter(|first| matches!(first.verdict, Verdict::Eligible(_)))
        .map(|first| first.host);
    Decision { chosen, candidates }
}

fn judge(request: &Request, host: &HostView) -> Candidate {
    let verdict = match refuse(request, host) {
        Some(refusal) => Verdict::Refused(refusal),
        None => Verdict::Eligible(cost(request, host)),
    };
    Candidate { host: host.id, name: host.name.clone(), verdict, reason: String::new() }
}

fn refuse(request: &Request, host: &HostView) -> Option<Refusal> {
    match host.health {
        Health::Unknown => return Some(Refusal::NotHeardYet),
        Health::Silent => return Some(Refusal::Silent),
        Health::Up => {}
    }
    if host.maintenance {
        return Some(Refusal::Maintenance);
    }
    if host.disk_in_use {
        return Some(Refusal::DiskInUse);
    }
    let pcpus = host.capacity.cpu.0 / 1000;
    if u64::from(request.vcpus) > pcpus {
        return Some(Refusal::Vcpus { needed: request.vcpus, pcpus });
    }
    let free = memory_left(host);
    (request.memory > free).then_some(Refusal::Memory { needed: request.memory, free })
}

/// The lesser of what is not reserved and what Xen has free: domains that are not ours use memory too.
fn memory_left(host: &HostView) -> Kib {
    host.capacity.memory.saturating_sub(host.reserved.memory).min(host.load.memory_free)
}

fn cost(request: &Request, host: &HostView) -> CostTerms {
    let capacity = &host.capacity;
    // Charged is the greater of what was promised and what is measured: a VM that was just placed does not show yet.
    let cpu = host.reserved.cpu.max(host.load.cpu);
    let disk = host.reserved.disk.max(host.load.disk);
    let memory = capacity.memory.saturating_sub(memory_left(host));
    CostTerms {
        cpu: opportunity(cpu.share_of(capacity.cpu), request.cpu.share_of(capacity.cpu)),
        memory: opportunity(
            memory.share_of(capacity.memory),
            request.memory.share_of(capacity.memory),
        ),
        disk_io: opportunity(disk.share_of(capacity.disk), request.disk.share_of(capacity.disk)),
    }
}

fn rank(candidate: &Candidate) -> f64 {
    match &candidate.verdict {
        Verdict::Eligible(terms) => terms.total(),
        Verdict::Refused(_) => f64::INFINITY,
    }
}

fn explain(candidates: &mut [Candidate]) {
    let best = candidates.first().and_then(|first| match &first.verdict {
        Verdict::Eligible(terms) => Some((first.name.clone(), *terms)),
        Verdict::Refused(_) => None,
    });
    for (index, candidate) in candidates.iter_mut().enumerate() {
        candidate.reason = match (&candidate.verdict, &best) {
            (Verdict::Refused(refusal), _) => refusal.to_string(),
            (Verdict::Eligible(_), _) if index == 0 => "lowest cost".into(),
            (Verdict::Eligible(terms), Some((name, best))) => {
                format!(
                    "{} more than {name}, mostly {}",
                    figure(terms.total() - best.total()),
                    worst_gap(terms, best)
                )
            }
            (Verdict::Eligible(_), None) => String::new(),
        };
    }
}

fn figure(cost: f64) -> String {
    format!("{cost:.3}")
}

fn worst_gap(terms: &CostTerms, best: &CostTerms) -> &'static str {
    CostTerms {
        cpu: terms.cpu - best.cpu,
        memory: terms.memory - best.memory,
        disk_io: terms.disk_io - best.disk_io,
    }
    .dominant()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::ReservationReason;

    fn host(n: u8, cpu_busy: u64, memory_used_mib: u64, disk_busy: u64) -> HostView {
        HostView {
            id: HostId::from_bytes([n; 16]),
            name: format!("host{n}"),
            health: Health::Up,
            maintenance: false,
            disk_in_use: false,
            capacity: HostCapacity {
                cpu: MilliCpu::from_cpus(4),
                memory: Kib::from_mib(4096),
                disk: BytesPerSecond(100_000_000),
            },
            reserved: Reservation {
                cpu: MilliCpu(cpu_busy),
                memory: Kib::from_mib(memory_used_mib),
                disk: BytesPerSecond(disk_busy),
                reason: ReservationReason::Running,
            },
            load: HostLoad {
                shell_count: 0,
                shell_memory: Kib::ZERO,
                memory_free: Kib::from_mib(4096 - memory_used_mib),
                ..HostLoad::default()
            },
        }
    }

    fn request(cpu: u64, memory_mib: u64, disk: u64) -> Request {
        Request {
            vcpus: 2,
            memory: Kib::from_mib(memory_mib),
            cpu: MilliCpu(cpu),
            disk: BytesPerSecond(disk),
        }
    }

    fn check(request: Request, hosts: &[HostView], winner: Option<u8>) {
        let decision = place(&request, hosts);
        assert_eq!(decision.chosen, winner.map(|n| HostId::from_bytes([n; 16])), "{decision:#?}");
    }

    #[test]
    fn each_resource_alone_can_decide() {
        check(request(500, 128, 0), &[host(1, 3000, 0, 0), host(2, 0, 0, 0)], Some(2));
        check(request(0, 512, 0), &[host(1, 0, 100, 0), host(2, 0, 3000, 0)], Some(1));
        check(request(0, 128, 20_000_000), &[host(1, 0, 0, 80_000_000), host(2, 0, 0, 0)], Some(2));
    }

    #[test]
    fn a_host_that_is_busy_in_what_the_vm_does_not_need_can_win() {
        let (busy_cpu, busy_disk) = (host(1, 3000, 0, 0), host(2, 0, 0, 80_000_000));
        check(request(0, 128, 20_000_000), &[busy_cpu.clone(), busy_disk.clone()], Some(1));
        check(request(900, 128, 0), &[busy_cpu, busy_disk], Some(2));
    }

    #[test]
    fn hosts_that_cannot_take_it_are_named_with_the_reason() {
        let silent = HostView { health: Health::Silent, ..host(1, 0, 0, 0) };
        let full = host(2, 0, 4090, 0);
        let shared = HostView { disk_in_use: true, ..host(3, 0, 0, 0) };
        let decision = place(&request(0, 128, 0), &[silent, full, shared]);
        assert_eq!(decision.chosen, None);
        let reasons: Vec<_> = decision.candidates.iter().map(|c| c.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "is silent: no heartbeat",
                "memory: needs 128 MiB, 6 MiB left",
                "has a VM that uses a disk of this one"
            ]
        );
    }

    #[test]
    fn the_loser_is_told_why() {
        let decision = place(&request(500, 128, 0), &[host(1, 3000, 0, 0), host(2, 0, 0, 0)]);
        assert_eq!(decision.candidates[0].reason, "lowest cost");
        assert!(decision.candidates[1].reason.ends_with("more than host2, mostly cpu"));
    }

    proptest! {
        #[test]
        fn the_order_of_hosts_does_not_matter(
            loads in proptest::collection::vec((0u64..6000, 0u64..4096, 0u64..200_000_000), 1..8),
            demand in (0u64..4000, 1u64..4096, 0u64..100_000_000),
        ) {
            let mut hosts: Vec<HostView> = (0u8..).zip(&loads).map(|(n, l)| host(n, l.0, l.1, l.2)).collect();
            let request = request(demand.0, demand.1, demand.2);
            let forward = place(&request, &hosts);
            hosts.reverse();
            prop_assert_eq!(&forward, &place(&request, &hosts));
            if let Some(chosen) = forward.chosen {
                let host = hosts.iter().find(|h| h.id == chosen).expect("a host of the problem");
                prop_assert!(request.memory <= memory_left(host));
            }
        }
    }
}
