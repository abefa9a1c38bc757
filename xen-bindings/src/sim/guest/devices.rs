//! xen-blkfront and xen-netfront.
//!
//! ```text
//!   backend InitWait ─► ring named, vbd: Initialised 3, vif: Connected 4
//!   backend Connected ─► vbd: Connected 4; told again: its size is read again
//!   backend Closing or Closed ─► Closing 5 ─► Closed 6
//! ```
//!
//! A driver takes on a device whose own state is Initialising, as the toolstack has written it, and no other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Frontend, Guest, Step};
use crate::sim::backend::{DeviceKey, DeviceKind, SECTOR_BYTES, xenbus};

/// Draining a device that is taken away.
const CLOSE: Duration = Duration::from_millis(5);

impl Guest {
    pub(super) fn follow_devices(&mut self, step: &mut Step<'_>) {
        let present = step.devices();
        self.frontends.retain(|key, _| present.contains(key));
        for key in present {
            self.follow_device(step, key);
        }
    }

    fn follow_device(&mut self, step: &mut Step<'_>, key: DeviceKey) {
        let path = relative(key);
        let Some(backend) = step.read(&format!("{path}/backend")) else { return };
        let theirs = number(step.state.store.read_str(step.id, &format!("{backend}/state")));
        let node = number(step.read(&format!("{path}/state")));
        let known = self.frontends.get(&key).map(|frontend| frontend.state);
        let own = match (known, node) {
            // Closed, taken away and described anew before the guest has looked.
            (Some(xenbus::CLOSED), Some(xenbus::INITIALISING)) => xenbus::INITIALISING,
            (Some(state), _) => state,
            (None, Some(xenbus::INITIALISING)) => xenbus::INITIALISING,
            (None, _) => return,
        };
        match (own, theirs) {
            (xenbus::INITIALISING, Some(xenbus::INIT_WAIT)) => self.connect(step, key, &path),
            (xenbus::INITIALISED | xenbus::CONNECTED, Some(xenbus::CONNECTED)) => {
                self.connected_to(step, key, &backend);
            }
            (xenbus::INITIALISED | xenbus::CONNECTED, Some(xenbus::CLOSING | xenbus::CLOSED)) => {
                self.start_closing(step, key);
            }
            // It never got as far as to have anything to close.
            (xenbus::INITIALISING, Some(xenbus::CLOSING)) => {
                self.set_frontend(step, key, xenbus::CLOSED);
            }
            (xenbus::CLOSING, _) => self.close(step, key),
            _ => {}
        }
    }

    fn connect(&mut self, step: &mut Step<'_>, key: DeviceKey, path: &str) {
        if self.plug_kills(step, "a device was plugged in") {
            return;
        }
        let port = step.state.hypervisor.alloc_port(step.id).unwrap_or(0).to_string();
        // A grant of its own for each disk.
        let ring = key.devid.to_string();
        let (nodes, state): (&[(&str, &str)], u32) = match key.kind {
            DeviceKind::Vbd => (
                &[("ring-ref", &ring), ("event-channel", &port), ("protocol", "x86_64-abi")],
                xenbus::INITIALISED,
            ),
            DeviceKind::Vif => (
                &[
                    ("tx-ring-ref", "9"),
                    ("rx-ring-ref", "10"),
                    ("event-channel", &port),
                    ("request-rx-copy", "1"),
                ],
                xenbus::CONNECTED,
            ),
        };
        for (name, value) in nodes {
            if !step.write(&format!("{path}/{name}"), value) {
                self.say(format!("{path}/{name} cannot be written"));
                return;
            }
        }
        self.set_frontend(step, key, state);
    }

    /// The backend is connected, or says so again because the disk under it has another size.
    fn connected_to(&mut self, step: &mut Step<'_>, key: DeviceKey, backend: &str) {
        let sectors = step.state.store.read_str(step.id, &format!("{backend}/sectors"));
        let sectors = sectors.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        let (state, before) = (frontend.state, frontend.sectors);
        frontend.sectors = sectors;
        if state == xenbus::INITIALISED {
            self.set_frontend(step, key, xenbus::CONNECTED);
            self.say(format!("{} {} is there", key.kind.name(), key.devid));
        } else if before != sectors {
            self.say(format!("vbd {} has {sectors} sectors now", key.devid));
        }
    }

    pub(super) fn start_closing(&mut self, step: &mut Step<'_>, key: DeviceKey) {
        self.set_frontend(step, key, xenbus::CLOSING);
        let closed_at = step.now() + CLOSE;
        if let Some(frontend) = self.frontends.get_mut(&key) {
            frontend.closed_at = Some(closed_at);
        }
        step.again_at(closed_at);
    }

    fn close(&mut self, step: &mut Step<'_>, key: DeviceKey) {
        let Some(at) = self.frontends.get(&key).and_then(|frontend| frontend.closed_at) else {
            return;
        };
        if step.now() < at {
            step.again_at(at);
        } else {
            self.set_frontend(step, key, xenbus::CLOSED);
            self.say(format!("{} {} is gone", key.kind.name(), key.devid));
        }
    }

    /// A state node that the toolstack has removed is not made again.
    pub(super) fn set_frontend(&mut self, step: &mut Step<'_>, key: DeviceKey, state: u32) {
        let sectors = self.frontends.get(&key).map_or(0, |frontend| frontend.sectors);
        self.frontends.insert(key, Frontend { state, closed_at: None, sectors });
        let node = format!("{}/state", relative(key));
        if step.read(&node).is_some() {
            step.write(&node, &state.to_string());
        }
    }

    pub(super) fn disk_sizes(&self) -> BTreeMap<u32, u64> {
        let disks = self.frontends.iter().filter(|(key, frontend)| {
            key.kind == DeviceKind::Vbd && frontend.state == xenbus::CONNECTED
        });
        disks.map(|(key, frontend)| (key.devid, frontend.sectors * SECTOR_BYTES)).collect()
    }
}

impl Step<'_> {
    /// The devices that are described for this guest.
    pub(super) fn devices(&mut self) -> Vec<DeviceKey> {
        let mut present = Vec::new();
        let frontend = self.id.get();
        for kind in [DeviceKind::Vbd, DeviceKind::Vif] {
            let names = self.children(&format!("device/{}", kind.name()));
            let key = |name: &String| DeviceKey::of_frontend(frontend, &[kind.name(), name]);
            present.extend(names.iter().filter_map(key));
        }
        present
    }
}

fn number(text: Option<String>) -> Option<u32> {
    text.and_then(|text| text.trim().parse().ok())
}

pub(super) fn relative(key: DeviceKey) -> String {
    format!("device/{}/{}", key.kind.name(), key.devid)
}
