//! Domains as such.

use xenctrl_sys as xc;

use super::{Libxc, ffi};
use crate::control::{
    DomainConfig, DomainControl, DomainInfo, GuestKind, RunState, ShutdownReason,
};
use crate::domid::{DomId, DomainHandle};
use crate::error::{XenError, XenErrorKind};
use crate::frame::PageCount;
use crate::host::HostInfo;
use crate::vcpu::{Shell, VcpulessDomain};

/// Domains asked for in one hypercall.
const LIST_BATCH: u32 = 64;
/// Grant table version 2 is the highest that a guest may choose.
const GRANT_VERSION_MAX: u32 = 2;

const OP_CREATE: &str = "domain_create";

impl DomainControl for Libxc {
    fn create(&self, config: &DomainConfig) -> Result<VcpulessDomain, XenError> {
        let mut request = create_request(config)?;
        let mut raw_domid = 0;
        self.call(OP_CREATE, |xch| {
            // SAFETY: both out-parameters live through the call.
            unsafe { xc::xc_domain_create(xch, &raw mut raw_domid, &raw mut request) }
        })
        .map_err(|error| self.explain_create(error, config.kind))?;
        Ok(VcpulessDomain::new(DomId::new(raw_domid)?, config.kind, config.vcpus_max))
    }

    fn apply_cpu_policy(&self, shell: &Shell) -> Result<(), XenError> {
        use std::ptr::null;
        let (restore, pae, itsc, nested) = (false, true, false, false);
        self.call_domain("cpuid_apply_policy", shell.domid(), |xch, domid| {
            // SAFETY: null lists mean the host's default policy.
            unsafe {
                #[rustfmt::skip]
                let result = xc::xc_cpuid_apply_policy(xch, domid, restore, null(), 0, pae, itsc, nested, null(), null());
                result
            }
        })?;
        Ok(())
    }

    fn pause(&self, domid: DomId) -> Result<(), XenError> {
        self.call_domain("domain_pause", domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_pause(xch, domid) }
        })?;
        Ok(())
    }

    fn unpause(&self, domid: DomId) -> Result<(), XenError> {
        self.call_domain("domain_unpause", domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_unpause(xch, domid) }
        })?;
        Ok(())
    }

    fn shutdown(&self, domid: DomId, reason: ShutdownReason) -> Result<(), XenError> {
        let code = shutdown_code(reason)?;
        self.call_domain("domain_shutdown", domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_shutdown(xch, domid, code) }
        })?;
        Ok(())
    }

    fn set_handle(&self, domid: DomId, handle: DomainHandle) -> Result<(), XenError> {
        let mut raw = handle.0;
        self.call_domain("domain_sethandle", domid, |xch, domid| {
            // SAFETY: the handle has the 16 bytes of Xen's ABI and lives through the call.
            unsafe { xc::xc_domain_sethandle(xch, domid, raw.as_mut_ptr()) }
        })?;
        Ok(())
    }

    fn resume(&self, domid: DomId) -> Result<(), XenError> {
        const OPERATION: &str = "domain_resume";
        self.require_suspended(OPERATION, domid)?;
        // The guest sees its suspend call answer "cancelled" and keeps its devices; the other way resets a PV guest's CPUs and
        // makes a PVH guest panic.
        const COOPERATIVE: i32 = 1;
        self.call_domain(OPERATION, domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { ffi::xc_domain_resume(xch, domid, COOPERATIVE) }
        })?;
        Ok(())
    }

    fn destroy(&self, domid: DomId) -> Result<(), XenError> {
        self.call_domain("domain_destroy", domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_destroy(xch, domid) }
        })?;
        Ok(())
    }

    fn list(&self) -> Result<Vec<DomainInfo>, XenError> {
        let mut domains = Vec::new();
        let mut first = 0;
        loop {
            let batch = self.domains_from(first, LIST_BATCH)?;
            let Some(last) = batch.last() else { return Ok(domains) };
            first = u32::from(last.domain) + 1;
            for raw in &batch {
                domains.push(domain_info(raw)?);
            }
        }
    }

    fn info(&self, domid: DomId) -> Result<Option<DomainInfo>, XenError> {
        let found = self.domains_from(domid.get().into(), 1)?;
        match found.first() {
            Some(raw) if raw.domain == domid.get() => Ok(Some(domain_info(raw)?)),
            _ => Ok(None),
        }
    }
}

impl Libxc {
    /// Xen itself would resume or save whatever it is asked to.
    pub(super) fn require_suspended(
        &self,
        operation: &'static str,
        domid: DomId,
    ) -> Result<(), XenError> {
        let refused = |kind| XenError::new(operation, kind).domain(domid);
        match self.info(domid)?.map(|info| info.state) {
            Some(RunState::Shutdown(ShutdownReason::Suspend)) => Ok(()),
            Some(state) => Err(refused(XenErrorKind::Invalid)
                .detail(format!("the guest is {state:?}, not suspended"))),
            None => Err(refused(XenErrorKind::NoSuchDomain)),
        }
    }

    /// Up to `count` domains whose id is `first` or higher, in order.
    fn domains_from(&self, first: u32, count: u32) -> Result<Vec<xc::xc_domaininfo_t>, XenError> {
        let mut batch = vec![xc::xc_domaininfo_t::default(); usize::try_from(count).unwrap_or(1)];
        let found = self.call("domain_getinfolist", |xch| {
            // SAFETY: the vector has room for `count` entries.
            unsafe { xc::xc_domain_getinfolist(xch, first, count, batch.as_mut_ptr()) }
        })?;
        batch.truncate(usize::try_from(found).unwrap_or(0));
        Ok(batch)
    }

