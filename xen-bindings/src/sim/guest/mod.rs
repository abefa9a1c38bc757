//! A scripted Linux: boots, talks xenbus, obeys the toolstack or does not.
//!
//! ```text
//!   built ─ unpause ─► booting ─ guest_boot later ─► running ─ control/shutdown ─► stopping ─ 200 ms ─► shut down
//!                                                       ▲                            │ suspended: 100 ms
//!                                                       └──── resume, restore ───────┘
//! ```
//!
//! One step looks at everything: time that has come, vCPU availability, the balloon's target, devices, the shutdown node. It is
//! idempotent, so that a wake-up too many costs nothing. All xenstore requests are made as the guest itself.

mod balloon;
mod boot;
mod devices;
mod flow;
mod hostile;
mod mischief;
mod plug;
mod saved;
mod steps;
mod workload;

use std::collections::BTreeMap;
use std::time::Duration;

use super::backend::{DeviceKey, DeviceKind, xenbus};
use super::machine::State;
use super::probe::Behaviour;
use crate::control::{GuestKind, ShutdownReason};
use crate::domid::DomId;
use crate::guest_image::BuildSpec;
use balloon::Balloon;
use workload::Workload;

/// What the kernel keeps for itself of its memory.
const KERNEL_KIB: u64 = 49_152;
/// A boot's devices and CPUs are there by then.
const SETTLED: Duration = Duration::from_millis(500);
/// Lines that a console keeps.
const CONSOLE_LINES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Built,
    Booting { until: Duration },
    Running,
    Stopping { at: Duration, reason: ShutdownReason },
}

#[derive(Debug)]
pub(crate) struct Guest {
    phase: Phase,
    kind: GuestKind,
    cmdline: String,
    behaviour: Behaviour,
    workload: Workload,
    /// When a slow guest looks at what it is asked.
    looks_at: Option<Duration>,
    /// When a hostile one strikes again.
    mischief_at: Duration,
    /// Nodes that it made to use up its quota.
    junk_count: u32,
    vcpus_at_boot: u32,
    balloon: Balloon,
    /// vCPUs on their way up.
    plugging: BTreeMap<u32, Duration>,
    /// Frontends, with the state that they are in and when they close.
    frontends: BTreeMap<DeviceKey, Frontend>,
    console: Vec<String>,
    booted_at: Option<Duration>,
    disk: Moved,
    net: Moved,
}

/// What the guest itself counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    in_bytes: u64,
    out_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Frontend {
    state: u32,
    closed_at: Option<Duration>,
    /// A disk's size, as the backend told it last.
    sectors: u64,
}

/// One step's view: the machine, the guest's own id and its path.
struct Step<'a> {
    state: &'a mut State,
    id: DomId,
    home: String,
    due: Option<Duration>,
}

impl Step<'_> {
    fn read(&mut self, relative: &str) -> Option<String> {
        let path = format!("{}/{relative}", self.home);
        self.state.store.read_str(self.id, &path)
    }

    /// What the guest may not write stays as it is.
    fn write(&mut self, relative: &str, value: &str) -> bool {
        let path = format!("{}/{relative}", self.home);
        self.state.store.write_str(self.id, &path, value)
    }

    fn write_bytes(&mut self, relative: &str, value: &[u8]) -> bool {
        let path = format!("{}/{relative}", self.home);
        self.state.store.write_bytes(self.id, &path, value)
    }

    fn remove(&mut self, relative: &str) {
        let path = format!("{}/{relative}", self.home);
        self.state.store.remove(self.id, &path);
    }

    fn children(&mut self, relative: &str) -> Vec<String> {
        let path = format!("{}/{relative}", self.home);
        self.state.store.children(self.id, &path)
    }

    fn now(&self) -> Duration {
        self.state.now
    }

    /// Look again then, at the latest.
    fn again_at(&mut self, at: Duration) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

