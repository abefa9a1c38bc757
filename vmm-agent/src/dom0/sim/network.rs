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
        let interfaces = self.machine.vif_interfaces();
        let mut tables = self.tables();
        // A port goes with its interface.
        tables.ports.retain(|port, _| interfaces.iter().any(|interface| interface.name == *port));
        let port = |(interface, bridge): (&String, &String)| BridgePort {
            interface: interface.clone(),
            bridge: bridge.clone(),
        };
        Ok(tables.ports.iter().map(port).collect())
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
