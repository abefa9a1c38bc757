//! The hypervisor's traits on the machine.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::handle::{Handle, POWER_LOST};
use super::image;
use super::machine::State;
use super::ops::Op;
use super::saved_stream;
use super::timeline::Event;
use crate::control::{DomainConfig, DomainControl, DomainInfo, GuestKind, ShutdownReason};
use crate::domid::{DomId, DomainHandle};
use crate::error::{XenError, XenErrorKind};
use crate::evtchn::{EventChannels, Port};
use crate::guest_image::{BuildSpec, BuiltGuest, GuestImage, RestoreSpec, SavePilot};
use crate::host::{HostInfo, PcpuTime, Physinfo, XenVersion};
use crate::memory::DomainMemory;
use crate::shared_ring::{GrantRef, RingCounters, SharedRings};
use crate::vcpu::{Shell, VcpulessDomain};

use super::hypervisor::PAGE_KIB;

/// A dying domain is listed for this long at least and at most.
const RELEASE_MS: (u64, u64) = (5, 200);
const CPU_KHZ: u32 = 2_400_000;

impl DomainControl for Handle {
    fn create(&self, config: &DomainConfig) -> Result<VcpulessDomain, XenError> {
        let domid = self.xen(Op::DomainCreate, None, |state| state.hypervisor.create(config))?;
        Ok(VcpulessDomain::new(domid, config.kind, config.vcpus_max))
    }

    fn apply_cpu_policy(&self, shell: &Shell) -> Result<(), XenError> {
        let domid = shell.domid();
        self.xen(Op::CpuPolicy, Some(domid), |state| match state.hypervisor.get(domid)?.has_run {
            // EEXIST, as Xen has it.
            true => Err(XenErrorKind::Exists),
            false => Ok(()),
        })
    }

    fn pause(&self, domid: DomId) -> Result<(), XenError> {
        self.xen(Op::DomainPause, Some(domid), |state| {
            state.settle_guest(domid.get());
            state.hypervisor.other_mut(domid)?.pauses += 1;
            Ok(())
        })
    }

    fn unpause(&self, domid: DomId) -> Result<(), XenError> {
        self.xen(Op::DomainUnpause, Some(domid), |state| {
            let domain = state.hypervisor.other_mut(domid)?;
            domain.pauses = domain.pauses.checked_sub(1).ok_or(XenErrorKind::Invalid)?;
            if domain.pauses == 0 {
                domain.has_run = true;
                state.resume_guest(domid.get());
            }
            Ok(())
        })
    }

    fn shutdown(&self, domid: DomId, reason: ShutdownReason) -> Result<(), XenError> {
        self.xen(Op::DomainShutdown, Some(domid), |state| {
            state.hypervisor.other_mut(domid)?;
            state.guest_shutdown(domid, reason);
            Ok(())
        })
    }

    fn set_handle(&self, domid: DomId, handle: DomainHandle) -> Result<(), XenError> {
        self.xen(Op::DomainSetHandle, Some(domid), |state| {
            state.hypervisor.other_mut(domid)?.handle = handle;
            Ok(())
        })
    }

    fn resume(&self, domid: DomId) -> Result<(), XenError> {
        self.xen(Op::DomainResume, Some(domid), |state| {
            state.settle_guest(domid.get());
            state.hypervisor.resume(domid)?;
            state.wake_up_suspended(domid.get());
            Ok(())
        })
    }

    fn destroy(&self, domid: DomId) -> Result<(), XenError> {
        self.xen(Op::DomainDestroy, Some(domid), |state| {
            state.settle_guest(domid.get());
            if state.hypervisor.start_dying(domid)? {
                let delay = state.rng.between(RELEASE_MS.0, RELEASE_MS.1);
                state.schedule_in(Event::Release(domid.get()), Duration::from_millis(delay));
            }
            Ok(())
        })
    }

    fn list(&self) -> Result<Vec<DomainInfo>, XenError> {
        self.xen(Op::DomainList, None, |state| Ok(state.hypervisor.list()))
    }

    fn info(&self, domid: DomId) -> Result<Option<DomainInfo>, XenError> {
        self.xen(Op::DomainInfo, Some(domid), |state| Ok(state.hypervisor.info(domid)))
    }
}

impl DomainMemory for Handle {
    fn set_max(&self, domid: DomId, memory_max_kib: u64) -> Result<(), XenError> {
        self.xen(Op::MemorySetMax, Some(domid), |state| {
            state.hypervisor.get_mut(domid)?.memory_max_kib = memory_max_kib;
            Ok(())
        })
    }

    fn set_paging_pool(&self, domid: DomId, bytes: u64) -> Result<(), XenError> {
        self.xen(Op::MemoryPagingPool, Some(domid), |state| state.hypervisor.set_pool(domid, bytes))
    }