impl Guest {
    pub(crate) fn new(spec: &BuildSpec, kind: GuestKind) -> Self {
        let workload = Workload::parse(&spec.cmdline);
        Self {
            phase: Phase::Built,
            kind,
            cmdline: spec.cmdline.clone(),
            looks_at: None,
            mischief_at: Duration::ZERO,
            junk_count: 0,
            behaviour: workload.behaviour,
            workload,
            vcpus_at_boot: spec.vcpus_online,
            balloon: Balloon::new(spec.memory_target_kib, spec.memory_max_kib),
            plugging: BTreeMap::new(),
            frontends: BTreeMap::new(),
            console: Vec::new(),
            booted_at: None,
            disk: Moved::default(),
            net: Moved::default(),
        }
    }

    fn say(&mut self, line: impl Into<String>) {
        if self.console.len() == CONSOLE_LINES_MAX {
            self.console.remove(0);
        }
        self.console.push(line.into());
    }

    fn step(&mut self, step: &mut Step<'_>) {
        match self.phase {
            Phase::Built => {
                self.say("Linux version 6.1 (simulated)");
                let until = step.now() + self.boot_time(step.state.config.guest_boot);
                self.phase = Phase::Booting { until };
                step.again_at(until);
            }
            Phase::Booting { until } if step.now() < until => step.again_at(until),
            Phase::Booting { .. } => {
                self.boot(step);
                self.run(step);
            }
            Phase::Running => self.run(step),
            Phase::Stopping { at, .. } if step.now() < at => step.again_at(at),
            Phase::Stopping { reason, .. } => step.state.guest_shutdown(step.id, reason),
        }
    }

    fn run(&mut self, step: &mut Step<'_>) {
        if let Some(at) = self.crash_due() {
            if at <= step.now() {
                self.say("VMM-GUEST-CRASH");
                step.state.guest_shutdown(step.id, ShutdownReason::Crash);
                return;
            }
            step.again_at(at);
        }
        if !step.state.store.is_introduced(step.id) {
            return;
        }
        match self.behaviour {
            Behaviour::Deaf => {}
            Behaviour::Hostile => self.vandalise(step),
            Behaviour::Floods => self.flood(step),
            Behaviour::Slow => {
                if !self.dawdles(step) {
                    self.obey(step);
                }
            }
            Behaviour::IgnoresPlugs => self.ignore_plugs(step),
            Behaviour::ReopensDevices => {
                self.obey(step);
                self.reopen_devices(step);
            }
            Behaviour::Clings => {
                self.obey(step);
                self.cling(step);
            }
            Behaviour::FillsQuota => self.fill_quota(step),
            Behaviour::NonsenseStates => self.write_nonsense_states(step),
            Behaviour::RemovesDevices => self.remove_devices(step),
            Behaviour::Cooperative
            | Behaviour::CrashOnPlug
            | Behaviour::RebootOnPlug
            | Behaviour::CrashOnSuspend => self.obey(step),
        }
    }

    /// As Linux does.
    fn obey(&mut self, step: &mut Step<'_>) {
        self.follow_availability(step);
        self.follow_target(step);
        self.follow_devices(step);
        self.follow_control(step);
    }

    fn crash_due(&self) -> Option<Duration> {
        Some(self.booted_at? + self.workload.crash_after?)
    }

    /// What is there at boot was not plugged in.
    fn has_settled(&self, step: &Step<'_>) -> bool {
        self.booted_at.is_some_and(|at| step.now() > at + SETTLED)
    }

    /// True when a plug has ended it.
    fn plug_kills(&mut self, step: &mut Step<'_>, what: &str) -> bool {
        let reason = match self.behaviour {
            Behaviour::CrashOnPlug => ShutdownReason::Crash,
            Behaviour::RebootOnPlug => ShutdownReason::Reboot,
            _ => return false,
        };
        let ends = self.has_settled(step);
        if ends {
            self.say(format!("kernel panic: {what}"));
            step.state.guest_shutdown(step.id, reason);
        }
        ends
    }

    fn connected(&self, kind: DeviceKind) -> u32 {
        let up =
            |(key, f): &(&DeviceKey, &Frontend)| key.kind == kind && f.state == xenbus::CONNECTED;
        u32::try_from(self.frontends.iter().filter(up).count()).unwrap_or(u32::MAX)
    }
}
