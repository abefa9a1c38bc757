//! A virtual disk: a loop device of dom0's behind xen-blkback, described by two trees that stand or fall together (XS1).
//!
//! ```text
//!   /local/domain/0/backend/vbd/D/51712   owned by dom0, readable by D   state 1 ─► blkback: 2 ─► 4
//!   /local/domain/D/device/vbd/51712      owned by D, readable by dom0   state 1 ─► guest:   3 ─► 4
//! ```

use vmm_core::vm::DiskSpec;
use xen_bindings::store::{Access, Permissions};
use xen_bindings::{DomId, StoreError, StorePath};

use crate::dom0::LoopIndex;
use crate::domain::tree::Node;

/// `XenbusStateInitialising`: the toolstack's word for "described".
const INITIALISING: &str = "1";
/// `XenbusStateInitWait` to `XenbusStateConnected`: the backend has found its device.
const BACKEND_READY: [&str; 3] = ["2", "3", "4"];

/// Where all disks' backends of a domain are.
pub(crate) fn backends_path(domid: DomId) -> Result<StorePath, StoreError> {
    StorePath::domain(DomId::DOM0).join(&format!("backend/vbd/{domid}"))
}

/// Where one disk's backend is.
pub(crate) fn backend_path(domid: DomId, devid: u32) -> Result<StorePath, StoreError> {
    backends_path(domid)?.join(&devid.to_string())
}

fn frontend_path(domid: DomId, devid: u32) -> Result<StorePath, StoreError> {
    StorePath::domain(domid).join(&format!("device/vbd/{devid}"))
}

/// True for the text of a backend's state node once the backend can take a frontend.
pub(crate) fn is_ready(state: &str) -> bool {
    BACKEND_READY.contains(&state.trim())
}

/// Both trees.
pub(crate) fn nodes(
    domid: DomId,
    devid: u32,
    disk: &DiskSpec,
    device: LoopIndex,
) -> Result<Vec<Node>, StoreError> {
    let (backend, frontend) = (backend_path(domid, devid)?, frontend_path(domid, devid)?);
    let mode = if disk.read_only { "r" } else { "w" };
    let of_dom0 = Permissions::owned_by(DomId::DOM0).grant(domid, Access::Read);
    let of_guest = Permissions::owned_by(domid).grant(DomId::DOM0, Access::Read);
    let mut nodes = vec![Node::new(backend.clone(), "").owned(of_dom0)];
    for (name, value) in [
        ("frontend", frontend.to_string()),
        ("frontend-id", domid.to_string()),
        ("online", "1".into()),
        ("removable", "0".into()),
        ("bootable", "1".into()),
        ("state", INITIALISING.into()),
        ("dev", disk.device.clone()),
        ("type", "phy".into()),
        ("mode", mode.into()),
        ("device-type", "disk".into()),
        ("discard-enable", "0".into()),
        ("params", device.path()),
        ("physical-device", device.physical_device()),
        ("physical-device-path", device.path()),
        ("hotplug-status", "connected".into()),
    ] {
        nodes.push(Node::new(backend.join(name)?, value));
    }
    nodes.push(Node::new(frontend.clone(), "").owned(of_guest));
    for (name, value) in [
        ("backend", backend.to_string()),
        ("backend-id", DomId::DOM0.to_string()),
        ("state", INITIALISING.into()),
        ("virtual-device", devid.to_string()),
        ("device-type", "disk".into()),
    ] {
        nodes.push(Node::new(frontend.join(name)?, value));
    }
    Ok(nodes)
}
