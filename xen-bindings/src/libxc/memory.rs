//! A domain's memory limits.

use std::ptr::null_mut;

use xenctrl_sys as xc;

use super::Libxc;
use crate::control::{DomainControl, GuestKind};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::frame::PAGE_BYTES;
use crate::memory::DomainMemory;
use crate::vcpu::Shell;

impl DomainMemory for Libxc {
    fn set_max(&self, domid: DomId, memory_max_kib: u64) -> Result<(), XenError> {
        self.call_domain("domain_setmaxmem", domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_setmaxmem(xch, domid, memory_max_kib) }
        })?;
        Ok(())
    }

    fn set_paging_pool(&self, domid: DomId, bytes: u64) -> Result<(), XenError> {
        self.call_domain("set_paging_mempool_size", domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_set_paging_mempool_size(xch, domid, bytes) }
        })?;
        Ok(())
    }

    fn set_memory_map_limit(&self, shell: &Shell, memory_max_kib: u64) -> Result<(), XenError> {
        if shell.kind() == GuestKind::Pvh {
            return Ok(());
        }
        self.call_domain("domain_set_memmap_limit", shell.domid(), |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_set_memmap_limit(xch, domid, memory_max_kib) }
        })?;
        Ok(())
    }

    fn claim(&self, domid: DomId, memory_kib: u64) -> Result<(), XenError> {
        const OPERATION: &str = "domain_claim_pages";
        if self.info(domid)?.is_none() {
            // Xen's own answer would be EINVAL.
            return Err(XenError::new(OPERATION, XenErrorKind::NoSuchDomain).domain(domid));
        }
        let pages = memory_kib.div_ceil(PAGE_BYTES / 1024);
        self.call_domain(OPERATION, domid, |xch, domid| {
            // SAFETY: plain integers.
            unsafe { xc::xc_domain_claim_pages(xch, domid, pages) }
        })?;
        Ok(())
    }

    fn set_pod_target(&self, domid: DomId, target_kib: u64) -> Result<(), XenError> {
        const OPERATION: &str = "domain_set_pod_target";
        let missing = || XenError::new(OPERATION, XenErrorKind::NoSuchDomain).domain(domid);
        if self.info(domid)?.ok_or_else(missing)?.kind == GuestKind::Pv {
            return Ok(());
        }
        let pages = target_kib / (PAGE_BYTES / 1024);
        self.call_domain(OPERATION, domid, |xch, domid| {
            let none = null_mut();
            // SAFETY: null means that the caller does not want the counts.
            unsafe { xc::xc_domain_set_pod_target(xch, domid, pages, none, none, none) }
        })?;
        Ok(())
    }
}
