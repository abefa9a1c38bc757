//! What a guest's workload moves through its first disk and its first NIC, accounted when somebody looks or something changes.

use super::{Guest, Moved, Phase};
use crate::sim::backend::{Backend, DeviceKey, DeviceKind};
use crate::sim::hypervisor::domid;
use crate::sim::machine::State;
use crate::sim::traffic::Flow;

impl State {
    /// Counts what a guest's devices have moved until now, as things stand.
    pub(crate) fn settle_guest(&mut self, raw: u16) {
        let runs = domid(raw)
            .and_then(|id| self.hypervisor.get(id).ok())
            .is_some_and(|domain| domain.runs());
        let (now, failing) = (self.now, &self.block_devices_failing);
        let Some(guest) = self.guests.get_mut(&raw) else { return };
        let works = runs && guest.phase == Phase::Running;
        for kind in [DeviceKind::Vbd, DeviceKind::Vif] {
            // The workload uses the first of each kind.
            let mut first = true;
            let of_guest = |key: &DeviceKey| key.frontend == raw && key.kind == kind;
            for (_, backend) in self.backends.iter_mut().filter(|(key, _)| of_guest(key)) {
                let flow = match kind {
                    _ if !first => Flow::default(),
                    DeviceKind::Vbd => {
                        let name = backend.device.as_ref().map(|device| &device.name);
                        guest.disk_flow(works, backend, name.is_some_and(|n| failing.contains(n)))
                    }
                    DeviceKind::Vif => guest.net_flow(works),
                };
                let before = backend.traffic.clone();
                backend.settle(now, flow);
                guest.moved(kind).add(
                    backend.traffic.to_guest_bytes - before.to_guest_bytes,
                    backend.traffic.from_guest_bytes - before.from_guest_bytes,
                );
                first = false;
            }
        }
    }

    pub(crate) fn set_block_device_failing(&mut self, name: &str, fails: bool) {
        let guests: Vec<u16> = self.guests.keys().copied().collect();
        for raw in guests {
            self.settle_guest(raw);
        }
        if fails {
            self.block_devices_failing.insert(name.to_owned());
        } else {
            self.block_devices_failing.remove(name);
        }
    }
}

impl Moved {
    fn add(&mut self, in_bytes: u64, out_bytes: u64) {
        self.in_bytes = self.in_bytes.saturating_add(in_bytes);
        self.out_bytes = self.out_bytes.saturating_add(out_bytes);
    }
}

impl Guest {
    fn moved(&mut self, kind: DeviceKind) -> &mut Moved {
        match kind {
            DeviceKind::Vbd => &mut self.disk,
            DeviceKind::Vif => &mut self.net,
        }
    }

    fn disk_flow(&self, works: bool, backend: &Backend, fails: bool) -> Flow {
        let rate = if works { self.workload.disk_bytes_per_s } else { 0 };
        match (fails, backend.is_read_only()) {
            (true, _) => Flow { to_guest: 0, from_guest: 0, lost: 2 * rate },
            (false, true) => Flow { to_guest: rate, from_guest: 0, lost: rate },
            (false, false) => Flow { to_guest: rate, from_guest: rate, lost: 0 },
        }
    }

    /// Its peer goes on sending while the guest does not listen.
    fn net_flow(&self, works: bool) -> Flow {
        let rate = self.workload.net_bytes_per_s;
        match works {
            true => Flow { to_guest: rate, from_guest: rate, lost: 0 },
            false => Flow { to_guest: 0, from_guest: 0, lost: rate },
        }
    }
}
