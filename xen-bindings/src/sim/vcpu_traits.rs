//! vCPUs and their scheduler on the machine.

use std::collections::BTreeSet;

use super::domain::Vcpu;
use super::handle::Handle;
use super::machine::State;
use super::ops::Op;
use crate::control::GuestKind;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::vcpu::{Affinity, Credit2, Shell, VcpuControl, VcpuInfo, VcpulessDomain};

impl VcpuControl for Handle {
    fn allocate(&self, domain: VcpulessDomain) -> Result<Shell, XenError> {
        let domid = domain.domid();
        self.xen(Op::VcpuAllocate, Some(domid), |state| state.hypervisor.allocate_vcpus(domid))?;
        Ok(domain.into_shell())
    }

    fn reclaim(&self, domid: DomId, kind: GuestKind, vcpus_max: u32) -> Result<Shell, XenError> {
        self.xen(Op::VcpuReclaim, Some(domid), |state| {
            let domain = state.hypervisor.get(domid)?;
            let untouched = !domain.built && !domain.has_run && domain.pages == 0;
            let alike = domain.kind == kind && u32::try_from(domain.vcpus.len()) == Ok(vcpus_max);
            let paused = domain.pauses > 0 && domain.shutdown.is_none() && !domain.dying;
            if untouched && alike && paused { Ok(()) } else { Err(XenErrorKind::Invalid) }
        })?;
        Ok(VcpulessDomain::new(domid, kind, vcpus_max).into_shell())
    }

    fn affinity(&self, domid: DomId, vcpu_index: u32) -> Result<Affinity, XenError> {
        self.xen(Op::AffinityGet, Some(domid), |state| {
            vcpu_mut(state, domid, vcpu_index).map(|vcpu| vcpu.affinity.clone())
        })
    }

    fn set_affinity(
        &self,
        domid: DomId,
        vcpu_index: u32,
        affinity: &Affinity,
    ) -> Result<(), XenError> {
        self.xen(Op::AffinitySet, Some(domid), |state| {
            let pcpus = state.hypervisor.pcpus;
            let vcpu = vcpu_mut(state, domid, vcpu_index)?;
            let (hard, soft) = (existing(&affinity.hard, pcpus), existing(&affinity.soft, pcpus));
            if hard.is_empty() && !affinity.hard.is_empty() {
                return Err(XenErrorKind::Invalid);
            }
            vcpu.affinity = Affinity { hard: whole(hard, pcpus), soft: whole(soft, pcpus) };
            Ok(())
        })
    }

    fn info(&self, domid: DomId, vcpu_index: u32) -> Result<VcpuInfo, XenError> {
        self.xen(Op::VcpuInfo, Some(domid), |state| {
            let pcpus = state.hypervisor.pcpus;
            let domain = state.hypervisor.get(domid)?;
            let vcpu = usize::try_from(vcpu_index).ok().and_then(|i| domain.vcpus.get(i));
            let vcpu = vcpu.ok_or(XenErrorKind::NoSuchDomain)?;
            let before = domain.vcpus.iter().take(vcpu_index as usize).filter(|v| v.online).count();
            let busy = domain.runs() && vcpu.online && before < domain.busy_vcpus as usize;
            Ok(VcpuInfo {
                online: vcpu.online,
                blocked: vcpu.online && !busy,
                running: busy,
                cpu_time_ns: vcpu.cpu_time_ns,
                pcpu_index: place(vcpu_index, &vcpu.affinity, pcpus),
            })
        })
    }

    fn credit2(&self, domid: DomId) -> Result<Credit2, XenError> {
        self.xen(Op::Credit2Get, Some(domid), |state| Ok(state.hypervisor.get(domid)?.credit2))
    }

    fn set_credit2(&self, domid: DomId, parameters: Credit2) -> Result<(), XenError> {
        self.xen(Op::Credit2Set, Some(domid), |state| {
            let domain = state.hypervisor.get_mut(domid)?;
            if parameters.weight == 0 {
                return Err(XenErrorKind::Invalid);
            }
            domain.credit2 = parameters;
            Ok(())
        })
    }
}

fn vcpu_mut(state: &mut State, domid: DomId, index: u32) -> Result<&mut Vcpu, XenErrorKind> {
    let vcpus = &mut state.hypervisor.get_mut(domid)?.vcpus;
    vcpus.get_mut(index as usize).ok_or(XenErrorKind::NoSuchDomain)
}

/// Bits above the number of CPUs are cut off.
fn existing(wanted: &[u32], pcpus: u32) -> Vec<u32> {
    let set: BTreeSet<u32> = wanted.iter().copied().filter(|cpu| *cpu < pcpus).collect();
    set.into_iter().collect()
}

/// All CPUs are told as none.
fn whole(cpus: Vec<u32>, pcpus: u32) -> Vec<u32> {
    if u32::try_from(cpus.len()) == Ok(pcpus) { Vec::new() } else { cpus }
}

/// Where a vCPU runs, when it does.
fn place(index: u32, affinity: &Affinity, pcpus: u32) -> u32 {
    let within = |cpus: &[u32]| {
        let at = index as usize % cpus.len().max(1);
        cpus.get(at).copied()
    };
    within(&affinity.hard).unwrap_or(index % pcpus.max(1))
}
