//! Simulated bridges. The interfaces that there are to plug are the vifs of the machine's guests.

use super::SimDom0;
use crate::dom0::{BridgePort, Dom0Error, Dom0ErrorKind, Network};

impl Network for SimDom0 {
    fn plug_port(&self, interface: &str, bridge: &str) -> Result<(), Dom0Error> {
        const OPERATION: &str = "plug into a bridge";
        let missing = |subject: String| {
            let detail = "there is none of this name";
            Err(Dom0Error::own(OPERATION, subject, Dom0ErrorKind::NotFound, detail))
        };
        let exists = self.has_interface(interface);
        let mut tables = self.tables();
        if !tables.bridges.contains(bridge) {
            return missing(format!("bridge {bridge}"));
        }
        if tables.bridges.contains(interface) {
            let (kind, detail) = (Dom0ErrorKind::WrongKind, "no bridge can hold it");
            return Err(Dom0Error::own(OPERATION, format!("interface {interface}"), kind, detail));
        }
        if !exists {
            return missing(format!("interface {interface}"));
        }
        tables.ports.insert(interface.to_owned(), bridge.to_owned());
        Ok(())
    }

    fn unplug_port(&self, interface: &str) -> Result<(), Dom0Error> {
        self.tables().ports.remove(interface);
        Ok(())
    }

    fn ports(&self) -> Result<Vec<BridgePort>, Dom0Error> {
        let plugged = self.tables().ports.clone();
        let interfaces = self.machine.vif_interfaces();
        let exists = |name: &str| interfaces.iter().any(|interface| interface.name == name);
        // A port goes with its interface.
        let there = plugged.into_iter().filter(|(interface, _)| exists(interface));
        Ok(there.map(|(interface, bridge)| BridgePort { interface, bridge }).collect())
    }

    fn bridge_exists(&self, name: &str) -> Result<bool, Dom0Error> {
        Ok(self.tables().bridges.contains(name))
    }
}

impl SimDom0 {
    fn has_interface(&self, name: &str) -> bool {
        self.machine.vif_interfaces().iter().any(|interface| interface.name == name)
    }
}
