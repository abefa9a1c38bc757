//! Where a VM is put, what it is charged, and what was decided.

use tokio::time::Instant;
use vmm_core::id::{HostId, TaskId};
use vmm_core::scheduler::record::{Question, Record};
use vmm_core::scheduler::{Candidate, Decision, Mobility, Needs, Pool, Vm, place};
use vmm_core::units::{Kib, MilliCpu};
use vmm_core::vm::{VmSpec, overhead};
use vmm_proto::v1::{Fault, FaultCode};

use super::decisions::Made;
use super::state::State;
use crate::store::{Charge, VmRecord};

/// What a vCPU is assumed to use when the specification does not say.
const CPU_DEMAND_PER_VCPU: MilliCpu = MilliCpu(100);

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

/// A VM that is to be put on a host.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer<'a> {
    pub(crate) record: &'a VmRecord,
    /// Of the record, checked.
    pub(crate) spec: &'a VmSpec,
    pub(crate) charge: Charge,
    /// The pool that it must be in, by name.
    pub(crate) zone: Option<String>,
}

/// A decision, and what it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) record: Record,
}

impl Decided {
    /// Where to, or why nowhere.
    fn answer(&self) -> String {
        let chosen = self.decision.candidates.iter().find(|c| Some(c.host) == self.decision.chosen);
        match chosen {
            Some(chosen) => format!("to {}", chosen.name),
            None => no_capacity(&self.decision).message,
        }
    }

    /// To be written down, with the task that came of it.
    pub(crate) fn made(self, task: Option<TaskId>) -> Made {
        Made { answer: self.answer(), record: self.record, task, carried: None }
    }
}

impl State {
    /// Where a VM costs least; on one host or not at all, when `only` names it.
    pub(crate) fn decide(&self, newcomer: &Newcomer<'_>, only: Option<HostId>) -> Decided {
        let (mut pool, vms) = self.problem_of(std::slice::from_ref(newcomer));
        pool.hosts.retain(|host| only.is_none_or(|only| host.id == only));
        let question = Question::Place(newcomer.record.id);
        // The newcomer is the first.
        pool.vms.splice(0..0, vms);
        let decision = place(&pool, &pool.vms[0], &self.cost_model);
        let preference = self.cost_model.preference();
        Decided { decision, record: Record { question, preference, pool } }
    }

    /// What it depends on where VMs go, and they as the scheduler weighs them.
    pub(crate) fn problem_of(&self, newcomers: &[Newcomer<'_>]) -> (Pool, Vec<Vm>) {
        let records: Vec<&VmRecord> = newcomers.iter().map(|newcomer| newcomer.record).collect();
        let (groups, vms) = self.scheduled_groups(&records);
        let hosts = self.scheduled_hosts(Instant::now());
        let newcomers = newcomers.iter().map(|newcomer| self.scheduled_newcomer(newcomer));
        (Pool { hosts, vms, groups }, newcomers.collect())
    }

    /// As the scheduler weighs it.
    fn scheduled_newcomer(&self, newcomer: &Newcomer<'_>) -> Vm {
        let Newcomer { record, spec, charge, zone } = newcomer;
        Vm {
            id: record.id,
            name: record.spec.name.clone(),
            demand: self.demand_of_new(&record.spec, *charge, Instant::now()),
            host: None,
            needs: Needs {
                vcpus: spec.vcpus,
                zone: zone.clone(),
                pinned: record.pin.iter().copied().collect(),
                disks_in_use: self.hosts_with_disk_of(record.id, spec),
                ..Needs::default()
            },
            image: None,
            mobility: Mobility::default(),
        }
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