    fn set_memory_map_limit(&self, shell: &Shell, _memory_max_kib: u64) -> Result<(), XenError> {
        let domid = shell.domid();
        self.xen(Op::MemoryMapLimit, Some(domid), |state| state.hypervisor.get(domid).map(|_| ()))
    }

    fn claim(&self, domid: DomId, memory_kib: u64) -> Result<(), XenError> {
        let pages = memory_kib.div_ceil(PAGE_KIB);
        self.xen(Op::MemoryClaim, Some(domid), |state| state.hypervisor.claim(domid, pages))
    }

    fn set_pod_target(&self, domid: DomId, target_kib: u64) -> Result<(), XenError> {
        self.xen(Op::MemoryPodTarget, Some(domid), |state| set_pod_target(state, domid, target_kib))
    }
}

/// Only a guest that has not yet ballooned down to its target has anything left to populate on demand.
fn set_pod_target(state: &mut State, domid: DomId, target_kib: u64) -> Result<(), XenErrorKind> {
    let domain = state.hypervisor.get(domid)?;
    if domain.kind == GuestKind::Pv {
        return Ok(());
    }
    if target_kib > domain.memory_max_kib {
        return Err(XenErrorKind::Invalid);
    }
    if !domain.pod || domain.dying {
        return Ok(());
    }
    let wanted = target_kib / PAGE_KIB + domain.special_pages;
    if state.hypervisor.resize(domid, wanted)? < wanted {
        return Err(XenErrorKind::OutOfMemory);
    }
    Ok(())
}

impl HostInfo for Handle {
    fn physinfo(&self) -> Result<Physinfo, XenError> {
        self.xen(Op::HostPhysinfo, None, |state| {
            let hypervisor = &state.hypervisor;
            Ok(Physinfo {
                pcpus: hypervisor.pcpus,
                nodes: 1,
                cpu_khz: CPU_KHZ,
                memory_total_kib: hypervisor.memory.total() * PAGE_KIB,
                memory_free_kib: hypervisor.memory.free() * PAGE_KIB,
                memory_scrub_kib: 0,
                memory_claimed_kib: hypervisor.memory.claimed() * PAGE_KIB,
                hvm: hypervisor.hvm(),
                hap: hypervisor.hvm(),
                shadow: hypervisor.shadow(),
            })
        })
    }

    fn pcpu_times(&self) -> Result<Vec<PcpuTime>, XenError> {
        self.xen(Op::HostPcpuTimes, None, |state| {
            let idle_ns = state.hypervisor.idle_ns_each();
            Ok((0..state.hypervisor.pcpus).map(|_| PcpuTime { idle_ns }).collect())
        })
    }

    fn version(&self) -> Result<XenVersion, XenError> {
        self.xen(Op::HostVersion, None, |_| {
            Ok(XenVersion {
                major: 4,
                minor: 17,
                extra: ".7-sim".into(),
                capabilities: "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64".into(),
            })
        })
    }
}

impl EventChannels for Handle {
    fn alloc_unbound(&self, domid: DomId, _remote: DomId) -> Result<Port, XenError> {
        self.xen(Op::EvtchnAlloc, Some(domid), |state| state.hypervisor.alloc_port(domid).map(Port))
    }
}

impl SharedRings for Handle {
    fn ring_counters(&self, domid: DomId, grant: GrantRef) -> Result<RingCounters, XenError> {
        self.xen(Op::RingCounters, Some(domid), |state| {
            state.hypervisor.get(domid)?;
            state.ring_counters(domid, grant.0).ok_or(XenErrorKind::Invalid)
        })
    }
}

impl GuestImage for Handle {
    fn build(&self, shell: &Shell, spec: &BuildSpec) -> Result<BuiltGuest, XenError> {
        let domid = shell.domid();
        let op = Op::GuestBuild;
        self.admit(op, Some(domid), None).map_err(|fault| fault.into_xen(op).domain(domid))?;
        let files = image::read(spec).map_err(|error| error.domain(domid))?;
        self.inner.with(|state| {
            if state.epoch != self.epoch {
                return Err(XenError::new(op.name(), POWER_LOST).domain(domid));
            }
            image::build(state, shell, spec, &files)
        })
    }

    fn save(&self, domid: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError> {
        let op = Op::GuestSave;
        let snapshot = self.xen(op, Some(domid), |state| state.snapshot(domid))?;
        saved_stream::write(&snapshot, stream)
            .map_err(|kind| XenError::new(op.name(), kind).domain(domid))
    }

    fn save_live(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        let op = Op::GuestSaveLive;
        self.admit(op, Some(domid), None).map_err(|fault| fault.into_xen(op).domain(domid))?;
        self.save_live_stream(domid, stream, pilot)
    }

    fn restore(
        &self,
        shell: &Shell,
        stream: BorrowedFd<'_>,
        _: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError> {
        let (op, domid) = (Op::GuestRestore, shell.domid());
        self.admit(op, Some(domid), None).map_err(|fault| fault.into_xen(op).domain(domid))?;
        self.restore_stream(shell, stream)
    }
}
