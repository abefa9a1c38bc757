//! One look of a backend driver at its device: what it finds in xenstore, and what it does about it.

use std::time::Duration;

use super::backend::{Backend, DISK_BYTES, Device, DeviceKey, DeviceKind, SECTOR_BYTES, xenbus};
use super::machine::State;
use super::timeline::Event;
use crate::domid::DomId;

const DOM0: DomId = DomId::DOM0;
/// blkback's thread looks at the size of its device this often.
const RESIZE_NOTICE: Duration = Duration::from_millis(100);
/// As errors name them.
const ENOENT: u32 = 2;
const EINVAL: u32 = 22;

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
        match self.frontend_state(key) {
            xenbus::UNKNOWN => self.unregister(key),
            xenbus::INITIALISING if state == xenbus::CLOSED => {
                self.set_backend(key, xenbus::INIT_WAIT);
            }
            // netback finds the way from there by itself.
            xenbus::INITIALISING if state == xenbus::CLOSING && key.kind == DeviceKind::Vif => {
                self.set_backend(key, xenbus::INIT_WAIT);
            }
            xenbus::INITIALISED | xenbus::CONNECTED if state == xenbus::INIT_WAIT => {
                self.connect_backend(key, &path);
            }
            xenbus::INITIALISED | xenbus::CONNECTED if state == xenbus::CONNECTED => {
                self.follow_size(key, &path);
            }
            xenbus::CLOSING if state < xenbus::CLOSING => self.set_backend(key, xenbus::CLOSING),
            xenbus::CLOSED => self.close_backend(key, &path),
            odd if odd > xenbus::CLOSED || odd == xenbus::INIT_WAIT => {
                self.complain(key, EINVAL, &format!("saw state {odd} at frontend"));
            }
            _ => {}
        }
    }

    /// A state that is missing or no number is as good as none.
    fn frontend_state(&mut self, key: DeviceKey) -> u32 {
        let state = self.store.read_str(DOM0, &format!("{}/state", key.frontend_path()));
        state.as_deref().and_then(leading_number).unwrap_or(xenbus::UNKNOWN)
    }

    fn backend_node(&mut self, key: DeviceKey, name: &str) -> Option<String> {
        self.store.read_str(DOM0, &format!("{}/{name}", key.backend_path()))
    }

    /// A device that the toolstack has just described.
    fn probe_backend(&mut self, key: DeviceKey, path: &str) {
        let described = self.backend_node(key, "state").as_deref() == Some("1");
        // Without these the bus finds no other end, and no driver sees the device.
        let frontend = self.backend_node(key, "frontend");
        if !described || frontend != Some(key.frontend_path()) {
            return;
        }
        let features: &[&str] = match key.kind {
            DeviceKind::Vbd => &["feature-flush-cache", "feature-persistent", "feature-discard"],
            DeviceKind::Vif => &["feature-sg", "feature-rx-copy", "feature-split-event-channels"],
        };
        for feature in features {
            self.store.write_str(DOM0, &format!("{path}/{feature}"), "1");
        }
        // netback names its interface after the handle and hands the script to udev.
        let needed: &[&str] = if key.kind == DeviceKind::Vif { &["script", "handle"] } else { &[] };
        for name in needed {
            if self.backend_node(key, name).is_none() {
                self.complain(key, ENOENT, &format!("reading {name}"));
                self.write_state(key, xenbus::CLOSED);
                return;
            }
        }
        self.backends.insert(key, Backend::new(self.now));
        self.set_backend(key, xenbus::INIT_WAIT);
    }

    /// `xenbus_dev_fatal`: the error is written down, the node says Closing, and the driver's own belief stays.
    fn complain(&mut self, key: DeviceKey, errno: u32, what: &str) {
        let Some(relative) = key.backend_path().strip_prefix("/local/domain/0/").map(str::to_owned)
        else {
            return;
        };
        let path = format!("/local/domain/0/error/{relative}/error");
        self.store.write_str(DOM0, &path, &format!("{errno} {what}"));
        self.write_state(key, xenbus::CLOSING);
    }

    /// A state node that the toolstack has removed is not made again.
    fn write_state(&mut self, key: DeviceKey, state: u32) {
        let path = format!("{}/state", key.backend_path());
        if self.store.exists(&path) {
            self.store.write_str(DOM0, &path, &state.to_string());
        }
    }

    fn set_backend(&mut self, key: DeviceKey, state: u32) {
        let unmaps = match key.kind {
            DeviceKind::Vbd => state == xenbus::CLOSED,
            DeviceKind::Vif => matches!(state, xenbus::CLOSING | xenbus::CLOSED),
        };
        let Some(backend) = self.backends.get_mut(&key) else { return };
        backend.state = state;
        if unmaps && std::mem::take(&mut backend.mapped) {
            self.ring_unmapped(key);
        }
        self.write_state(key, state);
    }

    /// The last reference to a dying domain may have been this one.
    fn ring_unmapped(&mut self, key: DeviceKey) {
        let dying = super::hypervisor::domid(key.frontend)
            .and_then(|id| self.hypervisor.get(id).ok())
            .is_some_and(|domain| domain.dying);
        if dying {
            self.schedule_in(Event::Release(key.frontend), Duration::from_millis(1));
        }
    }

    /// The frontend is ready: its ring is mapped; connected is the backend once its own side is there too.
    fn connect_backend(&mut self, key: DeviceKey, path: &str) {
        if !self.has_ring(key) {
            self.complain(key, EINVAL, "reading ring-ref");
            return;
        }
        if key.kind == DeviceKind::Vif && self.backend_node(key, "mac").is_none() {
            self.complain(key, ENOENT, "parsing mac");
            return;
        }
        if let Some(backend) = self.backends.get_mut(&key) {
            backend.mapped = true;
        }
        let ready = match key.kind {
            DeviceKind::Vbd => self.open_device(key, path),
            DeviceKind::Vif => {
                self.backend_node(key, "hotplug-status").as_deref() == Some("connected")
            }
        };
        if ready {
            self.set_backend(key, xenbus::CONNECTED);
        }
    }

    /// False while dom0 has no device behind it.
    fn open_device(&mut self, key: DeviceKey, path: &str) -> bool {
        let name = self.backend_node(key, "physical-device");
        let Some(name) = name.filter(|name| name.contains(':')) else { return false };
        let read_only = !self.backend_node(key, "mode").is_some_and(|mode| mode.contains('w'));
        let sectors = self.device_sectors(&name);
        for (node, value) in [
            ("sectors", sectors),
            ("sector-size", SECTOR_BYTES),
            ("physical-sector-size", SECTOR_BYTES),
            // VDISK_READONLY
            ("info", if read_only { 4 } else { 0 }),
        ] {
            self.store.write_str(DOM0, &format!("{path}/{node}"), &value.to_string());
        }
        if let Some(backend) = self.backends.get_mut(&key) {
            backend.device = Some(Device { name, read_only, sectors });
        }
        true
    }

    fn device_sectors(&self, device: &str) -> u64 {
        self.block_devices.get(device).copied().unwrap_or(DISK_BYTES) / SECTOR_BYTES
    }

    /// The device under a disk has grown or shrunk: the frontend is told by the same state, written again.
    fn follow_size(&mut self, key: DeviceKey, path: &str) {
        let device = self.backends.get(&key).and_then(|backend| backend.device.as_ref());
        let Some((name, told)) = device.map(|device| (device.name.clone(), device.sectors)) else {
            return;
        };
        let sectors = self.device_sectors(&name);
        if sectors == told {
            return;
        }
        self.store.write_str(DOM0, &format!("{path}/sectors"), &sectors.to_string());
        let state = xenbus::CONNECTED.to_string();
        self.store.write_bytes(DOM0, &format!("{path}/state"), state.as_bytes());
        if let Some(backend) = self.backends.get_mut(&key)
            && let Some(device) = &mut backend.device
        {
            device.sectors = sectors;
        }
    }

    pub(crate) fn set_block_device(&mut self, name: &str, bytes: u64) {
        self.block_devices.insert(name.to_owned(), bytes);
        let uses =
            |backend: &Backend| backend.device.as_ref().is_some_and(|device| device.name == name);
        let users: Vec<DeviceKey> =
            self.backends.iter().filter(|(_, b)| uses(b)).map(|(key, _)| *key).collect();
        for key in users {
            self.schedule_in(Event::Backend(key), RESIZE_NOTICE);
        }
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

    /// The frontend's nodes are gone or hold no state: the bus lets the device go.
    fn unregister(&mut self, key: DeviceKey) {
        if key.kind == DeviceKind::Vif {
            self.set_backend(key, xenbus::CLOSED);
        }
        self.forget_backend(key);
    }

    fn forget_backend(&mut self, key: DeviceKey) {
        if self.backends.remove(&key).is_some_and(|backend| backend.mapped) {
            self.ring_unmapped(key);
        }
    }
}

/// As `sscanf` reads `%d`: a number at the start, whatever follows. Negative ones are no state.
fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}
