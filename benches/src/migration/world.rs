//! A driver for any policy: a guest, encoders, a link, and a clock that only this file moves.
//!
//! The encoders and the link work at once, each at its pace; the policy is asked for more while less than [`QUEUE_S`] is waiting. The guest
//! runs meanwhile, a millisecond at a time. A harvest and each first write after it cost the guest time, as on real hardware.

use std::collections::VecDeque;
use std::time::Duration;

use vmm_core::migration::{
    Action, BalloonReading, Batch, Bitmap, Brake, Encoding, Event, Item, Keep, Outcome, PAGE_BYTES,
    Pack, Pfn, Policy, Reason,
};
use vmm_core::units::Kib;

use super::guest::{COSTS, Content, Guest};

const STEP_S: f64 = 0.001;
const QUEUE_S: f64 = 0.003;
const ROUND_TRIP_S: f64 = 0.0005;
/// What a page takes beside its contents.
const HEADER_BYTES: f64 = 4.0;
/// The guest stands still while its log is taken, or looked at.
const HARVEST_S: f64 = 0.0002;
const FAULT_S: f64 = 1.2e-6;
/// What a balloon really gives back a second.
const BALLOON_KIB_PER_S: f64 = 300.0 * 1024.0;
const NONE: u32 = u32::MAX;

/// What is the same for all.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) link: f64,
    pub(crate) threads: u32,
    pub(crate) fixed_s: f64,
    /// Pages of which copies can be kept.
    pub(crate) copies_max: u32,
    /// Pages of which sums can be kept.
    pub(crate) sums_max: u32,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) total_s: f64,
    pub(crate) downtime_s: f64,
    pub(crate) bytes: f64,
    /// What the guest lost to the brake.
    pub(crate) braked_s: f64,
    /// What it lost to harvests and write faults.
    pub(crate) logged_s: f64,
    pub(crate) lost_pages: u32,
    pub(crate) aborted: Option<Reason>,
    pub(crate) harvests: u32,
}

