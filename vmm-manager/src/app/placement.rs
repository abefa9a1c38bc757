//! From the state to the scheduler's problem.

use tokio::time::Instant;
use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::{Decision, HostView, Request, place};
use vmm_core::units::{BytesPerSecond, Kib, MilliCpu};
use vmm_core::vm::{VmSpec, overhead};
use vmm_proto::v1::{Fault, FaultCode};

use super::state::State;
use crate::store::Charge;

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

impl State {
    /// Where a VM costs least; on one host or not at all, when `only` names it.
    pub(crate) fn decide(
        &self,
        (vm, spec): (Option<VmId>, &VmSpec),
        charge: Charge,
        only: Option<HostId>,
    ) -> Decision {
        let now = Instant::now();
        let request = Request {
            vcpus: spec.vcpus,
            memory: Kib(charge.memory_kib),
            cpu: MilliCpu(charge.cpu_milli),
            disk: BytesPerSecond(charge.disk_bytes_per_s),
        };
        let views: Vec<HostView> = self
            .hosts
            .values()
            .filter(|host| only.is_none_or(|only| host.record.id == only))
            .map(|host| HostView {
                id: host.record.id,
                name: host.record.name.clone(),
                health: host.health(now),
                maintenance: host.record.maintenance,
                disk_in_use: self.has_disk_of(host.record.id, vm, spec),
                capacity: host.ledger.capacity(),
                reserved: host.ledger.reserved(),
                load: host.load.unwrap_or_default(),
            })
            .collect();
        place(&request, &views)
    }
}

/// Says why no host can take it, host by host.
pub(crate) fn no_capacity(decision: &Decision) -> Fault {
    let reasons: Vec<String> =
        decision.candidates.iter().map(|c| format!("{} ({})", c.name, c.reason)).collect();
    let message = if reasons.is_empty() {
        "there is no host in the pool; add one with `vmmctl host add`".to_owned()
    } else {
        format!("no host can take the VM: {}", reasons.join("; "))
    };
    Fault::new(FaultCode::NoCapacity, message)
}
