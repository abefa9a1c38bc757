//! The end of a guest's boot: CPUs up, memory ballooned to its target, xenbus connected.

use super::{Guest, Phase, Step};

impl Guest {
    pub(super) fn boot(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Running;
        self.booted_at = Some(step.now());
        if let Ok(domain) = step.state.hypervisor.get_mut(step.id) {
            for vcpu in domain.vcpus.iter_mut().take(self.vcpus_at_boot as usize) {
                vcpu.online = true;
            }
            domain.busy_vcpus = self.workload.busy_vcpus;
            // The balloon driver has given back what was never populated.
            domain.pod = false;
        }
        let cpus = self.vcpus_at_boot;
        self.say(format!("VMM-GUEST-UP kernel=6.1-sim cpus={cpus}"));
        for feature in ["feature-poweroff", "feature-reboot", "feature-suspend"] {
            step.write(&format!("control/{feature}"), "1");
        }
    }
}
