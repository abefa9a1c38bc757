//! Counters that the workers raise and the report prints; and the self-check, which once bad stays bad.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) burned_rounds: AtomicU64,
    pub(crate) dirtied_bytes: AtomicU64,
    pub(crate) disk_read_bytes: AtomicU64,
    pub(crate) disk_written_bytes: AtomicU64,
    pub(crate) disk_errors: AtomicU64,
    pub(crate) disk_blocks_checked: AtomicU64,
    pub(crate) disk_check_done: AtomicBool,
    pub(crate) echoed_packets: AtomicU64,
    pub(crate) asked_packets: AtomicU64,
    pub(crate) answered_packets: AtomicU64,
    pub(crate) hostile_done: AtomicU64,
    pub(crate) hostile_refused: AtomicU64,
    bad: AtomicBool,
    /// Only what is said first is worth saying; the rest follows from it.
    said: Mutex<bool>,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Relaxed);
    }

    pub(crate) fn of(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    /// A check found damage.
    pub(crate) fn bad(&self, what: std::fmt::Arguments<'_>) {
        self.bad.store(true, Relaxed);
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !*said {
            println!("VMM-GUEST-BAD {what}");
            *said = true;
        }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        if self.bad.load(Relaxed) { "bad" } else { "ok" }
    }
}
