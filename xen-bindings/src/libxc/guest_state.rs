//! What a guest is besides its memory.

use std::ptr::{NonNull, null_mut};

use xenctrl_sys as xc;

use super::handle::Handle;
use super::{Libxc, ffi};
use crate::control::DomainControl;
use crate::cpu_policy::{CpuPolicy, CpuidLeaf, MsrEntry};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::guest_state::GuestState;
use crate::stream::image::{HvmParam, TscInfo};

const OP_POLICY: &str = "cpu_policy";
const OP_POLICY_MAX: &str = "cpu_policy_max";
const OP_CONTEXT: &str = "domain_hvm_getcontext";

/// Those of libxc's own sender, in its order.
const PARAMS: [u32; 16] = [
    xc::HVM_PARAM_STORE_PFN,
    xc::HVM_PARAM_IOREQ_PFN,
    xc::HVM_PARAM_BUFIOREQ_PFN,
    xc::HVM_PARAM_PAGING_RING_PFN,
    xc::HVM_PARAM_MONITOR_RING_PFN,
    xc::HVM_PARAM_SHARING_RING_PFN,
    xc::HVM_PARAM_VM86_TSS_SIZED,
    xc::HVM_PARAM_CONSOLE_PFN,
    xc::HVM_PARAM_ACPI_IOPORTS_LOCATION,
    xc::HVM_PARAM_VIRIDIAN,
    xc::HVM_PARAM_IDENT_PT,
    xc::HVM_PARAM_VM_GENERATION_ID_ADDR,
    xc::HVM_PARAM_IOREQ_SERVER_PFN,
    xc::HVM_PARAM_NR_IOREQ_SERVER_PAGES,
    xc::HVM_PARAM_X87_FIP_WIDTH,
    xc::HVM_PARAM_MCA_CAP,
];

impl GuestState for Libxc {
    fn cpu_policy(&self, domid: DomId) -> Result<CpuPolicy, XenError> {
        self.handles
            .lend(|handle| Policy::of(handle, domid)?.serialise(handle))?
            .map_err(|error| error.domain(domid))
    }

    fn cpu_policy_max(&self) -> Result<CpuPolicy, XenError> {
        self.handles.lend(|handle| Policy::max(handle)?.serialise(handle))?
    }

    fn tsc(&self, domid: DomId) -> Result<TscInfo, XenError> {
        let mut tsc = TscInfo::default();
        self.call_domain("domain_get_tsc_info", domid, |xch, domid| {
            let (mode, nsec) = (&raw mut tsc.mode, &raw mut tsc.nsec);
            let (khz, incarnation) = (&raw mut tsc.khz, &raw mut tsc.incarnation);
            // SAFETY: the out-parameters live through the call.
            unsafe { xc::xc_domain_get_tsc_info(xch, domid, mode, nsec, khz, incarnation) }
        })?;
        Ok(tsc)
    }

    fn hvm_context(&self, domid: DomId) -> Result<Vec<u8>, XenError> {
        self.require_pvh(OP_CONTEXT, domid)?;
        self.require_vcpus(domid)?;
        let size = self.call_domain(OP_CONTEXT, domid, |xch, domid| {
            // SAFETY: no buffer asks for the size.
            unsafe { xc::xc_domain_hvm_getcontext(xch, domid, null_mut(), 0) }
        })?;
        let size = size.cast_unsigned();
        let mut context = vec![0; usize::try_from(size).unwrap_or(0)];
        let length = self.call_domain(OP_CONTEXT, domid, |xch, domid| {
            // SAFETY: the buffer has `size` bytes and lives through the call.
            unsafe { xc::xc_domain_hvm_getcontext(xch, domid, context.as_mut_ptr(), size) }
        })?;
        // The size was that of the largest.
        context.truncate(usize::try_from(length).unwrap_or(0));
        Ok(context)
    }

    fn hvm_params(&self, domid: DomId) -> Result<Vec<HvmParam>, XenError> {
        const OPERATION: &str = "hvm_param_get";
        self.require_pvh(OPERATION, domid)?;
        let mut params = Vec::new();
        for index in PARAMS {
            let mut value = 0;
            self.call_domain(OPERATION, domid, |xch, domid| {
                // SAFETY: the out-parameter lives through the call.
                unsafe { xc::xc_hvm_param_get(xch, domid, index, &raw mut value) }
            })?;
            if value != 0 {
                params.push(HvmParam { index: index.into(), value });
            }
        }
        Ok(params)
    }
}

