//! What a guest is besides its memory: its processors, its clock, what Xen keeps for it. Put back by [`crate::GuestImage::restore`] alone.

use crate::cpu_policy::CpuPolicy;
use crate::domid::DomId;
use crate::error::XenError;
use crate::stream::image::{HvmParam, TscInfo};

/// What a stream needs to know of a guest besides its memory.
pub trait GuestState: Send + Sync {
    /// Which processor the guest was promised.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn cpu_policy(&self, domid: DomId) -> Result<CpuPolicy, XenError>;

    /// The most that a PVH guest may be promised on this host.
    ///
    /// # Errors
    /// What the hypercall says.
    fn cpu_policy_max(&self) -> Result<CpuPolicy, XenError>;

    /// Its time stamp counter.
    ///
    /// # Errors
    /// `NoSuchDomain`.
    fn tsc(&self, domid: DomId) -> Result<TscInfo, XenError>;

    /// Everything that a PVH guest's virtual machine consists of, as Xen writes it. Of a guest that runs it is of a moment that has
    /// passed: for a stream, ask once it is suspended.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Unsupported` for PV; `Invalid` for a domain without vCPUs, for which Xen 4.17 would panic.
    fn hvm_context(&self, domid: DomId) -> Result<Vec<u8>, XenError>;

    /// Xen's parameters of a PVH guest that belong into a stream and are not zero, in libxc's order.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Unsupported` for PV.
    fn hvm_params(&self, domid: DomId) -> Result<Vec<HvmParam>, XenError>;
}
