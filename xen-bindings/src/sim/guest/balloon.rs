//! The balloon driver: towards memory/target, a step at a time.
//!
//! Within the memory map of its boot it needs nobody. Above it, memory appears in blocks of 128 MiB, and only once Xen's maximum
//! allows what the target asks; until then it tries again, ever more rarely, as Linux does.

use std::time::Duration;

use super::{Guest, Step};
use crate::sim::hypervisor::PAGE_KIB;

/// 256 MiB/s.
const STEP: Duration = Duration::from_millis(50);
const STEP_KIB: u64 = 256 * 1024 / 20;
/// A hot-plugged block of memory.
const BLOCK_KIB: u64 = 128 * 1024;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(32);
/// Linux does not give away its last memory.
const FLOOR_KIB: u64 = 32 * 1024;

#[derive(Debug)]
pub(super) struct Balloon {
    /// What the guest holds by its own account.
    held_kib: u64,
    /// Where its memory map ends.
    map_end_kib: u64,
    /// No step before this.
    not_before: Duration,
    retry: Duration,
}

impl Balloon {
    pub(super) fn map_end_kib(&self) -> u64 {
        self.map_end_kib
    }

    pub(super) fn new(target_kib: u64, max_kib: u64) -> Self {
        Self {
            held_kib: target_kib,
            map_end_kib: max_kib,
            not_before: Duration::ZERO,
            retry: RETRY_MIN,
        }
    }
}

impl Guest {
    pub(super) fn follow_target(&mut self, step: &mut Step<'_>) {
        let target = step.read("memory/target").and_then(|text| text.trim().parse::<u64>().ok());
        let Some(target) = target.map(|target| target.max(FLOOR_KIB)) else { return };
        let Ok(domain) = step.state.hypervisor.get(step.id) else { return };
        let (special, max_kib) = (domain.special_pages, domain.memory_max_kib);
        // The toolstack may have populated or taken memory itself.
        self.balloon.held_kib = domain.pages.saturating_sub(special) * PAGE_KIB;
        let held = self.balloon.held_kib / PAGE_KIB * PAGE_KIB;
        if held == target / PAGE_KIB * PAGE_KIB {
            self.balloon.retry = RETRY_MIN;
            return;
        }
        if step.now() < self.balloon.not_before {
            step.again_at(self.balloon.not_before);
            return;
        }
        if target > self.balloon.map_end_kib && target <= max_kib {
            if self.plug_kills(step, "memory was plugged in") {
                return;
            }
            let missing = target - self.balloon.map_end_kib;
            self.balloon.map_end_kib += missing.div_ceil(BLOCK_KIB) * BLOCK_KIB;
        }
        let goal = target.min(self.balloon.map_end_kib);
        self.move_towards(step, held, goal, special);
        self.plan_next(step, held, target);
    }

    fn move_towards(&mut self, step: &mut Step<'_>, held: u64, goal: u64, special: u64) {
        let next = if goal < held {
            goal.max(held.saturating_sub(STEP_KIB))
        } else {
            goal.min(held + STEP_KIB)
        };
        let pages = next / PAGE_KIB + special;
        if let Ok(pages) = step.state.hypervisor.resize(step.id, pages) {
            self.balloon.held_kib = pages.saturating_sub(special) * PAGE_KIB;
        }
    }

    /// The next step soon while it gets on, later and later while it does not.
    fn plan_next(&mut self, step: &mut Step<'_>, before: u64, target: u64) {
        let held = self.balloon.held_kib;
        if held / PAGE_KIB == target / PAGE_KIB {
            self.balloon.retry = RETRY_MIN;
            return;
        }
        let wait = if held == before {
            let wait = self.balloon.retry;
            self.balloon.retry = (wait * 2).min(RETRY_MAX);
            wait
        } else {
            self.balloon.retry = RETRY_MIN;
            STEP
        };
        self.balloon.not_before = step.now() + wait;
        step.again_at(self.balloon.not_before);
    }
}
