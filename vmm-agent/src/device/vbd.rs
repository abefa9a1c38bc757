//! A virtual disk: an image on a loop device, or a block device, of dom0's behind xen-blkback.
//!
//! ```text
//!   /local/domain/0/backend/vbd/D/51712   owned by dom0, readable by D
//!   /local/domain/D/device/vbd/51712      owned by D, readable by dom0
//! ```

use vmm_core::vm::DiskSpec;
use xen_bindings::store::read_text;
use xen_bindings::{DomId, GrantRef, Store, StoreError, StorePath};

use super::{Device, DeviceKey, bus};
use crate::dom0::DeviceNumber;
use crate::domain::tree::Node;

/// Its name among the kinds of devices.
pub(crate) const KIND: &str = "vbd";

/// No guest has more vCPUs, and no disk more queues than its guest has of these.
const QUEUES_MAX: u32 = 512;

/// What dom0 has behind a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockTarget {
    /// Such as `/dev/loop0`.
    pub(crate) path: String,
    /// As blkback wants it: hexadecimal `major:minor`.
    pub(crate) physical_device: String,
}

/// The block device that a disk's backend was told to serve.
pub(crate) fn served(
    store: &dyn Store,
    domid: DomId,
    devid: u32,
) -> Result<Option<DeviceNumber>, StoreError> {
    let node = DeviceKey { kind: KIND, devid }.backend_path(domid)?.join("physical-device")?;
    let told = read_text(store, &node)?;
    Ok(told.as_deref().and_then(DeviceNumber::from_physical_device))
}

/// Where the rings of a disk begin: one for each of its queues, none while its backend is not connected, `None` when the guest does not say.
pub(crate) fn rings(
    store: &dyn Store,
    domid: DomId,
    devid: u32,
) -> Result<Option<Vec<GrantRef>>, StoreError> {
    let key = DeviceKey { kind: KIND, devid };
    if !bus::is_connected(store, domid, key)? {
        return Ok(Some(Vec::new()));
    }
    let top = key.frontend_path(domid)?;
    let queues = read_text(store, &top.join("multi-queue-num-queues")?)?;
    let Some(queues) = queues.and_then(|text| text.trim().parse::<u32>().ok()) else {
        return Ok(ring(store, &top)?.map(|ring| vec![ring]));
    };
    let mut rings = Vec::new();
    for queue in 0..queues.min(QUEUES_MAX) {
        match ring(store, &top.join(&format!("queue-{queue}"))?)? {
            Some(ring) => rings.push(ring),
            None => return Ok(None),
        }
    }
    Ok(Some(rings))
}

/// The first page of a ring, which has its counters. A ring of several pages numbers them.
fn ring(store: &dyn Store, top: &StorePath) -> Result<Option<GrantRef>, StoreError> {
    for name in ["ring-ref", "ring-ref0"] {
        let text = read_text(store, &top.join(name)?)?;
        if let Some(number) = text.and_then(|text| text.trim().parse().ok()) {
            return Ok(Some(GrantRef(number)));
        }
    }
    Ok(None)
}

/// Both trees.
pub(crate) fn nodes(
    domid: DomId,
    disk: &DiskSpec,
    target: &BlockTarget,
) -> Result<Vec<Node>, StoreError> {
    let device = Device::Disk(disk.clone()).key();
    let mode = if disk.read_only { "r" } else { "w" };
    let backend = [
        ("removable", "0".into()),
        ("bootable", "1".into()),
        ("dev", disk.device.clone()),
        ("type", "phy".into()),
        ("mode", mode.into()),
        ("device-type", "disk".into()),
        ("discard-enable", "0".into()),
        ("params", target.path.clone()),
        ("physical-device", target.physical_device.clone()),
        ("physical-device-path", target.path.clone()),
        ("hotplug-status", "connected".into()),
    ];
    let frontend = [("virtual-device", device.devid.to_string()), ("device-type", "disk".into())];
    bus::trees(domid, device, &backend, &frontend)
}
