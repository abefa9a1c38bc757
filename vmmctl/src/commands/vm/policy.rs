//! What `vm create` and `vm set` say alike: how a VM is scheduled, what follows its end, whether it starts with its host.

use clap::{Args, ValueEnum};
use vmm_core::vm::CpuSet;
use vmm_proto::v1::{Autostart, EventAction, OnEvent, Scheduling, Spec};

use crate::size;

const WEIGHT_DEFAULT: u16 = 256;

#[derive(Debug, Default, Args)]
pub(super) struct Policy {
    /// The least memory that its host's balloon policy may take it down to [usual: --memory, so that it is left alone].
    #[arg(long, value_name = "SIZE", value_parser = size::kib)]
    pub(super) memory_min: Option<u64>,
    /// Its share of CPU time under contention, 1 to 65535; twice as much is twice the share [usual: 256].
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(1..))]
    weight: Option<u16>,
    /// The most CPU time that it gets, in percent of one CPU; 0 is no limit [usual: 0].
    #[arg(long, value_name = "PERCENT")]
    cap: Option<u16>,
    /// The host's CPUs that it may run on, such as 0-3,7; `all` for all.
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    cpus: Option<String>,
    /// The host's CPUs that it runs on best; `all` for all.
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    cpus_soft: Option<String>,
    /// What follows when its guest powers off [usual: destroy].
    #[arg(long, value_enum, value_name = "ACTION")]
    on_poweroff: Option<Action>,
    /// What follows when its guest reboots [usual: restart].
    #[arg(long, value_enum, value_name = "ACTION")]
    on_reboot: Option<Action>,
    /// What follows when its guest crashes [usual: destroy].
    #[arg(long, value_enum, value_name = "ACTION")]
    on_crash: Option<Action>,
    /// Start it when its host has booted: VMs of a lower order first, the next one DELAY_S seconds after this one.
    #[arg(long, value_name = "ORDER[:DELAY_S]", num_args = 0..=1, default_missing_value = "0", value_parser = autostart)]
    autostart: Option<Autostart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// The VM is stopped.
    Destroy,
    /// It starts again.
    Restart,
    /// Its domain and memory stay for whoever wants to look, until it is destroyed.
    Preserve,
}

impl From<Action> for EventAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Destroy => Self::Destroy,
            Action::Restart => Self::Restart,
            Action::Preserve => Self::Preserve,
        }
    }
}

fn cpus(text: &str) -> Result<String, String> {
    if text == "all" {
        return Ok(String::new());
    }
    match text.parse::<CpuSet>() {
        Ok(set) if !set.is_all() => Ok(set.to_string()),
        _ => Err(format!("{text:?} are no CPUs: write numbers and ranges such as 0-3,7, or all")),
    }
}

fn autostart(text: &str) -> Result<Autostart, String> {
    let wrong = || format!("{text:?} is no autostart: write ORDER or ORDER:SECONDS, such as 10:30");
    let number = |text: &str| text.parse().map_err(|_| wrong());
    let (order, delay_s) = text.split_once(':').unwrap_or((text, "0"));
    Ok(Autostart { enabled: true, order: number(order)?, delay_s: number(delay_s)? })
}

impl Policy {
    /// All that was said about scheduling, over what is so already; `None` when nothing was.
    pub(super) fn scheduling(&self, before: &Spec) -> Option<Scheduling> {
        let Self { weight, cap, cpus, cpus_soft, .. } = self;
        if weight.is_none() && cap.is_none() && cpus.is_none() && cpus_soft.is_none() {
            return None;
        }
        let before = before.scheduling.clone().unwrap_or(Scheduling {
            weight: WEIGHT_DEFAULT,
            cap_percent: 0,
            affinity: String::new(),
            affinity_soft: String::new(),
        });
        Some(Scheduling {
            weight: weight.unwrap_or(before.weight),
            cap_percent: cap.unwrap_or(before.cap_percent),
            affinity: cpus.clone().unwrap_or(before.affinity),
            affinity_soft: cpus_soft.clone().unwrap_or(before.affinity_soft),
        })
    }

    /// As [`Policy::scheduling`], about what follows an end.
    pub(super) fn on_event(&self, before: &Spec) -> Option<OnEvent> {
        let Self { on_poweroff, on_reboot, on_crash, .. } = self;
        if on_poweroff.is_none() && on_reboot.is_none() && on_crash.is_none() {
            return None;
        }
        let before = before.on_event.unwrap_or(OnEvent {
            poweroff: EventAction::Destroy,
            reboot: EventAction::Restart,
            crash: EventAction::Destroy,
        });
        Some(OnEvent {
            poweroff: on_poweroff.map_or(before.poweroff, Into::into),
            reboot: on_reboot.map_or(before.reboot, Into::into),
            crash: on_crash.map_or(before.crash, Into::into),
        })
    }

    pub(super) fn autostart(&self) -> Option<Autostart> {
        self.autostart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_numbers_and_ranges_or_all() {
        assert_eq!(cpus("7,0-3"), Ok("0-3,7".into()));
        assert_eq!(cpus("all"), Ok(String::new()));
        for wrong in ["", "x", "3-1", "0-3,", "9999"] {
            assert!(cpus(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_autostart_is_an_order_and_maybe_a_delay() {
        let is = |order, delay_s| Ok(Autostart { enabled: true, order, delay_s });
        assert_eq!(autostart("0"), is(0, 0));
        assert_eq!(autostart("10:30"), is(10, 30));
        for wrong in ["", ":3", "1:", "-1", "1:2:3"] {
            assert!(autostart(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_not_said_stays_as_it_was() {
        let said = Policy { cap: Some(50), on_crash: Some(Action::Preserve), ..Policy::default() };
        let before = Spec {
            scheduling: Some(Scheduling {
                weight: 7,
                cap_percent: 0,
                affinity: "1".into(),
                affinity_soft: String::new(),
            }),
            ..Spec::default()
        };
        let scheduling = said.scheduling(&before).expect("said");
        assert_eq!((scheduling.weight, scheduling.cap_percent), (7, 50));
        assert_eq!(scheduling.affinity, "1");
        let on_event = said.on_event(&before).expect("said");
        assert_eq!(
            (on_event.reboot, on_event.crash),
            (EventAction::Restart, EventAction::Preserve)
        );
        assert_eq!(Policy::default().scheduling(&before), None);
        assert_eq!(Policy::default().on_event(&before), None);
    }
}
