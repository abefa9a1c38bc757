//! A domain's nodes in xenstore: written in one transaction, removed in one.

use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;
use xen_bindings::store::{Access, NodeWrite, Permissions, read_text, transact};
use xen_bindings::{BuiltGuest, DomId, Gfn, Port, Store, StoreError, StorePath};

use crate::device::bus;

/// Bytes that xenconsoled keeps for a slow reader.
const CONSOLE_LIMIT_BYTES: u32 = 1 << 20;

/// One node: value, and permissions when they are not its parent's.
#[derive(Clone, Debug)]
pub(crate) struct Node(NodeWrite);

impl Node {
    pub(crate) fn new(path: StorePath, value: impl Into<String>) -> Self {
        Self(NodeWrite { path, value: value.into().into_bytes(), permissions: None })
    }

    /// With permissions of its own; nodes that are made below it later inherit them.
    pub(crate) fn owned(mut self, permissions: Permissions) -> Self {
        self.0.permissions = Some(permissions);
        self
    }
}

/// What a new domain's tree tells.
pub(crate) struct Tree<'a> {
    pub(crate) vm: VmId,
    pub(crate) domid: DomId,
    pub(crate) spec: &'a VmSpec,
    /// Memory and vCPUs that it begins to run with.
    pub(crate) size: (Kib, u32),
    pub(crate) store_port: Port,
    pub(crate) console_port: Port,
    /// `None` while there is no guest in it yet: [`rings`] are written later then.
    pub(crate) built: Option<BuiltGuest>,
    /// Both trees of each device.
    pub(crate) devices: Vec<Node>,
}

impl Tree<'_> {
    /// Parents before children.
    pub(crate) fn nodes(self) -> Result<Vec<Node>, StoreError> {
        let (home, by_uuid) = (StorePath::domain(self.domid), vm_path(self.vm)?);
        let readable = Permissions::owned_by(DomId::DOM0).grant(self.domid, Access::Read);
        let mut nodes = vec![
            Node::new(by_uuid.clone(), "").owned(readable.clone()),
            Node::new(by_uuid.join("uuid")?, self.vm.to_string()),
            Node::new(by_uuid.join("name")?, self.spec.name.to_string()),
            Node::new(home.clone(), "").owned(readable),
        ];
        for (name, value) in self.facts(&by_uuid) {
            nodes.push(Node::new(home.join(name)?, value));
        }
        for index in 0..self.spec.vcpus_max {
            let state = availability(index < self.size.1);
            nodes.push(Node::new(home.join(&format!("cpu/{index}/availability"))?, state));
        }
        for name in GUEST_NODES {
            let guests = Permissions::owned_by(self.domid);
            nodes.push(Node::new(home.join(name)?, "").owned(guests));
        }
        if let Some(built) = self.built {
            nodes.extend(rings(self.domid, built)?);
        }
        nodes.extend(self.devices);
        Ok(nodes)
    }

    fn facts(&self, by_uuid: &StorePath) -> Vec<(&'static str, String)> {
        vec![
            ("vm", by_uuid.to_string()),
            ("name", self.spec.name.to_string()),
            ("domid", self.domid.to_string()),
            ("memory/static-max", self.spec.memory_max.0.to_string()),
            ("memory/target", self.size.0.0.to_string()),
            // What was agreed: a guest that was saved may have grown above what it boots with.
            ("memory/dynamic-max", self.size.0.max(self.spec.memory).0.to_string()),
            ("device", String::new()),
            ("control", String::new()),
            ("control/platform-feature-multiprocessor-suspend", "1".into()),
            ("control/platform-feature-xs_reset_watches", "1".into()),
            ("store/port", self.store_port.0.to_string()),
            ("console/port", self.console_port.0.to_string()),
            ("console/limit", CONSOLE_LIMIT_BYTES.to_string()),
            ("console/type", "xenconsoled".into()),
            ("console/output", "pty".into()),
            ("console/tty", String::new()),
        ]
    }
}

/// Where a guest's rings are.
pub(crate) fn rings(domid: DomId, built: BuiltGuest) -> Result<[Node; 2], StoreError> {
    let home = StorePath::domain(domid);
    let ring =
        |name: &str, gfn: Gfn| Ok::<_, StoreError>(Node::new(home.join(name)?, gfn.0.to_string()));
    Ok([ring("store/ring-ref", built.store_gfn)?, ring("console/ring-ref", built.console_gfn)?])
}

/// Nodes that the guest writes itself.
const GUEST_NODES: [&str; 11] = [
    "control/shutdown",
    "control/sysrq",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "device/suspend/event-channel",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
];

/// The word for a vCPU that the guest shall use or not.
pub(crate) fn availability(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}

fn vm_path(vm: VmId) -> Result<StorePath, StoreError> {
    StorePath::new(format!("/vm/{vm}"))
}

/// Writes all nodes in one transaction: a guest or backend sees all of them or none.
pub(crate) fn write(store: &dyn Store, nodes: Vec<Node>) -> Result<(), StoreError> {
    let nodes: Vec<NodeWrite> = nodes.into_iter().map(|node| node.0).collect();
    transact(store, |transaction| transaction.write_nodes(&nodes))
}

/// Does xenstore say that the domain is this VM's?
pub(crate) fn names_owner(store: &dyn Store, vm: VmId, domid: DomId) -> Result<bool, StoreError> {
    let owner = read_text(store, &StorePath::domain(domid).join("vm")?)?;
    Ok(owner.as_deref() == Some(vm_path(vm)?.as_str()))
}

/// Gives a VM that runs another name.
pub(crate) fn rename(
    store: &dyn Store,
    vm: VmId,
    domid: DomId,
    name: &str,
) -> Result<(), StoreError> {
    let nodes = [vm_path(vm)?.join("name")?, StorePath::domain(domid).join("name")?];
    transact(store, |transaction| {
        nodes.iter().try_for_each(|node| transaction.write(node, name.as_bytes()))
    })
}

/// Removes what a VM has in xenstore, in one transaction. A domain of this number that is another VM's is left alone.
pub(crate) fn remove(store: &dyn Store, vm: VmId, domid: Option<DomId>) -> Result<(), StoreError> {
    let by_uuid = vm_path(vm)?;
    transact(store, |transaction| {
        if let Some(domid) = domid {
            let home = StorePath::domain(domid);
            let owner = read_text(transaction, &home.join("vm")?)?;
            let is_ours = match owner {
                Some(owner) => owner == by_uuid.as_str(),
                // A home that does not say whose it is belongs to somebody else; without a home nobody has the number.
                None => matches!(transaction.read(&home), Err(StoreError::NotFound)),
            };
            if is_ours {
                bus::remove_backends(transaction, domid)?;
                bus::remove_node(transaction, &home)?;
            }
        }
        bus::remove_node(transaction, &by_uuid)
    })
}
