//! vCPUs by availability, and shutdown requests.

use std::time::Duration;

use super::{Guest, Phase, Step};
use crate::control::ShutdownReason;

/// From the availability node to the CPU's first instruction.
const PLUG: Duration = Duration::from_millis(50);
/// From the acknowledgement of a shutdown request to its end.
const STOP: Duration = Duration::from_millis(200);

impl Guest {
    pub(super) fn follow_availability(&mut self, step: &mut Step<'_>) {
        let Ok(domain) = step.state.hypervisor.get(step.id) else { return };
        let vcpus: Vec<bool> = domain.vcpus.iter().map(|vcpu| vcpu.online).collect();
        for (index, online) in (0_u32..).zip(vcpus) {
            let wanted = match step.read(&format!("cpu/{index}/availability")).as_deref() {
                Some("online") => true,
                Some("offline") => false,
                _ => continue,
            };
            match (wanted, online) {
                (true, false) => self.plug_vcpu(step, index),
                // The first CPU cannot go.
                (false, true) if index > 0 => self.set_vcpu(step, index, false),
                _ => {}
            }
            if wanted == online {
                self.plugging.remove(&index);
            }
        }
    }

    fn plug_vcpu(&mut self, step: &mut Step<'_>, index: u32) {
        let at = *self.plugging.entry(index).or_insert(step.now() + PLUG);
        if step.now() < at {
            step.again_at(at);
        } else if !self.plug_kills(step, "a CPU was plugged in") {
            self.set_vcpu(step, index, true);
        }
    }

    fn set_vcpu(&mut self, step: &mut Step<'_>, index: u32, online: bool) {
        self.plugging.remove(&index);
        let domain = step.state.hypervisor.get_mut(step.id).ok();
        if let Some(vcpu) = domain.and_then(|domain| domain.vcpus.get_mut(index as usize)) {
            vcpu.online = online;
        }
        self.say(format!("CPU{index} is {}", if online { "up" } else { "down" }));
    }

    pub(super) fn follow_control(&mut self, step: &mut Step<'_>) {
        let reason = match step.read("control/shutdown").as_deref() {
            None | Some("") => return,
            Some("poweroff" | "halt") => Some(ShutdownReason::Poweroff),
            Some("reboot") => Some(ShutdownReason::Reboot),
            Some("suspend") => Some(ShutdownReason::Suspend),
            Some(_) => None,
        };
        // A request that Linux does not know is acknowledged as well, and ignored.
        if !step.write("control/shutdown", "") {
            return;
        }
        let Some(reason) = reason else { return };
        let at = step.now() + STOP;
        self.phase = Phase::Stopping { at, reason };
        self.say(format!("shutting down: {reason:?}"));
        step.again_at(at);
    }
}