pub(crate) struct World {
    guest: Guest,
    setting: Setting,
    now: f64,
    brake: Brake,
    is_stopped: bool,
    stopped_at: f64,
    cpu_free_at: f64,
    link_free_at: f64,
    flying: VecDeque<(f64, u64, f64)>,
    there: Vec<u32>,
    /// The version that is remembered, and how.
    known: Vec<(u32, Keep)>,
    copies: u32,
    sums: u32,
    held_kib: f64,
    target_kib: f64,
    absent: Bitmap,
    outcomes: Outcomes,
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl World {
    pub(crate) fn new(guest: Guest, setting: Setting) -> Self {
        let pages = guest.pages();
        let held_kib = f64::from(pages) * 4.0;
        Self {
            setting,
            now: 0.0,
            brake: Brake::OFF,
            is_stopped: false,
            stopped_at: 0.0,
            cpu_free_at: 0.0,
            link_free_at: 0.0,
            flying: VecDeque::new(),
            there: vec![NONE; pages as usize],
            known: vec![(NONE, Keep::Nothing); pages as usize],
            copies: 0,
            sums: 0,
            held_kib,
            target_kib: held_kib,
            absent: Bitmap::empty(pages),
            outcomes: Outcomes::default(),
            guest,
        }
    }

    /// Until it is over, or for `limit_s`.
    pub(crate) fn run(mut self, policy: &mut dyn Policy, limit_s: f64) -> Outcomes {
        loop {
            let busy_until = self.cpu_free_at.max(self.link_free_at);
            if busy_until - self.now > QUEUE_S {
                self.advance(busy_until - QUEUE_S, policy);
            }
            let action = policy.decide(at(self.now));
            if let Some(over) = self.act(action, policy, limit_s) {
                return over;
            }
        }
    }

    fn act(&mut self, action: Action, policy: &mut dyn Policy, limit_s: f64) -> Option<Outcomes> {
        match action {
            Action::Balloon { target } => self.target_kib = target.0 as f64,
            Action::PinAndLog => self.log(policy),
            Action::AskFree => {
                let free = self.guest.free();
                policy.observe(at(self.now), &Event::Free { pages: &free });
            }
            Action::Release { pages } => self.release(&pages),
            Action::Harvest => {
                self.advance(self.now + HARVEST_S, policy);
                self.outcomes.logged_s += HARVEST_S;
                let dirty = self.take_log();
                policy.observe(at(self.now), &Event::Harvested { dirty: &dirty });
            }
            Action::Peek => {
                self.advance(self.now + HARVEST_S, policy);
                self.outcomes.logged_s += HARVEST_S;
                let dirty = self.guest.dirty.clone();
                policy.observe(at(self.now), &Event::Peeked { dirty: &dirty });
            }
            Action::Count => {
                let pages = self.guest.dirty.count();
                policy.observe(at(self.now), &Event::Counted { pages });
            }
            Action::Send(batch) => self.send(&batch, policy),
            Action::Weigh(batch) => self.weigh(&batch, policy),
            Action::Cap(brake) => self.brake = brake,
            Action::Wait { until } => {
                let next = self.flying.front().map_or(f64::MAX, |flying| flying.0);
                let until = until.as_secs_f64().min(next).min(self.now + 0.05);
                self.advance(until.max(self.now + 1e-5), policy);
                self.look_at_balloon(policy);
            }
            Action::Suspend => {
                (self.is_stopped, self.stopped_at) = (true, self.now);
                let dirty = self.take_log();
                policy.observe(at(self.now), &Event::Suspended { dirty: &dirty });
            }
            Action::Commit => return Some(self.over(None)),
            Action::Abort(reason) => return Some(self.over(Some(reason))),
        }
        (self.now > limit_s && !self.is_stopped).then(|| {
            let reason = Reason::Deadline { seconds: limit_s as u64, left_bytes: 0 };
            self.over(Some(reason))
        })
    }

    fn over(&mut self, aborted: Option<Reason>) -> Outcomes {
        let stood = if self.is_stopped { self.now - self.stopped_at } else { 0.0 };
        let lost = |page: &usize| {
            let page = *page;
            !self.absent.has(Pfn(page as u32)) && self.there[page] != self.guest.version[page]
        };
        let lost_pages =
            if aborted.is_some() { 0 } else { (0..self.there.len()).filter(lost).count() };
        Outcomes {
            total_s: self.now + self.setting.fixed_s,
            downtime_s: stood + self.setting.fixed_s,
            lost_pages: lost_pages as u32,
            aborted,
            ..self.outcomes
        }
    }

    fn advance(&mut self, to: f64, policy: &mut dyn Policy) {
        while self.now < to {
            let step = STEP_S.min(to - self.now);
            if !self.is_stopped {
                self.guest.run(step, 1.0 - self.brake.denied());
                self.outcomes.braked_s += step * self.brake.denied();
                self.held_kib = (self.held_kib - BALLOON_KIB_PER_S * step).max(self.target_kib);
            }
            // A step too small for the clock would never end.
            self.now = if step < 1e-9 { to } else { self.now + step };
            while self.flying.front().is_some_and(|flying| flying.0 <= self.now) {
                let Some((_, bytes, busy)) = self.flying.pop_front() else { break };
                policy.observe(at(self.now), &Event::Acked { sends: 1, bytes, busy: at(busy) });
            }
        }
    }

    fn look_at_balloon(&mut self, policy: &mut dyn Policy) {
        let held = Kib(self.held_kib as u64);
        policy.observe(at(self.now), &Event::Balloon(BalloonReading { held, is_pressed: false }));
    }

    /// The balloon took free pages, the lowest first.
    fn log(&mut self, policy: &mut dyn Policy) {
        let taken = (f64::from(self.guest.pages()) * 4.0 - self.held_kib) / 4.0;
        for page in self.guest.free().iter().take(taken as usize) {
            self.absent.insert(page);
        }
        self.guest.dirty.clear();
        policy.observe(at(self.now), &Event::Logging { absent: &self.absent });
    }

    fn take_log(&mut self) -> Bitmap {
        let pages = self.guest.pages();
        let dirty = std::mem::replace(&mut self.guest.dirty, Bitmap::empty(pages));
        self.outcomes.logged_s += f64::from(dirty.count()) * FAULT_S;
        self.outcomes.harvests += 1;
        dirty
    }

    fn release(&mut self, pages: &Bitmap) {
        for page in pages.iter() {
            self.there[page.0 as usize] = self.guest.version[page.0 as usize];
        }
        let bytes = (f64::from(pages.runs()) * 8.0).min(f64::from(pages.pages()) / 8.0);
        self.transmit(bytes, 0.0);
    }

    fn send(&mut self, batch: &Batch, policy: &mut dyn Policy) {
        let outcomes: Vec<Outcome> =
            batch.items.iter().map(|item| self.encode(item, batch)).collect();
        let bytes: f64 = outcomes.iter().map(|of| f64::from(of.bytes) + HEADER_BYTES).sum();
        let cpu: f64 = outcomes.iter().map(|of| f64::from(of.nanos) / 1e9).sum();
        self.transmit(bytes, cpu);
        policy.observe(at(self.now), &Event::Sent { batch, outcomes: &outcomes });
    }

    fn weigh(&mut self, batch: &Batch, policy: &mut dyn Policy) {
        let outcome = |item: &Item| {
            let (encoding, bytes, nanos) = self.encoded(item, batch);
            let bytes = (bytes.ceil() as u16).min(PAGE_BYTES as u16);
            Outcome { encoding, bytes, nanos, kept: Keep::Nothing }
        };
        let outcomes: Vec<Outcome> = batch.items.iter().map(outcome).collect();
        let cpu: f64 = outcomes.iter().map(|of| f64::from(of.nanos) / 1e9).sum();
        self.advance(self.now + cpu, policy);
        policy.observe(at(self.now), &Event::Weighed { outcomes: &outcomes });
    }

    fn transmit(&mut self, bytes: f64, cpu_s: f64) {
        self.cpu_free_at = self.cpu_free_at.max(self.now) + cpu_s / f64::from(self.setting.threads);
        let busy = bytes / self.setting.link;
        // Encoders hand over as they go: the link need not wait for the whole batch.
        let start = self.link_free_at.max(self.now);
        self.link_free_at = (start + busy).max(self.cpu_free_at);
        self.flying.push_back((self.link_free_at + ROUND_TRIP_S, bytes as u64, busy));
        self.outcomes.bytes += bytes;
    }

    fn encode(&mut self, item: &Item, batch: &Batch) -> Outcome {
        let index = item.page.0 as usize;
        let version = self.guest.version[index];
        self.there[index] = version;
        let (encoding, bytes, nanos) = self.encoded(item, batch);
        let kept = self.keep(item, version);
        let nanos = nanos + if kept == Keep::Sums { COSTS.sums_ns } else { 0 };
        let bytes = (bytes.ceil() as u16).min(PAGE_BYTES as u16);
        Outcome { encoding, bytes, nanos, kept }
    }

    fn encoded(&self, item: &Item, batch: &Batch) -> (Encoding, f64, u32) {
        let (page, index) = (item.page, item.page.0 as usize);
        let mut nanos = 0;
        if batch.tricks.zero {
            nanos += COSTS.scan_ns;
            if self.guest.is_zero(page) {
                return (Encoding::Zero, 1.0, nanos);
            }
        }
        if batch.tricks.same && self.guest.content(page) == Content::Twin {
            return (Encoding::Same, 8.0, nanos + COSTS.delta_ns);
        }
        let whole = self.packed_bytes(item);
        if batch.tricks.delta {
            let (version, keep) = self.known[index];
            let writes = self.guest.version[index].wrapping_sub(version);
            let (encoding, changed) = match keep {
                Keep::Copy => (Encoding::Delta, self.guest.delta_bytes(writes)),
                Keep::Sums => (Encoding::Blocks, self.guest.blocks_bytes(page, writes)),
                Keep::Nothing => (Encoding::Raw, f64::MAX),
            };
            nanos += if keep == Keep::Nothing { 0 } else { COSTS.delta_ns };
            if changed < whole {
                return (encoding, changed, nanos);
            }
        }
        match item.pack {
            Pack::Raw => (Encoding::Raw, whole, nanos + COSTS.raw_ns),
            Pack::Lz4 => (Encoding::Lz4, whole, nanos + COSTS.lz4_ns),
            Pack::Zstd => (Encoding::Zstd, whole, nanos + COSTS.zstd_ns),
        }
    }

    fn packed_bytes(&self, item: &Item) -> f64 {
        match item.pack {
            Pack::Raw => f64::from(PAGE_BYTES),
            Pack::Lz4 => self.guest.lz4_bytes(item.page),
            Pack::Zstd => self.guest.zstd_bytes(item.page),
        }
    }

    /// Copies and sums are kept where they were, and while there is room; a copy takes the place of sums.
    fn keep(&mut self, item: &Item, version: u32) -> Keep {
        let (_, had) = self.known[item.page.0 as usize];
        let wanted = had.max(item.keep);
        let kept = match wanted {
            Keep::Copy if had == Keep::Copy || self.copies < self.setting.copies_max => Keep::Copy,
            Keep::Copy | Keep::Sums if had == Keep::Sums || self.sums < self.setting.sums_max => {
                Keep::Sums
            }
            _ => Keep::Nothing,
        };
        self.copies += u32::from(kept == Keep::Copy && had != Keep::Copy);
        self.sums += u32::from(kept == Keep::Sums && had != Keep::Sums);
        self.sums -= u32::from(kept != Keep::Sums && had == Keep::Sums);
        self.known[item.page.0 as usize] = (version, kept);
        kept
    }
}
