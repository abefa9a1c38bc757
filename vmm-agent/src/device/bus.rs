//! Xenbus: the states through which a frontend and its backend meet and part.

use std::time::Duration;

use xen_bindings::store::{Access, Permissions, StoreTransaction, read_text, transact};
use xen_bindings::{DomId, Store, StoreError, StorePath};

use super::{DeviceKey, KINDS, backends_path};
use crate::core::Core;
use crate::domain::tree::Node;
use crate::watch::wait_for_node;

/// `XenbusState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BusState {
    Initialising = 1,
    InitWait = 2,
    Initialised = 3,
    Connected = 4,
    Closing = 5,
    Closed = 6,
}

impl BusState {
    /// From a node's text; `None` for whatever else stands there.
    fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "1" => Self::Initialising,
            "2" => Self::InitWait,
            "3" => Self::Initialised,
            "4" => Self::Connected,
            "5" => Self::Closing,
            "6" => Self::Closed,
            _ => return None,
        })
    }

    fn text(self) -> String {
        (self as u32).to_string()
    }
}

/// Nodes with their values, below one end of a device.
type Values = [(&'static str, String)];

/// Both ends' trees, freshly described: `backend` and `frontend` are what this kind of device adds.
pub(super) fn trees(
    domid: DomId,
    device: DeviceKey,
    backend: &Values,
    frontend: &Values,
) -> Result<Vec<Node>, StoreError> {
    let (back, front) = (device.backend_path(domid)?, device.frontend_path(domid)?);
    let of_dom0 = Permissions::owned_by(DomId::DOM0).grant(domid, Access::Read);
    let of_guest = Permissions::owned_by(domid).grant(DomId::DOM0, Access::Read);
    let initialising = BusState::Initialising.text();
    let mut nodes = vec![Node::new(back.clone(), "").owned(of_dom0)];
    for (name, value) in [
        ("frontend", front.to_string()),
        ("frontend-id", domid.to_string()),
        ("online", "1".into()),
        ("state", initialising.clone()),
    ] {
        nodes.push(Node::new(back.join(name)?, value));
    }
    for (name, value) in backend {
        nodes.push(Node::new(back.join(name)?, value.clone()));
    }
    nodes.push(Node::new(front.clone(), "").owned(of_guest));
    for (name, value) in [
        ("backend", back.to_string()),
        ("backend-id", DomId::DOM0.to_string()),
        ("state", initialising),
    ] {
        nodes.push(Node::new(front.join(name)?, value));
    }
    for (name, value) in frontend {
        nodes.push(Node::new(front.join(name)?, value.clone()));
    }
    Ok(nodes)
}

/// Both ends use the device.
pub(crate) const CONNECTED: &[BusState] = &[BusState::Connected];

/// Waits until the backend is in one of `states`; with `Closed` among them, a backend that is gone has closed. False when it was
/// not within `limit`.
pub(crate) async fn wait_for_backend(
    core: &Core,
    (domid, device): (DomId, DeviceKey),
    states: &[BusState],
    limit: Duration,
) -> Result<bool, StoreError> {
    let node = device.backend_path(domid)?.join("state")?;
    let accept = |text: Option<&str>| match text {
        Some(text) => BusState::parse(text).filter(|state| states.contains(state)).map(|_| ()),
        None => states.contains(&BusState::Closed).then_some(()),
    };
    Ok(wait_for_node(core, &node, limit, accept).await?.is_some())
}

/// Does its backend say so? What the guest says is not asked.
pub(crate) fn is_connected(
    store: &dyn Store,
    domid: DomId,
    device: DeviceKey,
) -> Result<bool, StoreError> {
    let state = read_text(store, &device.backend_path(domid)?.join("state")?)?;
    Ok(state.as_deref().and_then(BusState::parse) == Some(BusState::Connected))
}

/// Asks the guest to let go of a device; one that has let go already is not asked again, since nobody would answer.
pub(crate) fn ask_close(
    store: &dyn Store,
    domid: DomId,
    device: DeviceKey,
) -> Result<(), StoreError> {
    let backend = device.backend_path(domid)?;
    transact(store, |transaction| {
        let state = read_text(transaction, &backend.join("state")?)?;
        if state.as_deref().and_then(BusState::parse).is_none_or(|s| s == BusState::Closed) {
            return Ok(());
        }
        transaction.write(&backend.join("online")?, b"0")?;
        transaction.write(&backend.join("state")?, BusState::Closing.text().as_bytes())
    })
}

/// Says again that a device is there, to a guest that has not begun with it. Linux looks at its devices and then begins to watch
/// for more: one that comes in between is missed, until one of its nodes is written.
pub(crate) fn announce_again(
    store: &dyn Store,
    domid: DomId,
    device: DeviceKey,
) -> Result<(), StoreError> {
    let node = device.frontend_path(domid)?.join("state")?;
    transact(store, |transaction| {
        let state = read_text(transaction, &node)?;
        if state.as_deref().and_then(BusState::parse) != Some(BusState::Initialising) {
            return Ok(());
        }
        transaction.write(&node, BusState::Initialising.text().as_bytes())
    })
}

/// Takes [`ask_close`] back while the guest has not heard it; false when it has begun to let go, which nothing stops.
pub(crate) fn withdraw_close(
    store: &dyn Store,
    domid: DomId,
    device: DeviceKey,
) -> Result<bool, StoreError> {
    let (backend, frontend) = (device.backend_path(domid)?, device.frontend_path(domid)?);
    transact(store, |transaction| {
        let state = read_text(transaction, &frontend.join("state")?)?;
        let unheard = state.as_deref().and_then(BusState::parse) == Some(BusState::Connected);
        if unheard {
            transaction.write(&backend.join("online")?, b"1")?;
            let connected = BusState::Connected.text();
            transaction.write(&backend.join("state")?, connected.as_bytes())?;
        }
        Ok(unheard)
    })
}

/// Removes both ends of a device, and the guest's directory of this kind when nothing is left in it.
pub(crate) fn remove(store: &dyn Store, domid: DomId, device: DeviceKey) -> Result<(), StoreError> {
    let (backend, frontend) = (device.backend_path(domid)?, device.frontend_path(domid)?);
    let all = backends_path(device.kind, domid)?;
    transact(store, |transaction| {
        remove_node(transaction, &frontend)?;
        remove_node(transaction, &backend)?;
        match transaction.directory(&all) {
            Ok(rest) if rest.is_empty() => remove_node(transaction, &all),
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// All devices of a domain that have a backend.
pub(crate) fn backends(store: &dyn Store, domid: DomId) -> Result<Vec<DeviceKey>, StoreError> {
    let mut found = Vec::new();
    for kind in KINDS {
        let names = match store.directory(&backends_path(kind, domid)?) {
            Err(StoreError::NotFound) => Vec::new(),
            names => names?,
        };
        let devids = names.iter().filter_map(|name| name.parse().ok());
        found.extend(devids.map(|devid| DeviceKey { kind, devid }));
    }
    Ok(found)
}

/// Is a device being taken away?
pub(crate) fn is_closing(
    store: &dyn Store,
    domid: DomId,
    device: DeviceKey,
) -> Result<bool, StoreError> {
    let online = read_text(store, &device.backend_path(domid)?.join("online")?)?;
    Ok(online.as_deref() == Some("0"))
}

/// Removes all backends of a domain.
pub(crate) fn remove_backends(
    transaction: &dyn StoreTransaction,
    domid: DomId,
) -> Result<(), StoreError> {
    for kind in KINDS {
        remove_node(transaction, &backends_path(kind, domid)?)?;
    }
    Ok(())
}

/// A node that is gone, or whose parent is, is removed.
pub(crate) fn remove_node(
    transaction: &dyn StoreTransaction,
    path: &StorePath,
) -> Result<(), StoreError> {
    match transaction.remove(path) {
        Err(StoreError::NotFound) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_states_of_the_protocol_are_states() {
        for (text, state) in [
            ("1", Some(BusState::Initialising)),
            (" 4\n", Some(BusState::Connected)),
            ("6", Some(BusState::Closed)),
            ("0", None),
            ("7", None),
            ("44", None),
            ("+4", None),
            ("", None),
            ("connected", None),
        ] {
            assert_eq!(BusState::parse(text), state, "{text:?}");
        }
        for state in [BusState::Initialising, BusState::Closing] {
            assert_eq!(BusState::parse(&state.text()), Some(state));
        }
    }
}
