//! A driver that means ill: it encodes late, reports late, loses batches, writes between any two steps, and will not suspend when asked.
//!
//! It keeps what a careful driver keeps: what is read is read after it was handed out, a loss is told, a harvest has every write.

use std::collections::VecDeque;
use std::time::Duration;

use crate::migration::{
    Action, BATCH_PAGES_MAX, BalloonReading, Batch, Bitmap, Brake, Encoding, Event, Keep, Outcome,
    Pfn, Policy, Reason,
};
use crate::units::Kib;

/// A guest and its troubles.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) pages: u32,
    /// Writes in a millisecond.
    pub(super) writes_per_ms: u32,
    /// Of the pages, in percent, those that take most writes.
    pub(super) hot_percent: u32,
    pub(super) free_percent: u32,
    /// Batches that may be lost; each is by the toss of a coin.
    pub(super) losses: u32,
    pub(super) refusals: u32,
    /// The longest that one action takes, in tenths of a millisecond.
    pub(super) slowness: u64,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Committed,
    Aborted(Reason),
}

/// What was seen of it.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) end: End,
    pub(super) lost_pages: Vec<Pfn>,
    pub(super) braked_s: f64,
    pub(super) brake: Brake,
    /// It was asked to stop while it was braked.
    pub(super) stops_braked: bool,
    pub(super) took: Duration,
    /// Pages that were handed out more often than there was a reason to.
    pub(super) needless: u32,
    /// Pages that were handed out though a look had shown them in the log.
    pub(super) in_vain: u32,
    pub(super) bytes: u64,
}

struct Flight {
    pages: Bitmap,
    copies: Vec<(Pfn, u64)>,
    bytes: u64,
}

pub(super) struct Chaos {
    script: Script,
    random: u64,
    now: Duration,
    version: Vec<u64>,
    there: Vec<Option<u64>>,
    free: Bitmap,
    dirty: Bitmap,
    /// Of that, what was shown.
    shown: Bitmap,
    flying: VecDeque<Flight>,
    late: VecDeque<(Batch, Vec<Outcome>)>,
    reasons: Vec<i64>,
    is_stopped: bool,
    brake: Brake,
    story: Story,
}

const ACTIONS_MAX: u32 = 2_000_000;

