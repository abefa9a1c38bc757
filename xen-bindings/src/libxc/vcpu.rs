//! vCPUs and credit2.

use xenctrl_sys as xc;

use super::Libxc;
use crate::control::{DomainControl, DomainInfo, GuestKind, RunState};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::vcpu::{Affinity, Credit2, Shell, VcpuControl, VcpuInfo, VcpulessDomain};

const OP_GET_CREDIT2: &str = "sched_credit2_domain_get";
const OP_SET_CREDIT2: &str = "sched_credit2_domain_set";

impl VcpuControl for Libxc {
    fn allocate(&self, domain: VcpulessDomain) -> Result<Shell, XenError> {
        let vcpus_max = domain.vcpus_max();
        self.call_domain("domain_max_vcpus", domain.domid(), |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_max_vcpus(xch, domid, vcpus_max) }
        })?;
        Ok(domain.into_shell())
    }

    fn reclaim(&self, domid: DomId, kind: GuestKind, vcpus_max: u32) -> Result<Shell, XenError> {
        let refused = |kind| XenError::new("vcpu_reclaim", kind).domain(domid);
        let info =
            DomainControl::info(self, domid)?.ok_or_else(|| refused(XenErrorKind::NoSuchDomain))?;
        match why_no_shell(&info, kind, vcpus_max) {
            None => Ok(VcpulessDomain::new(domid, kind, vcpus_max).into_shell()),
            Some(why) => Err(refused(XenErrorKind::Invalid).detail(why)),
        }
    }

    fn affinity(&self, domid: DomId, vcpu_index: u32) -> Result<Affinity, XenError> {
        self.read_affinity(domid, vcpu_index)
    }

    fn set_affinity(
        &self,
        domid: DomId,
        vcpu_index: u32,
        affinity: &Affinity,
    ) -> Result<(), XenError> {
        self.write_affinity(domid, vcpu_index, affinity)
    }

    fn info(&self, domid: DomId, vcpu_index: u32) -> Result<VcpuInfo, XenError> {
        let mut raw = xc::xc_vcpuinfo_t::default();
        self.call_domain("vcpu_getinfo", domid, |xch, domid| {
            // SAFETY: the out-parameter lives through the call.
            unsafe { xc::xc_vcpu_getinfo(xch, domid, vcpu_index, &raw mut raw) }
        })
        .map_err(|error| match error.kind() {
            // Xen's answer to an index above the maximum; a gap below it is ESRCH.
            XenErrorKind::Invalid => error.with_kind(XenErrorKind::NoSuchDomain),
            _ => error,
        })?;
        Ok(VcpuInfo {
            online: raw.online != 0,
            blocked: raw.blocked != 0,
            running: raw.running != 0,
            cpu_time_ns: raw.cpu_time,
            pcpu_index: raw.cpu,
        })
    }

    fn credit2(&self, domid: DomId) -> Result<Credit2, XenError> {
        self.require_credit2(OP_GET_CREDIT2, domid)?;
        let mut raw = xc::xen_domctl_sched_credit2::default();
        self.call_domain(OP_GET_CREDIT2, domid, |xch, domid| {
            // SAFETY: the out-parameter lives through the call.
            unsafe { xc::xc_sched_credit2_domain_get(xch, domid, &raw mut raw) }
        })?;
        Ok(Credit2 { weight: raw.weight, cap_percent: raw.cap })
    }

    fn set_credit2(&self, domid: DomId, parameters: Credit2) -> Result<(), XenError> {
        if parameters.weight == 0 {
            // Xen takes 0 for "leave it as it is".
            return Err(XenError::new(OP_SET_CREDIT2, XenErrorKind::Invalid)
                .domain(domid)
                .detail("weight 0"));
        }
        self.require_credit2(OP_SET_CREDIT2, domid)?;
        let mut raw =
            xc::xen_domctl_sched_credit2 { weight: parameters.weight, cap: parameters.cap_percent };
        self.call_domain(OP_SET_CREDIT2, domid, |xch, domid| {
            // SAFETY: the parameter lives through the call.
            unsafe { xc::xc_sched_credit2_domain_set(xch, domid, &raw mut raw) }
        })?;
        Ok(())
    }
}

/// What speaks against taking a domain for an untouched shell; a domain without vCPUs has an index far too high.
fn why_no_shell(info: &DomainInfo, kind: GuestKind, vcpus_max: u32) -> Option<&'static str> {
    if info.kind != kind {
        Some("it is of another kind")
    } else if info.vcpu_index_max.checked_add(1) != Some(vcpus_max) {
        Some("it has another number of vCPUs")
    } else if info.state != RunState::Paused {
        Some("it is not paused")
    } else if info.vcpus_online != 0 || info.cpu_time_ns != 0 || info.pages.0 != 0 {
        Some("it has been built or has run already")
    } else {
        None
    }
}

impl Libxc {
    /// Xen answers EINVAL when another scheduler is asked for than runs; ask which one runs.
    fn require_credit2(&self, operation: &'static str, domid: DomId) -> Result<(), XenError> {
        let mut scheduler = 0;
        self.call("sched_id", |xch| {
            // SAFETY: the out-parameter lives through the call.
            unsafe { xc::xc_sched_id(xch, &raw mut scheduler) }
        })?;
        if u32::try_from(scheduler) == Ok(xc::XEN_SCHEDULER_CREDIT2) {
            return Ok(());
        }
        Err(XenError::new(operation, XenErrorKind::Unsupported)
            .domain(domid)
            .detail(format!("scheduler {scheduler} runs, not credit2")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domid::DomainHandle;
    use crate::frame::PageCount;

    fn shell() -> DomainInfo {
        DomainInfo {
            domid: DomId::DOM0,
            handle: DomainHandle([0; 16]),
            kind: GuestKind::Pvh,
            state: RunState::Paused,
            paused: true,
            pages: PageCount(0),
            memory_max_kib: 0,
            vcpus_online: 0,
            vcpu_index_max: 1,
            cpu_time_ns: 0,
        }
    }

    #[test]
    fn only_an_untouched_domain_is_a_shell() {
        assert_eq!(why_no_shell(&shell(), GuestKind::Pvh, 2), None);
        for (what, info) in [
            ("PV", DomainInfo { kind: GuestKind::Pv, ..shell() }),
            ("one vCPU", DomainInfo { vcpu_index_max: 0, ..shell() }),
            ("no vCPU", DomainInfo { vcpu_index_max: u32::MAX, ..shell() }),
            ("dying", DomainInfo { state: RunState::Dying, ..shell() }),
            ("running", DomainInfo { state: RunState::Running, ..shell() }),
            ("built", DomainInfo { vcpus_online: 1, ..shell() }),
            ("populated", DomainInfo { pages: PageCount(1), ..shell() }),
            ("has run", DomainInfo { cpu_time_ns: 1, ..shell() }),
        ] {
            assert!(why_no_shell(&info, GuestKind::Pvh, 2).is_some(), "{what}");
        }
    }
}
