//! xen-blkfront and xen-netfront.
//!
//! ```text
//!   backend InitWait ─► ring named, vbd: Initialised 3, vif: Connected 4
//!   backend Connected ─► vbd: Connected 4          backend Closing or Closed ─► Closing 5 ─► Closed 6
//! ```

use std::time::Duration;

use super::{Frontend, Guest, Step};
use crate::sim::backend::{DeviceKey, DeviceKind, xenbus};

/// Draining a device that is taken away.
const CLOSE: Duration = Duration::from_millis(5);

impl Guest {
    pub(super) fn follow_devices(&mut self, step: &mut Step<'_>) {
        let mut present = Vec::new();
        for kind in [DeviceKind::Vbd, DeviceKind::Vif] {
            let names = step.children(&format!("device/{}", kind.name()));
            let frontend = step.id.get();
            let keys = names
                .iter()
                .filter_map(|name| DeviceKey::of_frontend(frontend, &[kind.name(), name]));
            present.extend(keys);
        }
        self.frontends.retain(|key, _| present.contains(key));
        for key in present {
            self.follow_device(step, key);
        }
    }

    fn follow_device(&mut self, step: &mut Step<'_>, key: DeviceKey) {
        let path = relative(key);
        let state = |text: Option<String>| text.and_then(|t| t.trim().parse::<u32>().ok());
        let Some(backend) = step.read(&format!("{path}/backend")) else { return };
        let backend = state(step.state.store.read_str(step.id, &format!("{backend}/state")));
        let own = match self.frontends.get(&key) {
            Some(frontend) => frontend.state,
            // A driver takes on a device that the toolstack has just described, and no other.
            None => match state(step.read(&format!("{path}/state"))) {
                Some(xenbus::INITIALISING) => xenbus::INITIALISING,
                _ => return,
            },
        };
        match (own, backend) {
            (xenbus::INITIALISING | xenbus::CLOSED, Some(xenbus::INIT_WAIT)) => {
                self.connect(step, key, &path);
            }
            (xenbus::INITIALISED, Some(xenbus::CONNECTED)) => {
                self.set_frontend(step, key, xenbus::CONNECTED);
                self.say(format!("{} {} is there", key.kind.name(), key.devid));
            }
            (xenbus::INITIALISED | xenbus::CONNECTED, Some(xenbus::CLOSING | xenbus::CLOSED)) => {
                self.set_frontend(step, key, xenbus::CLOSING);
                let closed_at = step.now() + CLOSE;
                if let Some(frontend) = self.frontends.get_mut(&key) {
                    frontend.closed_at = Some(closed_at);
                }
                step.again_at(closed_at);
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
        let (nodes, state): (&[(&str, &str)], u32) = match key.kind {
            DeviceKind::Vbd => (
                &[("ring-ref", "8"), ("event-channel", &port), ("protocol", "x86_64-abi")],
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

    fn set_frontend(&mut self, step: &mut Step<'_>, key: DeviceKey, state: u32) {
        self.frontends.insert(key, Frontend { state, closed_at: None });
        step.write(&format!("{}/state", relative(key)), &state.to_string());
    }
}

fn relative(key: DeviceKey) -> String {
    format!("device/{}/{}", key.kind.name(), key.devid)
}
