//! Guests that misbehave in one way each.

use std::time::Duration;

use super::devices::relative;
use super::{Guest, Step};
use crate::sim::backend::xenbus;

/// How late a slow guest is.
const SLOW: Duration = Duration::from_secs(10);
/// From one strike to the next.
const PERIOD: Duration = Duration::from_millis(200);
/// Between two floods.
const EBB: Duration = Duration::from_secs(2);
const WRITES_PER_FLOOD: u32 = 2000;
const BREATH: Duration = Duration::from_millis(20);
const NODES_PER_BREATH: u32 = 25;
/// The longest value that a guest may write.
const VALUE_BYTES_MAX: usize = 2048;

/// For a device's state.
const STATES: &[&[u8]] = &[
    b"77",
    b"",
    b"-3",
    b"2",
    b"4",
    b"nonsense",
    b"6",
    b"1",
    b"99999999999",
    b"5",
    b"\xff\xfe",
    b"3",
];

impl Guest {
    /// True while it is not yet time to look.
    pub(super) fn dawdles(&mut self, step: &mut Step<'_>) -> bool {
        let at = *self.looks_at.get_or_insert(step.now() + SLOW);
        if step.now() < at {
            step.again_at(at);
            return true;
        }
        self.looks_at = None;
        false
    }

    /// It takes what is there at boot, and shuts down when asked.
    pub(super) fn ignore_plugs(&mut self, step: &mut Step<'_>) {
        if !self.has_settled(step) {
            self.follow_devices(step);
        }
        self.follow_control(step);
    }

    /// True when it is time; then not again for a while.
    fn strikes(&mut self, step: &mut Step<'_>, period: Duration) -> bool {
        let due = step.now() >= self.mischief_at;
        if due {
            self.mischief_at = step.now() + period;
        }
        step.again_at(self.mischief_at);
        due
    }

    /// As somebody in it who unbinds its drivers and binds them again.
    pub(super) fn reopen_devices(&mut self, step: &mut Step<'_>) {
        let strikes = self.strikes(step, PERIOD);
        let own: Vec<_> = self.frontends.iter().map(|(key, own)| (*key, own.state)).collect();
        for (key, state) in own {
            match state {
                xenbus::CONNECTED if strikes => self.start_closing(step, key),
                xenbus::CLOSED if strikes => self.set_frontend(step, key, xenbus::INITIALISING),
                _ => {}
            }
        }
    }

    pub(super) fn write_nonsense_states(&mut self, step: &mut Step<'_>) {
        self.follow_control(step);
        if !self.strikes(step, PERIOD) {
            return;
        }
        for key in step.devices() {
            let most = u64::try_from(STATES.len()).unwrap_or(1) - 1;
            let choice = usize::try_from(step.state.rng.between(0, most)).unwrap_or(0);
            let value = STATES.get(choice).copied().unwrap_or_default();
            step.write_bytes(&format!("{}/state", relative(key)), value);
        }
    }

    pub(super) fn remove_devices(&mut self, step: &mut Step<'_>) {
        for key in step.devices() {
            step.remove(&relative(key));
        }
        self.follow_availability(step);
        self.follow_target(step);
        self.follow_control(step);
    }

    /// What it was asked it does, and then says otherwise.
    pub(super) fn cling(&mut self, step: &mut Step<'_>) {
        for key in step.devices() {
            let node = format!("{}/state", relative(key));
            if step.read(&node).is_some_and(|state| state != "1") {
                step.write(&node, "4");
            }
        }
    }

    /// The folders and names of the lab's own workload.
    pub(super) fn fill_quota(&mut self, step: &mut Step<'_>) {
        if !self.strikes(step, BREATH) {
            return;
        }
        for _ in 0..NODES_PER_BREATH {
            let number = self.junk_count + 1;
            if !step.write_bytes(&format!("data/{}/{number}", number / 50), b"") {
                return;
            }
            self.junk_count = number;
        }
    }

    pub(super) fn flood(&mut self, step: &mut Step<'_>) {
        if !self.strikes(step, EBB) {
            return;
        }
        let first = step.state.rng.next();
        for number in 0..WRITES_PER_FLOOD {
            let byte = first.to_le_bytes()[number as usize % 8];
            let length = if number % 10 == 0 { VALUE_BYTES_MAX } else { 16 };
            step.write_bytes(&format!("data/flood/{number}"), &vec![byte; length]);
            step.write_bytes("control/shutdown", &[byte, 0xff]);
        }
    }
}
