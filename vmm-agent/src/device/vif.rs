//! A virtual NIC: an interface `vifD.N` of dom0's, made by xen-netback, on a bridge.
//!
//! netback makes the interface when it sees its tree, and lets the guest in when `hotplug-status` says that the interface is on
//! its bridge. A hotplug script does that with other toolstacks; here the agent does it itself, so `script` names none.

use vmm_core::vm::NicSpec;
use xen_bindings::{DomId, StoreError, StorePath};

use super::{Device, bus};
use crate::domain::tree::Node;

/// Its name among the kinds of devices.
pub(crate) const KIND: &str = "vif";

/// The interface in dom0.
pub(crate) fn interface(domid: DomId, nic: &NicSpec) -> String {
    format!("vif{domid}.{}", nic.index)
}

/// Both trees.
pub(crate) fn nodes(domid: DomId, nic: &NicSpec) -> Result<Vec<Node>, StoreError> {
    let backend = [
        ("handle", nic.index.to_string()),
        ("mac", nic.mac.to_string()),
        ("bridge", nic.bridge.clone()),
        // netback insists on the node; nobody runs what it names.
        ("script", String::new()),
        ("type", "vif".into()),
    ];
    let frontend =
        [("handle", nic.index.to_string()), ("mac", nic.mac.to_string()), ("mtu", "1500".into())];
    bus::trees(domid, Device::Nic(nic.clone()).key(), &backend, &frontend)
}

/// Says that the interface is on its bridge.
pub(crate) fn connected_path(domid: DomId, nic: &NicSpec) -> Result<StorePath, StoreError> {
    Device::Nic(nic.clone()).key().backend_path(domid)?.join("hotplug-status")
}
