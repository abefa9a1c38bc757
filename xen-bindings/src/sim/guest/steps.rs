//! The machine's side of its guests: whose turn it is, and what they look like from outside.

use std::time::Duration;

use super::{KERNEL_KIB, Step};
use crate::domid::DomId;
use crate::sim::backend::DeviceKind;
use crate::sim::hypervisor::{PAGE_KIB, domid};
use crate::sim::machine::State;
use crate::sim::probe::{Behaviour, GuestProbe};
use crate::sim::timeline::Event;

impl State {
    pub(crate) fn step_guest(&mut self, raw: u16) {
        let Some(id) = domid(raw) else { return };
        self.settle_guest(raw);
        let runs = self.hypervisor.get(id).is_ok_and(|domain| domain.runs());
        if !runs {
            return;
        }
        let Some(mut guest) = self.guests.remove(&raw) else { return };
        let home = format!("/local/domain/{raw}");
        let mut step = Step { state: self, id, home, due: None };
        guest.step(&mut step);
        let due = step.due;
        if let Some(due) = due {
            self.timeline.schedule(Event::Guest(raw), due);
        }
        self.guests.insert(raw, guest);
    }

    /// The last pause was taken back, or a suspended guest goes on.
    pub(crate) fn resume_guest(&mut self, raw: u16) {
        if self.guests.contains_key(&raw) {
            self.timeline.schedule(Event::Guest(raw), self.now);
        }
    }

    /// A suspended guest goes on where it was.
    pub(crate) fn wake_up_suspended(&mut self, raw: u16) {
        if let Some(guest) = self.guests.get_mut(&raw) {
            guest.go_on();
        }
        self.resume_guest(raw);
    }

    pub(crate) fn set_behaviour(&mut self, id: DomId, behaviour: Behaviour) {
        if let Some(guest) = self.guests.get_mut(&id.get()) {
            guest.behaviour = behaviour;
            self.wake_guest(id.get());
        }
    }

    pub(crate) fn probe(&mut self, id: DomId) -> Option<GuestProbe> {
        self.settle_guest(id.get());
        let domain = self.hypervisor.get(id).ok()?;
        let guest = self.guests.get(&id.get())?;
        let ram_kib = domain.pages.saturating_sub(domain.special_pages) * PAGE_KIB;
        let uptime = guest.booted_at.map_or(Duration::ZERO, |at| self.now.saturating_sub(at));
        let mut probe = GuestProbe {
            booted: guest.booted_at.is_some(),
            cpus_online: domain.vcpus_online(),
            memory_total_kib: ram_kib.saturating_sub(KERNEL_KIB),
            uptime,
            console: guest.console.clone(),
            disk_read_bytes: guest.disk.in_bytes,
            disk_written_bytes: guest.disk.out_bytes,
            net_received_bytes: guest.net.in_bytes,
            net_sent_bytes: guest.net.out_bytes,
            disk_bytes: guest.disk_sizes(),
            vbds_connected: guest.connected(DeviceKind::Vbd),
            vifs_connected: guest.connected(DeviceKind::Vif),
        };
        if probe.booted {
            probe.console.push(status_line(&probe));
        }
        Some(probe)
    }
}

/// As the lab's guest image prints it every second.
fn status_line(probe: &GuestProbe) -> String {
    format!(
        "VMM-GUEST t={} cpus_online={} mem_total_kib={} disk_read={} disk_written={} selfcheck=ok",
        probe.uptime.as_secs(),
        probe.cpus_online,
        probe.memory_total_kib,
        probe.disk_read_bytes,
        probe.disk_written_bytes,
    )
}