impl Chaos {
    pub(super) fn new(script: Script) -> Self {
        let pages = script.pages;
        let mut free = Bitmap::empty(pages);
        (0..pages).filter(|page| page % 100 < script.free_percent).for_each(|page| {
            free.insert(Pfn(page));
        });
        let story = Story {
            end: End::Committed,
            lost_pages: Vec::new(),
            braked_s: 0.0,
            brake: Brake::OFF,
            stops_braked: false,
            took: Duration::ZERO,
            needless: 0,
            in_vain: 0,
            bytes: 0,
        };
        Self {
            random: script.seed | 1,
            now: Duration::ZERO,
            version: vec![0; pages as usize],
            there: vec![None; pages as usize],
            free,
            dirty: Bitmap::empty(pages),
            shown: Bitmap::empty(pages),
            flying: VecDeque::new(),
            late: VecDeque::new(),
            reasons: vec![1; pages as usize],
            is_stopped: false,
            brake: Brake::OFF,
            story,
            script,
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides.max(1)
    }

    pub(super) fn run(mut self, policy: &mut dyn Policy) -> Story {
        for _ in 0..ACTIONS_MAX {
            let action = policy.decide(self.now);
            if let Some(end) = self.act(action, policy) {
                self.story.end = end;
                return self.told();
            }
            self.pass(None, policy);
        }
        panic!("it never ends: {:?} {:?}", self.script, self.now);
    }

    fn told(mut self) -> Story {
        let is_lost = |page: &Pfn| {
            let at = page.0 as usize;
            self.there[at] != Some(self.version[at])
        };
        self.story.lost_pages = (0..self.script.pages).map(Pfn).filter(is_lost).collect();
        (self.story.brake, self.story.took) = (self.brake, self.now);
        self.story
    }

    /// Time goes by: the guest writes, something arrives, something is told at last.
    fn pass(&mut self, at_least: Option<Duration>, policy: &mut dyn Policy) {
        let step = Duration::from_micros(100 * (1 + self.dice(self.script.slowness)));
        let step = at_least.map_or(step, |least| step.max(least));
        self.now += step;
        if !self.is_stopped {
            self.story.braked_s += step.as_secs_f64() * self.brake.denied();
            let most =
                u64::from(step.subsec_micros()) * u64::from(self.script.writes_per_ms) / 1000 + 1;
            for _ in 0..self.dice(most + 1) {
                self.write();
            }
        }
        if self.dice(2) == 0 {
            self.report(policy);
        }
        if self.dice(2) == 0 {
            self.land(policy);
        }
    }

    fn write(&mut self) {
        let pages = u64::from(self.script.pages);
        let hot = (pages * u64::from(self.script.hot_percent) / 100).max(1);
        let within = if self.dice(10) > 0 { hot } else { pages };
        let page = Pfn(self.dice(within).try_into().expect("pages are numbered by u32"));
        self.version[page.0 as usize] += 1;
        self.dirty.insert(page);
    }

    fn report(&mut self, policy: &mut dyn Policy) {
        if let Some((batch, outcomes)) = self.late.pop_front() {
            policy.observe(self.now, &Event::Sent { batch: &batch, outcomes: &outcomes });
        }
    }

    fn land(&mut self, policy: &mut dyn Policy) {
        let Some(flight) = self.flying.pop_front() else { return };
        if self.script.losses > 0 && self.dice(2) == 0 {
            self.script.losses -= 1;
            for page in flight.pages.iter() {
                self.reasons[page.0 as usize] += 1;
            }
            policy.observe(self.now, &Event::Lost { sends: 1, pages: &flight.pages });
            return;
        }
        for (page, version) in flight.copies {
            self.there[page.0 as usize] = Some(version);
        }
        let busy = Duration::from_micros(10 + flight.bytes / 50);
        policy.observe(self.now, &Event::Acked { sends: 1, bytes: flight.bytes, busy });
    }

    fn take_log(&mut self) -> Bitmap {
        self.shown.clear();
        let dirty = std::mem::replace(&mut self.dirty, Bitmap::empty(self.script.pages));
        for page in dirty.iter() {
            self.reasons[page.0 as usize] += 1;
        }
        dirty
    }

    fn act(&mut self, action: Action, policy: &mut dyn Policy) -> Option<End> {
        let now = self.now;
        match action {
            Action::Balloon { target } => {
                let held = Kib(target.0 + self.dice(3) * 1000);
                let is_pressed = self.dice(20) == 0;
                policy.observe(now, &Event::Balloon(BalloonReading { held, is_pressed }));
            }
            Action::PinAndLog => {
                self.dirty.clear();
                let absent = Bitmap::empty(self.script.pages);
                policy.observe(now, &Event::Logging { absent: &absent });
            }
            Action::AskFree => {
                // A page that was written since the log runs is in the log, and the hint may still be of before.
                let free = self.free.clone();
                policy.observe(now, &Event::Free { pages: &free });
            }
            Action::Release { pages } => self.release(pages),
            Action::Harvest => {
                let dirty = self.take_log();
                policy.observe(self.now, &Event::Harvested { dirty: &dirty });
            }
            Action::Peek => {
                self.shown = self.dirty.clone();
                policy.observe(now, &Event::Peeked { dirty: &self.dirty });
            }
            Action::Count => {
                policy.observe(now, &Event::Counted { pages: self.dirty.count() });
            }
            Action::Send(batch) => self.send(batch),
            Action::Weigh(batch) => self.weigh(&batch, policy),
            Action::Cap(brake) => self.brake = brake,
            Action::Wait { until } => self.wait(until, policy),
            Action::Suspend => self.suspend(policy),
            Action::Commit => return Some(End::Committed),
            Action::Abort(reason) => return Some(End::Aborted(reason)),
        }
        None
    }

    fn weigh(&mut self, batch: &Batch, policy: &mut dyn Policy) {
        assert!((1..=BATCH_PAGES_MAX).contains(&batch.items.len()), "{}", batch.items.len());
        let outcome =
            |bytes| Outcome { encoding: Encoding::Delta, bytes, nanos: 5_000, kept: Keep::Nothing };
        let outcomes: Vec<Outcome> = batch
            .items
            .iter()
            .map(|_| outcome(if self.dice(3) == 0 { 4096 } else { 300 }))
            .collect();
        policy.observe(self.now, &Event::Weighed { outcomes: &outcomes });
    }

    fn wait(&mut self, until: Duration, policy: &mut dyn Policy) {
        let step = until.saturating_sub(self.now).min(Duration::from_millis(5));
        self.pass(Some(step), policy);
        self.report(policy);
        self.land(policy);
    }

    fn suspend(&mut self, policy: &mut dyn Policy) {
        self.story.stops_braked |= self.brake > Brake::OFF;
        if self.script.refusals > 0 {
            self.script.refusals -= 1;
            return policy.observe(self.now, &Event::SuspendFailed);
        }
        self.is_stopped = true;
        let dirty = self.take_log();
        policy.observe(self.now, &Event::Suspended { dirty: &dirty });
    }

    /// What is free counts as there until it is written.
    fn release(&mut self, pages: Bitmap) {
        let of =
            |page: Pfn| if self.dirty.has(page) { u64::MAX } else { self.version[page.0 as usize] };
        let copies = pages.iter().map(|page| (page, of(page))).collect();
        self.flying.push_back(Flight { pages, copies, bytes: 16 });
    }

    fn send(&mut self, batch: Batch) {
        assert!((1..=BATCH_PAGES_MAX).contains(&batch.items.len()), "{}", batch.items.len());
        let mut pages = Bitmap::empty(self.script.pages);
        let mut copies = Vec::new();
        let mut outcomes = Vec::new();
        for item in &batch.items {
            assert!(pages.insert(item.page), "{} is in a batch twice", item.page);
            let reasons = &mut self.reasons[item.page.0 as usize];
            *reasons -= 1;
            self.story.needless += u32::from(*reasons < 0);
            self.story.in_vain += u32::from(self.shown.has(item.page));
            copies.push((item.page, self.version[item.page.0 as usize]));
            let bytes = if self.dice(3) == 0 { 4096 } else { 300 };
            let encoding = if bytes == 4096 { Encoding::Raw } else { Encoding::Delta };
            outcomes.push(Outcome { encoding, bytes, nanos: 5_000, kept: item.keep });
            self.story.bytes += u64::from(bytes);
        }
        let bytes = outcomes.iter().map(|of| u64::from(of.bytes)).sum();
        self.flying.push_back(Flight { pages, copies, bytes });
        self.late.push_back((batch, outcomes));
    }
}