    /// Xen answers EINVAL where the host lacks what the kind needs; say so.
    fn explain_create(&self, error: XenError, kind: GuestKind) -> XenError {
        let lacks_hvm = || self.physinfo().is_ok_and(|host| !(host.hvm && host.hap));
        if error.kind() == XenErrorKind::Invalid && kind == GuestKind::Pvh && lacks_hvm() {
            return XenError::new(OP_CREATE, XenErrorKind::Unsupported)
                .detail("the host offers no hardware-assisted paging");
        }
        error
    }
}

fn create_request(config: &DomainConfig) -> Result<xc::xen_domctl_createdomain, XenError> {
    let (flags, emulation_flags) = match config.kind {
        GuestKind::Pvh => (
            xc::XEN_DOMCTL_CDF_hvm | xc::XEN_DOMCTL_CDF_hap | xc::XEN_DOMCTL_CDF_oos_off,
            xc::XEN_X86_EMU_LAPIC,
        ),
        GuestKind::Pv => (0, 0),
    };
    Ok(xc::xen_domctl_createdomain {
        handle: config.handle.0,
        flags,
        max_vcpus: config.vcpus_max,
        max_evtchn_port: config.evtchn_port_max,
        max_grant_frames: frames(config.grant_frames_max)?,
        max_maptrack_frames: frames(config.maptrack_frames_max)?,
        grant_opts: GRANT_VERSION_MAX,
        arch: xc::xen_arch_domainconfig { emulation_flags, misc_flags: 0 },
        ..Default::default()
    })
}

fn frames(count: u32) -> Result<i32, XenError> {
    i32::try_from(count).map_err(|_| {
        XenError::new(OP_CREATE, XenErrorKind::Invalid).detail("too many grant frames")
    })
}

fn domain_info(raw: &xc::xc_domaininfo_t) -> Result<DomainInfo, XenError> {
    let hardware_assisted = raw.flags & xc::XEN_DOMINF_hvm_guest != 0;
    Ok(DomainInfo {
        domid: DomId::new(raw.domain.into())?,
        handle: DomainHandle(raw.handle),
        kind: if hardware_assisted { GuestKind::Pvh } else { GuestKind::Pv },
        state: run_state(raw.flags),
        paused: raw.flags & xc::XEN_DOMINF_paused != 0,
        pages: PageCount(raw.tot_pages),
        memory_max_kib: PageCount(raw.max_pages).kib(),
        vcpus_online: raw.nr_online_vcpus,
        vcpu_index_max: raw.max_vcpu_id,
        cpu_time_ns: raw.cpu_time,
    })
}

fn run_state(flags: u32) -> RunState {
    let has = |flag: u32| flags & flag != 0;
    if has(xc::XEN_DOMINF_dying) {
        RunState::Dying
    } else if has(xc::XEN_DOMINF_shutdown) {
        let code = (flags >> xc::XEN_DOMINF_shutdownshift) & xc::XEN_DOMINF_shutdownmask;
        RunState::Shutdown(shutdown_reason(code))
    } else if has(xc::XEN_DOMINF_paused) {
        RunState::Paused
    } else if has(xc::XEN_DOMINF_running) {
        RunState::Running
    } else {
        RunState::Blocked
    }
}

fn shutdown_reason(code: u32) -> ShutdownReason {
    match code {
        xc::SHUTDOWN_poweroff => ShutdownReason::Poweroff,
        xc::SHUTDOWN_reboot => ShutdownReason::Reboot,
        xc::SHUTDOWN_suspend => ShutdownReason::Suspend,
        xc::SHUTDOWN_crash => ShutdownReason::Crash,
        xc::SHUTDOWN_watchdog => ShutdownReason::Watchdog,
        xc::SHUTDOWN_soft_reset => ShutdownReason::SoftReset,
        other => ShutdownReason::Unknown(other),
    }
}

fn shutdown_code(reason: ShutdownReason) -> Result<i32, XenError> {
    let code = match reason {
        ShutdownReason::Poweroff => xc::SHUTDOWN_poweroff,
        ShutdownReason::Reboot => xc::SHUTDOWN_reboot,
        ShutdownReason::Suspend => xc::SHUTDOWN_suspend,
        ShutdownReason::Crash => xc::SHUTDOWN_crash,
        ShutdownReason::Watchdog => xc::SHUTDOWN_watchdog,
        ShutdownReason::SoftReset => xc::SHUTDOWN_soft_reset,
        ShutdownReason::Unknown(code) => code,
    };
    i32::try_from(code).map_err(|_| XenError::new("domain_shutdown", XenErrorKind::Invalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_flag_names_the_state() {
        let crash = xc::XEN_DOMINF_shutdown | (xc::SHUTDOWN_crash << xc::XEN_DOMINF_shutdownshift);
        for (flags, state) in [
            (0, RunState::Blocked),
            (xc::XEN_DOMINF_running, RunState::Running),
            (xc::XEN_DOMINF_running | xc::XEN_DOMINF_paused, RunState::Paused),
            (crash | xc::XEN_DOMINF_paused, RunState::Shutdown(ShutdownReason::Crash)),
            (crash | xc::XEN_DOMINF_dying, RunState::Dying),
        ] {
            assert_eq!(run_state(flags), state, "{flags:#x}");
        }
    }

    #[test]
    fn shutdown_codes_survive_the_way_there_and_back() {
        for code in 0..300 {
            assert_eq!(shutdown_code(shutdown_reason(code)).expect("small"), code.cast_signed());
        }
    }
}
