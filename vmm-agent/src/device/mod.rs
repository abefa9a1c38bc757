//! A VM's devices: how a disk or a NIC is described in xenstore, how its two ends meet, and the console's text.
//!
//! ```text
//!   Device ─┬─ vbd    nodes of a disk            bus       XenbusState: both ends' states, and waiting for them
//!           └─ vif    nodes of a NIC             leases    which VM writes which image
//!   console    what the guest says
//! ```
//!
//! # The handshake
//!
//! ```text
//!   toolstack: both trees, state 1 ─► backend 2 (InitWait) ─► frontend 3 ─► backend 4 ─► frontend 4        plugged
//!   toolstack: online 0, backend 5 ─► frontend 5, 6 ─► backend 6 ─► toolstack removes both trees           unplugged
//! ```
//!
//! Trees stand or fall together (XS1): they are written and removed in one transaction each. Only the backend's nodes, which
//! dom0 owns, are believed; what a guest writes to its own is at most a reason to look again.

pub(crate) mod bus;
pub(crate) mod console;
pub(crate) mod leases;
pub(crate) mod vbd;
pub(crate) mod vif;

use vmm_core::vm::{DiskSpec, NicSpec, VmSpec};
use xen_bindings::{DomId, StoreError, StorePath};

/// Kinds of devices that a domain's backends are listed under.
pub(crate) const KINDS: [&str; 2] = [vbd::KIND, vif::KIND];

/// A device that has a frontend and a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Disk(DiskSpec),
    Nic(NicSpec),
}

impl Device {
    /// All devices of a VM.
    pub(crate) fn of(spec: &VmSpec) -> Vec<Device> {
        let disks = spec.disks.iter().cloned().map(Device::Disk);
        disks.chain(spec.nics.iter().cloned().map(Device::Nic)).collect()
    }

    pub(crate) fn is_disk(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// As people know it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Disk(disk) => format!("disk {}", disk.device),
            Self::Nic(nic) => format!("NIC {}", nic.index),
        }
    }

    /// The module that must be in dom0 for it.
    pub(crate) fn backend_module(&self) -> &'static str {
        match self {
            Self::Disk(_) => "xen-blkback",
            Self::Nic(_) => "xen-netback",
        }
    }

    /// Which device of its domain it is. A specification is checked before any of its devices is used.
    pub(crate) fn key(&self) -> DeviceKey {
        match self {
            Self::Disk(disk) => {
                DeviceKey { kind: vbd::KIND, devid: disk.device_number().unwrap_or_default() }
            }
            Self::Nic(nic) => DeviceKey { kind: vif::KIND, devid: nic.index },
        }
    }

    /// Makes the VM's specification have it.
    pub(crate) fn add_to(&self, spec: &mut VmSpec) {
        self.remove_from(spec);
        match self {
            Self::Disk(disk) => spec.disks.push(disk.clone()),
            Self::Nic(nic) => spec.nics.push(nic.clone()),
        }
    }

    /// Makes the VM's specification not have it.
    pub(crate) fn remove_from(&self, spec: &mut VmSpec) {
        match self {
            Self::Disk(disk) => spec.disks.retain(|other| other.device != disk.device),
            Self::Nic(nic) => spec.nics.retain(|other| other.index != nic.index),
        }
    }
}

/// A device of a domain, as xenstore lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceKey {
    pub(crate) kind: &'static str,
    pub(crate) devid: u32,
}

impl DeviceKey {
    /// dom0's end.
    pub(crate) fn backend_path(self, domid: DomId) -> Result<StorePath, StoreError> {
        backends_path(self.kind, domid)?.join(&self.devid.to_string())
    }

    /// The guest's end.
    pub(crate) fn frontend_path(self, domid: DomId) -> Result<StorePath, StoreError> {
        StorePath::domain(domid).join(&format!("device/{}/{}", self.kind, self.devid))
    }
}

/// Where all backends of one kind of a domain are.
pub(crate) fn backends_path(kind: &str, domid: DomId) -> Result<StorePath, StoreError> {
    StorePath::domain(DomId::DOM0).join(&format!("backend/{kind}/{domid}"))
}
