//! A guest that writes nonsense to whatever it may write, all the time.

use std::time::Duration;

use super::{Guest, Step};

/// From one burst to the next.
const PERIOD: Duration = Duration::from_millis(20);
const WRITES_PER_BURST: u32 = 4;

/// Where a toolstack might look.
const PLACES: &[&str] = &[
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-suspend",
    "data/report",
    "data/deep/er/and/deeper",
    "feature/x",
    "attr/x",
    "error/device/vbd/51712/error",
    "device/vbd/51712/state",
    "device/vbd/51712/ring-ref",
    "device/vif/0/state",
    "device/suspend/event-channel",
    // Not its own: refused.
    "name",
    "domid",
    "memory/target",
    "cpu/0/availability",
];

impl Guest {
    pub(super) fn vandalise(&mut self, step: &mut Step<'_>) {
        for _ in 0..WRITES_PER_BURST {
            let rng = &mut step.state.rng;
            let places = u64::try_from(PLACES.len()).unwrap_or(1);
            let place = usize::try_from(rng.between(0, places - 1)).unwrap_or(0);
            let value = nonsense(rng.next(), rng.next());
            let path = format!("{}/{}", step.home, PLACES[place]);
            step.state.store.write_bytes(step.id, &path, &value);
        }
        // Nodes of its own, until its quota ends it.
        let number = step.state.rng.between(0, 5000);
        step.write(&format!("data/junk/{number}"), "x");
        let at = step.now() + PERIOD;
        step.again_at(at);
    }
}

fn nonsense(choice: u64, word: u64) -> Vec<u8> {
    match choice % 7 {
        0 => Vec::new(),
        1 => vec![0xff; 2000],
        2 => word.to_le_bytes().to_vec(),
        3 => b"-1".to_vec(),
        4 => b"99999999999999999999999999".to_vec(),
        5 => b"6".to_vec(),
        _ => format!("../../{word}\n\0").into_bytes(),
    }
}
