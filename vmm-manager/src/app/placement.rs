//! From the state to the scheduler's problem.

use std::collections::BTreeSet;

use tokio::time::Instant;
use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::{
    Amounts, Candidate, Decision, Features, Host, Mobility, Needs, Pool, Resource, Vm, place,
};
use vmm_core::units::{Kib, MilliCpu};
use vmm_core::vm::{VmSpec, overhead};
use vmm_proto::v1::{Fault, FaultCode};

use super::state::State;
use crate::store::Charge;

/// What a vCPU is assumed to use when the specification does not say.
const CPU_DEMAND_PER_VCPU: MilliCpu = MilliCpu(100);
/// What a host's link is assumed to carry: a gigabit.
const LINK_BYTES_PER_S: u64 = 125_000_000;

/// What a VM is charged that is told to have `target` of memory and `vcpus` online. Never less than its memory at boot: a guest
/// that reboots takes that again, and asks nobody.
pub(crate) fn charge_of(spec: &VmSpec, target: Kib, vcpus: u32, running: bool) -> Charge {
    let assumed = MilliCpu(CPU_DEMAND_PER_VCPU.0.saturating_mul(u64::from(vcpus)));
    let cpu = if spec.demand.cpu == MilliCpu::ZERO { assumed } else { spec.demand.cpu };
    Charge {
        cpu_milli: cpu.0,
        memory_kib: (target.max(spec.memory) + overhead(spec)).0,
        disk_bytes_per_s: spec.demand.disk.0,
        running,
    }
}

impl State {
    /// Where a VM costs least; on one host or not at all, when `only` names it.
    pub(crate) fn decide(
        &self,
        (vm, spec): (Option<VmId>, &VmSpec),
        charge: Charge,
        only: Option<HostId>,
    ) -> Decision {
        let hosts = self.hosts.values();
        let hosts = hosts.filter(|host| only.is_none_or(|only| host.record.id == only));
        let hosts: Vec<Host> = hosts.map(|host| scheduled(host, Instant::now())).collect();
        let shares_disk = |host: &&Host| self.has_disk_of(host.id, vm, spec);
        let needs = Needs {
            vcpus: spec.vcpus,
            disks_in_use: hosts.iter().filter(shares_disk).map(|host| host.id).collect(),
            ..Needs::default()
        };
        let vm = Vm {
            id: vm.unwrap_or(VmId::from_bytes([0; 16])),
            name: spec.name.as_str().to_owned(),
            demand: demand_of(charge),
            host: None,
            needs,
            image: None,
            mobility: Mobility::default(),
        };
        place(&Pool { hosts, ..Pool::default() }, &vm, &self.cost_model)
    }
}

fn demand_of(charge: Charge) -> Amounts {
    Amounts::NOTHING
        .with(Resource::Cpu, charge.cpu_milli)
        .with(Resource::Memory, charge.memory_kib)
        .with(Resource::DiskBandwidth, charge.disk_bytes_per_s)
}

/// A host as the scheduler sees it.
fn scheduled(host: &super::state::Host, now: Instant) -> Host {
    let (capacity, reserved) = (host.ledger.capacity(), host.ledger.reserved());
    let load = host.load.unwrap_or_default();
    // The lesser of what is not reserved and what Xen has free: domains that are not ours use memory too.
    let memory_left = capacity.memory.saturating_sub(reserved.memory).min(load.memory_free);
    Host {
        id: host.record.id,
        name: host.record.name.clone(),
        health: host.health(now),
        maintenance: host.record.maintenance,
        zone: String::new(),
        pcpus: u32::try_from(capacity.cpu.0 / 1000).unwrap_or(u32::MAX),
        features: Features::default(),
        storages: BTreeSet::new(),
        images: BTreeSet::new(),
        capacity: Amounts::UNCOUNTED
            .with(Resource::Cpu, capacity.cpu.0)
            .with(Resource::Memory, capacity.memory.0)
            .with(Resource::DiskBandwidth, capacity.disk.0),
        // Charged is the greater of what was promised and what is measured: a VM that was just placed does not show yet.
        used: Amounts::NOTHING
            .with(Resource::Cpu, reserved.cpu.max(load.cpu).0)
            .with(Resource::Memory, capacity.memory.saturating_sub(memory_left).0)
            .with(Resource::DiskBandwidth, reserved.disk.max(load.disk).0),
        link_bytes_per_s: LINK_BYTES_PER_S,
    }
}

/// Says why no host can take it, host by host.
pub(crate) fn no_capacity(decision: &Decision) -> Fault {
    let reason = |c: &Candidate| format!("{} ({})", c.name, decision.reason(c));
    let reasons: Vec<String> = decision.candidates.iter().map(reason).collect();
    let message = if reasons.is_empty() {
        "there is no host in the pool; add one with `vmmctl host add`".to_owned()
    } else {
        format!("no host can take the VM: {}", reasons.join("; "))
    };
    Fault::new(FaultCode::NoCapacity, message)
}
