//! vCPUs and credit2.

use xenctrl_sys as xc;

use super::Libxc;
use crate::control::GuestKind;
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

    fn reclaim(&self, domid: DomId, _: GuestKind, _: u32) -> Result<Shell, XenError> {
        Err(XenError::new("vcpu_reclaim", XenErrorKind::Unsupported).domain(domid))
    }

    fn affinity(&self, domid: DomId, _: u32) -> Result<Affinity, XenError> {
        Err(XenError::new("vcpu_getaffinity", XenErrorKind::Unsupported).domain(domid))
    }

    fn set_affinity(&self, domid: DomId, _: u32, _: &Affinity) -> Result<(), XenError> {
        Err(XenError::new("vcpu_setaffinity", XenErrorKind::Unsupported).domain(domid))
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
