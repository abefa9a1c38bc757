//! What shall be done with a VM without asking its guest.

use serde::{Deserialize, Serialize};

/// How Xen runs the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestKind {
    /// Hardware-assisted, no device model.
    #[default]
    Pvh,
    /// Paravirtual.
    Pv,
    /// With a device model. Refused for now, by name.
    Hvm,
}

/// How Xen's scheduler treats a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Share under contention; 256 is usual.
    #[serde(rename = "@weight")]
    pub weight: u16,
    /// Limit in percent of one physical CPU; 0 is none.
    #[serde(rename = "@cap-percent")]
    pub cap_percent: u16,
    /// CPUs that its vCPUs may run on, such as `0-3,7`; empty for all.
    #[serde(rename = "@affinity", default, skip_serializing_if = "String::is_empty")]
    pub affinity: String,
    /// CPUs that they run on best; empty for all.
    #[serde(rename = "@affinity-soft", default, skip_serializing_if = "String::is_empty")]
    pub affinity_soft: String,
}

/// What follows when a guest ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventAction {
    /// The VM is stopped, and nothing of it stays on the host.
    Destroy,
    /// It starts again, in a new domain.
    Restart,
    /// Its domain stays as it is, for whoever wants to look.
    Preserve,
}

/// What follows each way in which a guest ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnEvent {
    /// It powered off.
    #[serde(rename = "@poweroff")]
    pub poweroff: EventAction,
    /// It rebooted.
    #[serde(rename = "@reboot")]
    pub reboot: EventAction,
    /// It crashed, or its watchdog fired.
    #[serde(rename = "@crash")]
    pub crash: EventAction,
}

fn yes() -> bool {
    true
}

/// When a VM is started after its host has booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autostart {
    /// False only in [`super::ConfigureVm`], to take it back.
    #[serde(rename = "@enabled", default = "yes")]
    pub enabled: bool,
    /// VMs of a lower order start earlier.
    #[serde(rename = "@order")]
    pub order: u32,
    /// How long to wait after this VM before the next one is started.
    #[serde(rename = "@delay-s")]
    pub delay_s: u32,
}