impl Libxc {
    /// Xen 4.17 panics when it is asked for the context of a domain without vCPUs, whose highest index is far too high.
    fn require_vcpus(&self, domid: DomId) -> Result<(), XenError> {
        let refused = |kind| XenError::new(OP_CONTEXT, kind).domain(domid);
        let info = self.info(domid)?.ok_or_else(|| refused(XenErrorKind::NoSuchDomain))?;
        if has_vcpus(info.vcpu_index_max) {
            return Ok(());
        }
        Err(refused(XenErrorKind::Invalid).detail("the domain has no vCPUs"))
    }
}

fn has_vcpus(vcpu_index_max: u32) -> bool {
    // Xen's own limit is 512 for PVH.
    vcpu_index_max < 1 << 16
}

/// libxenguest's policy object.
struct Policy(NonNull<ffi::xc_cpu_policy>);

impl Policy {
    fn new(handle: &mut Handle) -> Result<Self, XenError> {
        let policy = handle.call_pointer(OP_POLICY, |_| {
            // SAFETY: it takes nothing.
            unsafe { ffi::xc_cpu_policy_init() }
        })?;
        Ok(Self(policy))
    }

    fn max(handle: &mut Handle) -> Result<Self, XenError> {
        let policy = Self::new(handle)?;
        let which = xc::XEN_SYSCTL_cpu_policy_hvm_max;
        handle.call(OP_POLICY_MAX, |xch| {
            // SAFETY: the object is ours and lives through the call.
            unsafe { ffi::xc_cpu_policy_get_system(xch, which, policy.0.as_ptr()) }
        })?;
        Ok(policy)
    }

    fn of(handle: &mut Handle, domid: DomId) -> Result<Self, XenError> {
        let policy = Self::new(handle)?;
        let id = u32::from(domid.get());
        handle.call(OP_POLICY, |xch| {
            // SAFETY: the object is ours and lives through the call.
            unsafe { ffi::xc_cpu_policy_get_domain(xch, id, policy.0.as_ptr()) }
        })?;
        Ok(policy)
    }

    fn serialise(&self, handle: &mut Handle) -> Result<CpuPolicy, XenError> {
        let (mut leaf_count, mut msr_count) = (0, 0);
        handle.call(OP_POLICY, |xch| {
            // SAFETY: the out-parameters live through the call.
            unsafe { ffi::xc_cpu_policy_get_size(xch, &raw mut leaf_count, &raw mut msr_count) }
        })?;
        let room = |count: u32| usize::try_from(count).unwrap_or(0);
        let mut leaves = vec![xc::xen_cpuid_leaf_t::default(); room(leaf_count)];
        let none = xc::xen_msr_entry_t { idx: 0, flags: 0, val: 0 };
        let mut msrs = vec![none; room(msr_count)];
        handle.call(OP_POLICY, |xch| {
            let (leaf_count, msr_count) = (&raw mut leaf_count, &raw mut msr_count);
            let (leaves, msrs) = (leaves.as_mut_ptr(), msrs.as_mut_ptr());
            // SAFETY: the arrays have as many entries as the counts say, which are then what was filled in.
            unsafe {
                let policy = self.0.as_ptr();
                ffi::xc_cpu_policy_serialise(xch, policy, leaves, leaf_count, msrs, msr_count)
            }
        })?;
        leaves.truncate(room(leaf_count));
        msrs.truncate(room(msr_count));
        Ok(CpuPolicy {
            leaves: leaves.iter().map(leaf).collect(),
            msrs: msrs.iter().map(|msr| MsrEntry { index: msr.idx, value: msr.val }).collect(),
        })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // SAFETY: made by xc_cpu_policy_init and destroyed once.
        unsafe { ffi::xc_cpu_policy_destroy(self.0.as_ptr()) };
    }
}

fn leaf(raw: &xc::xen_cpuid_leaf_t) -> CpuidLeaf {
    let xc::xen_cpuid_leaf_t { leaf, subleaf, a, b, c, d } = *raw;
    CpuidLeaf { leaf, subleaf, eax: a, ebx: b, ecx: c, edx: d }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_without_vcpus_is_told_by_its_index() {
        for (index, expect) in [(0, true), (127, true), (u32::MAX, false), (0xffff_fffe, false)] {
            assert_eq!(has_vcpus(index), expect, "{index:#x}");
        }
    }

    #[test]
    fn the_rings_are_among_the_parameters() {
        let has = |index: u64| PARAMS.iter().any(|param| u64::from(*param) == index);
        assert!(has(HvmParam::STORE_PFN) && has(HvmParam::CONSOLE_PFN));
    }
}
