//! Scheduling, actions on events, autostart.

use vmm_core::vm::{Autostart, EventAction, GuestKind, OnEvent, Scheduling, SpecError};

use crate::v1;

impl TryFrom<v1::GuestKind> for GuestKind {
    type Error = SpecError;

    fn try_from(wire: v1::GuestKind) -> Result<Self, SpecError> {
        match wire {
            v1::GuestKind::Pvh => Ok(GuestKind::Pvh),
            v1::GuestKind::Pv => Ok(GuestKind::Pv),
            v1::GuestKind::Hvm => Err(SpecError::Kind("hvm".into())),
        }
    }
}

impl From<GuestKind> for v1::GuestKind {
    fn from(kind: GuestKind) -> Self {
        match kind {
            GuestKind::Pvh => v1::GuestKind::Pvh,
            GuestKind::Pv => v1::GuestKind::Pv,
        }
    }
}

impl TryFrom<v1::Scheduling> for Scheduling {
    type Error = SpecError;

    fn try_from(wire: v1::Scheduling) -> Result<Self, SpecError> {
        let scheduling = Scheduling {
            weight: wire.weight,
            cap_percent: wire.cap_percent,
            affinity: wire.affinity.parse()?,
            affinity_soft: wire.affinity_soft.parse()?,
        };
        scheduling.check()?;
        Ok(scheduling)
    }
}

impl From<&Scheduling> for v1::Scheduling {
    fn from(scheduling: &Scheduling) -> Self {
        v1::Scheduling {
            weight: scheduling.weight,
            cap_percent: scheduling.cap_percent,
            affinity: scheduling.affinity.to_string(),
            affinity_soft: scheduling.affinity_soft.to_string(),
        }
    }
}

impl From<v1::EventAction> for EventAction {
    fn from(wire: v1::EventAction) -> Self {
        match wire {
            v1::EventAction::Destroy => EventAction::Destroy,
            v1::EventAction::Restart => EventAction::Restart,
            v1::EventAction::Preserve => EventAction::Preserve,
        }
    }
}

impl From<EventAction> for v1::EventAction {
    fn from(action: EventAction) -> Self {
        match action {
            EventAction::Destroy => v1::EventAction::Destroy,
            EventAction::Restart => v1::EventAction::Restart,
            EventAction::Preserve => v1::EventAction::Preserve,
        }
    }
}

impl From<v1::OnEvent> for OnEvent {
    fn from(wire: v1::OnEvent) -> Self {
        OnEvent {
            poweroff: wire.poweroff.into(),
            reboot: wire.reboot.into(),
            crash: wire.crash.into(),
        }
    }
}

impl From<OnEvent> for v1::OnEvent {
    fn from(on_event: OnEvent) -> Self {
        v1::OnEvent {
            poweroff: on_event.poweroff.into(),
            reboot: on_event.reboot.into(),
            crash: on_event.crash.into(),
        }
    }
}

impl From<v1::Autostart> for Option<Autostart> {
    fn from(wire: v1::Autostart) -> Self {
        wire.enabled.then_some(Autostart { order: wire.order, delay_s: wire.delay_s })
    }
}

impl From<Autostart> for v1::Autostart {
    fn from(autostart: Autostart) -> Self {
        v1::Autostart { enabled: true, order: autostart.order, delay_s: autostart.delay_s }
    }
}
