//! Disks and NICs.

use vmm_core::vm::{DiskSpec, NicSpec, SpecError};

use crate::v1::{Disk, Nic};

impl From<Disk> for DiskSpec {
    fn from(wire: Disk) -> Self {
        DiskSpec { path: wire.path, device: wire.device, read_only: wire.read_only }
    }
}

impl From<&DiskSpec> for Disk {
    fn from(disk: &DiskSpec) -> Self {
        Disk { path: disk.path.clone(), device: disk.device.clone(), read_only: disk.read_only }
    }
}

impl TryFrom<Nic> for NicSpec {
    type Error = SpecError;

    fn try_from(wire: Nic) -> Result<Self, SpecError> {
        Ok(NicSpec { index: wire.index, mac: wire.mac.parse()?, bridge: wire.bridge })
    }
}

impl From<&NicSpec> for Nic {
    fn from(nic: &NicSpec) -> Self {
        Nic { index: nic.index, mac: nic.mac.to_string(), bridge: nic.bridge.clone() }
    }
}
