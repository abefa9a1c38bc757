//! One look of a backend driver at its device: what it finds in xenstore, and what it does about it.

use super::backend::{Backend, DISK_BYTES, DeviceKey, DeviceKind, SECTOR_BYTES, xenbus};
use super::machine::State;
use super::timeline::Event;
use crate::domid::DomId;

const DOM0: DomId = DomId::DOM0;

impl State {
    pub(crate) fn step_backend(&mut self, key: DeviceKey) {
        self.settle_guest(key.frontend);
        let path = key.backend_path();
        if !self.store.exists(&path) {
            self.forget_backend(key);
            return;
        }
        if !self.backends.contains_key(&key) {
            self.probe_backend(key, &path);
        }
        let Some(state) = self.backends.get(&key).map(|backend| backend.state) else { return };
        let frontend = self.frontend_state(key);
        match frontend {
            None => self.forget_backend(key),
            Some(xenbus::INITIALISING) if state == xenbus::CLOSED => {
                self.set_backend(key, xenbus::INIT_WAIT);
            }
            Some(xenbus::INITIALISED | xenbus::CONNECTED) if state == xenbus::INIT_WAIT => {
                self.connect_backend(key, &path);
            }
            Some(xenbus::CLOSING) if state < xenbus::CLOSING => {
                self.set_backend(key, xenbus::CLOSING);
            }
            Some(xenbus::CLOSED) => self.close_backend(key, &path),
            _ => {}
        }
    }

    fn frontend_state(&mut self, key: DeviceKey) -> Option<u32> {
        let state = self.store.read_str(DOM0, &format!("{}/state", key.frontend_path()))?;
        // A state that is no number is nothing that a driver acts on.
        Some(state.trim().parse().unwrap_or(0))
    }

    /// A device that the toolstack has just described.
    fn probe_backend(&mut self, key: DeviceKey, path: &str) {
        let state = self.store.read_str(DOM0, &format!("{path}/state"));
        if state.as_deref() != Some("1") {
            return;
        }
        let features: &[&str] = match key.kind {
            DeviceKind::Vbd => &["feature-flush-cache", "feature-persistent", "feature-discard"],
            DeviceKind::Vif => &["feature-sg", "feature-rx-copy", "feature-split-event-channels"],
        };
        for feature in features {
            self.store.write_str(DOM0, &format!("{path}/{feature}"), "1");
        }
        self.backends.insert(key, Backend::new(self.now));
        self.set_backend(key, xenbus::INIT_WAIT);
    }

    fn set_backend(&mut self, key: DeviceKey, state: u32) {
        let unmapped = self.backends.get_mut(&key).is_some_and(|backend| {
            let before = backend.maps_ring();
            backend.state = state;
            before && !backend.maps_ring()
        });
        let path = format!("{}/state", key.backend_path());
        self.store.write_str(DOM0, &path, &state.to_string());
        if unmapped {
            self.ring_unmapped(key);
        }
    }

    /// The last reference to a dying domain may have been this one.
    fn ring_unmapped(&mut self, key: DeviceKey) {
        let dying = super::hypervisor::domid(key.frontend)
            .and_then(|id| self.hypervisor.get(id).ok())
            .is_some_and(|domain| domain.dying);
        if dying {
            self.schedule_in(Event::Release(key.frontend), std::time::Duration::from_millis(1));
        }
    }

    fn connect_backend(&mut self, key: DeviceKey, path: &str) {
        let ready = match key.kind {
            DeviceKind::Vbd => self.describe_disk(path),
            DeviceKind::Vif => {
                let status = self.store.read_str(DOM0, &format!("{path}/hotplug-status"));
                status.as_deref() == Some("connected")
            }
        };
        if ready && self.has_ring(key) {
            self.set_backend(key, xenbus::CONNECTED);
        }
    }

    /// False while dom0 has no device behind it.
    fn describe_disk(&mut self, path: &str) -> bool {
        let device = self.store.read_str(DOM0, &format!("{path}/physical-device"));
        let Some(device) = device.filter(|device| device.contains(':')) else { return false };
        let bytes = self.block_devices.get(&device).copied().unwrap_or(DISK_BYTES);
        for (name, value) in [
            ("sectors", bytes / SECTOR_BYTES),
            ("sector-size", SECTOR_BYTES),
            ("physical-sector-size", SECTOR_BYTES),
            ("info", 0),
        ] {
            self.store.write_str(DOM0, &format!("{path}/{name}"), &value.to_string());
        }
        true
    }

    /// A frontend that says it is ready must have named its ring.
    fn has_ring(&mut self, key: DeviceKey) -> bool {
        let name = match key.kind {
            DeviceKind::Vbd => "ring-ref",
            DeviceKind::Vif => "tx-ring-ref",
        };
        let path = format!("{}/{name}", key.frontend_path());
        self.store.read_str(DOM0, &path).is_some_and(|ring| ring.parse::<u32>().is_ok())
    }

    fn close_backend(&mut self, key: DeviceKey, path: &str) {
        if self.backends.get(&key).is_some_and(|backend| backend.state != xenbus::CLOSED) {
            self.set_backend(key, xenbus::CLOSED);
        }
        if self.store.read_str(DOM0, &format!("{path}/online")).as_deref() != Some("1") {
            self.forget_backend(key);
        }
    }

    fn forget_backend(&mut self, key: DeviceKey) {
        if self.backends.remove(&key).is_some_and(|backend| backend.maps_ring()) {
            self.ring_unmapped(key);
        }
    }
}
