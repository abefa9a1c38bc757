//! vCPUs by availability, and shutdown requests.

use std::time::Duration;

use super::{Guest, Phase, Step};
use crate::control::{GuestKind, ShutdownReason};
use crate::sim::probe::Behaviour;

/// From the availability node to the CPU's first instruction.
const PLUG: Duration = Duration::from_millis(50);
/// From the acknowledgement of a shutdown request to its end.
const STOP: Duration = Duration::from_millis(200);
const SUSPEND: Duration = Duration::from_millis(100);
/// From a PV guest's boot, with all its vCPUs, until it looks at which of them it should have.
const PV_LOOK: Duration = Duration::from_millis(200);

impl Guest {
    pub(super) fn follow_availability(&mut self, step: &mut Step<'_>) {
        let look = self.booted_at.unwrap_or_default() + PV_LOOK;
        if self.kind == GuestKind::Pv && step.now() < look {
            step.again_at(look);
            return;
        }
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
            Some("poweroff" | "halt") => ShutdownReason::Poweroff,
            Some("reboot") => ShutdownReason::Reboot,
            Some("suspend") => ShutdownReason::Suspend,
            // What Linux does not know it does not acknowledge either.
            _ => return,
        };
        if !step.write("control/shutdown", "") {
            return;
        }
        let crashes =
            self.behaviour == Behaviour::CrashOnSuspend && reason == ShutdownReason::Suspend;
        let reason = if crashes { ShutdownReason::Crash } else { reason };
        let at = step.now() + if reason == ShutdownReason::Suspend { SUSPEND } else { STOP };
        self.phase = Phase::Stopping { at, reason };
        self.say(format!("shutting down: {reason:?}"));
        step.again_at(at);
    }

    /// Its suspension is over: resumed in place.
    pub(super) fn go_on(&mut self) {
        if let Phase::Stopping { reason: ShutdownReason::Suspend, .. } = self.phase {
            self.phase = Phase::Running;
            self.say("resumed");
        }
    }
}
