//! A domain's memory limits.

use crate::domid::DomId;
use crate::error::XenError;
use crate::vcpu::Shell;

/// Limits on what a domain may hold.
pub trait DomainMemory: Send + Sync {
    /// The most that the domain may hold, its special pages included (libxl adds 1024 KiB of slack to what the guest sees).
    /// May be raised while it runs: a balloon driver then grows above the boot-time maximum.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn set_max(&self, domid: DomId, memory_max_kib: u64) -> Result<(), XenError>;

    /// The pool for a PVH domain's second-level page tables. PV has none.
    ///
    /// # Errors
    /// `NoSuchDomain`, `OutOfMemory`, `Unsupported` for PV, `Invalid` for bytes that are no whole number of pages.
    fn set_paging_pool(&self, domid: DomId, bytes: u64) -> Result<(), XenError>;

    /// A PV guest's size limit, kept by Xen for its memory map; a no-op for PVH.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn set_memory_map_limit(&self, shell: &Shell, memory_max_kib: u64) -> Result<(), XenError>;

    /// The populate-on-demand target of a PVH guest booted with less memory than its maximum; a no-op for PV.
    ///
    /// # Errors
    /// `NoSuchDomain`, `OutOfMemory`, `Invalid` above the domain's limit ([`DomainMemory::set_max`]).
    fn set_pod_target(&self, domid: DomId, target_kib: u64) -> Result<(), XenError>;

    /// Claims host memory for a domain before it is populated, so that nobody else gets it: `memory_kib` in all, what it holds
    /// already included. Each page that the domain is given reduces the claim; 0 gives the rest back, and so does the domain's
    /// end. A build ends what is left of it too, whoever claimed; a restore does not. Memory claimed is told by [`crate::Physinfo`].
    ///
    /// # Errors
    /// `NoSuchDomain`; `OutOfMemory` when the host has not got it; `Invalid` for a claim that is not above what it holds, or above its
    /// limit ([`DomainMemory::set_max`]), or a second one.
    fn claim(&self, domid: DomId, memory_kib: u64) -> Result<(), XenError>;
}
