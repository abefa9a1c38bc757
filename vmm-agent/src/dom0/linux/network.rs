//! Bridges and their ports by netlink: what Xen's `vif-bridge` script does, without starting a shell.
//!
//! As there: the port goes down, has the MAC that no bridge takes for its own, no addresses, the bridge's MTU where it can, and
//! comes up in the bridge. Not as there: no firewall rule is made, and a bridge is never guessed.

use std::io;

use netlink_packet_route::link::{LinkAttribute, LinkLayerType};
use rustix::io::Errno;

use super::LinuxDom0;
use super::netlink::{Link, Route};
use crate::dom0::{BridgePort, Dom0Error, Dom0ErrorKind, Network};

/// The largest unicast address: a bridge takes the smallest of its ports' for its own.
const PORT_MAC: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];

impl Network for LinuxDom0 {
    fn plug_port(&self, interface: &str, bridge: &str) -> Result<(), Dom0Error> {
        const OPERATION: &str = "plug into a bridge";
        let failed = |error: io::Error| said(OPERATION, interface, &error);
        let route = Route::open().map_err(failed)?;
        let place = find(&route, OPERATION, &format!("bridge {bridge}"), bridge)?;
        let port = find(&route, OPERATION, &format!("interface {interface}"), interface)?;
        let refuse = |subject: String, detail: &str| {
            Err(Dom0Error::own(OPERATION, subject, Dom0ErrorKind::WrongKind, detail))
        };
        if !place.is_bridge() {
            return refuse(format!("bridge {bridge}"), "it is another kind of interface");
        }
        if port.is_bridge() || port.layer == Some(LinkLayerType::Loopback) {
            return refuse(format!("interface {interface}"), "no bridge can hold it");
        }
        if port.up && port.controller == Some(place.index) {
            return Ok(());
        }
        prepare(&route, &port, place.mtu).map_err(failed)?;
        let into = vec![LinkAttribute::Controller(place.index)];
        route.set(port.index, true, into).map_err(failed)
    }

    fn unplug_port(&self, interface: &str) -> Result<(), Dom0Error> {
        let unplug = || -> io::Result<()> {
            let route = Route::open()?;
            let Some(port) = route.link(interface)? else { return Ok(()) };
            let out = port.controller.map(|_| LinkAttribute::Controller(0));
            match route.set(port.index, false, out.into_iter().collect()) {
                // It went meanwhile, as it does with its guest.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(()),
                outcome => outcome,
            }
        };
        unplug().map_err(|error| said("unplug from its bridge", interface, &error))
    }

    fn ports(&self) -> Result<Vec<BridgePort>, Dom0Error> {
        let links = Route::open()
            .and_then(|route| route.links())
            .map_err(|error| Dom0Error::said("list", "the ports of all bridges".into(), &error))?;
        let bridge = |index: u32| links.iter().find(|l| l.index == index && l.is_bridge());
        let port = |link: &Link| {
            let bridge = bridge(link.controller?)?.name.clone();
            Some(BridgePort { interface: link.name.clone(), bridge })
        };
        let mut ports: Vec<BridgePort> = links.iter().filter_map(port).collect();
        ports.sort();
        Ok(ports)
    }

    fn bridge_exists(&self, name: &str) -> Result<bool, Dom0Error> {
        let link = Route::open().and_then(|route| route.link(name));
        let link =
            link.map_err(|error| Dom0Error::said("look for", format!("bridge {name}"), &error))?;
        Ok(link.is_some_and(|link| link.is_bridge()))
    }
}

/// What fails here costs no connection: the script goes on too.
fn prepare(route: &Route, port: &Link, mtu: Option<u32>) -> io::Result<()> {
    route.set(port.index, false, Vec::new())?;
    let wanted = [Some(LinkAttribute::Address(PORT_MAC.into())), mtu.map(LinkAttribute::Mtu)];
    for attribute in wanted.into_iter().flatten() {
        if let Err(error) = route.set(port.index, false, vec![attribute]) {
            tracing::debug!(interface = port.name, %error, "bridge port keeps its address or MTU");
        }
    }
    route.flush_addresses(port.index)
}

fn find(
    route: &Route,
    operation: &'static str,
    subject: &str,
    name: &str,
) -> Result<Link, Dom0Error> {
    let found = route.link(name).map_err(|e| Dom0Error::said(operation, subject.into(), &e))?;
    let missing = || {
        Dom0Error::own(operation, subject, Dom0ErrorKind::NotFound, "there is none of this name")
    };
    found.ok_or_else(missing)
}

fn said(operation: &'static str, interface: &str, error: &io::Error) -> Dom0Error {
    let told = Dom0Error::said(operation, format!("interface {interface}"), error);
    match Errno::from_io_error(error) {
        Some(Errno::NODEV) => Dom0Error { kind: Dom0ErrorKind::NotFound, ..told },
        _ => told,
    }
}

#[cfg(test)]
mod tests;
