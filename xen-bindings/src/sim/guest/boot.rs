//! The end of a guest's boot: CPUs up, memory ballooned to its target, xenbus connected.

use std::time::Duration;

use super::{Guest, Phase, Step};
use crate::control::GuestKind;

impl Guest {
    /// A PV guest has no firmware tables to read and is there in little more than half the time (4.5 s and 7 to 9 s, emulated).
    pub(super) fn boot_time(&self, pvh: Duration) -> Duration {
        match self.kind {
            GuestKind::Pvh => pvh,
            GuestKind::Pv => pvh * 9 / 16,
        }
    }

    pub(super) fn boot(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Running;
        self.booted_at = Some(step.now());
        let mut cpus = self.vcpus_at_boot;
        if let Ok(domain) = step.state.hypervisor.get_mut(step.id) {
            // A PV guest starts all that it has, and puts the spare ones away when it looks at their availability.
            if self.kind == GuestKind::Pv {
                cpus = domain.vcpus_max;
            }
            for vcpu in domain.vcpus.iter_mut().take(cpus as usize) {
                vcpu.online = true;
            }
            domain.busy_vcpus = self.workload.busy_vcpus;
            domain.ram.use_rings();
            domain.ram.set_writers(&self.workload.memory_writers());
            // The balloon driver has given back what was never populated.
            domain.pod = false;
        }
        self.say(format!("VMM-GUEST-UP kernel=6.1-sim cpus={cpus}"));
        for feature in ["feature-poweroff", "feature-reboot", "feature-suspend"] {
            step.write(&format!("control/{feature}"), "1");
        }
    }
}
