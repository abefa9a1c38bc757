//! QEMU's loop (`migration/ram.c`), as of 8.x.
//!
//! Pages are sent in ascending order, round the clock. When what is left is less than the link carries in the allowed downtime, the log is taken; if
//! it still is, the guest is stopped. What is left is counted in whole pages, however well they pack. Zero pages are found. Optional: free-page
//! hints (virtio-balloon), Zstandard (multifd), XBZRLE with a cache, and auto-converge: when what was dirtied in a second or more
//! was over half of what was sent, twice, the guest loses 20 % of its time, then 10 % more each time, up to 99 %.

use std::time::Duration;

use super::round::Round;
use crate::migration::rate::Link;
use crate::migration::{Action, Bitmap, Brake, Event, PAGE_BYTES, Pack, Policy, Reason, Tricks};

const SYNC_EVERY: Duration = Duration::from_secs(1);
const THROTTLE_FIRST: u8 = 20;
const THROTTLE_STEP: u8 = 10;
const THROTTLE_MAX: u8 = 99;

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Free-page hints.
    pub hints: bool,
    /// Zstandard.
    pub zstd: bool,
    /// XBZRLE.
    pub xbzrle: bool,
    /// The throttle.
    pub auto_converge: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Hints,
    Live,
    Syncing,
    Stopping,
    Rest,
    Over,
}

/// QEMU's loop.
#[derive(Debug)]
pub struct Qemu {
    features: Features,
    state: State,
    round: Round,
    orders: Vec<Action>,
    link: Link,
    downtime: Duration,
    deadline: Duration,
    is_bulk: bool,
    throttle: u8,
    high_count: u32,
    synced_at: Duration,
    sent_bytes: u64,
    dirty_bytes: u64,
    too_late: bool,
}

impl Qemu {
    /// With a downtime limit, cancelled at the deadline. `link_bytes_per_s` is expected until it was measured.
    #[must_use]
    pub fn new(pages: u32, link_bytes_per_s: u64, downtime: Duration, features: Features) -> Self {
        Self {
            features,
            state: State::Start,
            round: Round::of(Bitmap::full(pages)),
            orders: Vec::new(),
            link: Link::expected(link_bytes_per_s),
            downtime,
            deadline: Duration::MAX,
            is_bulk: true,
            throttle: 0,
            high_count: 0,
            synced_at: Duration::ZERO,
            sent_bytes: 0,
            dirty_bytes: 0,
            too_late: false,
        }
    }

    /// Cancelled then.
    #[must_use]
    pub fn until(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    fn left_bytes(&self) -> f64 {
        f64::from(self.round.todo.count()) * f64::from(PAGE_BYTES)
    }

    fn is_short(&self) -> bool {
        self.left_bytes() < self.link.mean() * self.downtime.as_secs_f64()
    }

    fn pack(&mut self) -> Option<Action> {
        let pack = if self.features.zstd { Pack::Zstd } else { Pack::Raw };
        let tricks =
            Tricks { zero: true, same: false, delta: self.features.xbzrle && !self.is_bulk };
        self.round.batch(None, pack, tricks)
    }

    fn live(&mut self, now: Duration) -> Action {
        if now >= self.deadline {
            self.too_late = true;
            self.state = State::Over;
            return Action::Cap(Brake::OFF);
        }
        if self.is_short() {
            self.state = State::Syncing;
            return Action::Harvest;
        }
        if let Some(action) = self.pack() {
            return action;
        }
        self.round.rewind();
        self.pack().unwrap_or(Action::Harvest)
    }

    fn synced(&mut self, now: Duration, dirty: &Bitmap) {
        self.is_bulk = false;
        self.dirty_bytes += u64::from(dirty.count()) * u64::from(PAGE_BYTES);
        self.round.todo.union(dirty);
        if now.saturating_sub(self.synced_at) >= SYNC_EVERY {
            self.converge();
            (self.synced_at, self.sent_bytes, self.dirty_bytes) = (now, 0, 0);
        }
        self.state = State::Live;
        if self.is_short() {
            self.state = State::Stopping;
            self.orders.push(Action::Suspend);
        }
    }

    fn converge(&mut self) {
        if !self.features.auto_converge || self.dirty_bytes * 2 <= self.sent_bytes {
            return;
        }
        self.high_count += 1;
        if self.high_count >= 2 {
            self.high_count = 0;
            self.throttle = match self.throttle {
                0 => THROTTLE_FIRST,
                at => (at + THROTTLE_STEP).min(THROTTLE_MAX),
            };
            self.orders.push(Action::Cap(Brake::percent(self.throttle)));
        }
    }

    fn rest(&mut self) -> Action {
        if let Some(action) = self.pack() {
            return action;
        }
        self.round.rewind();
        if let Some(action) = self.pack() {
            return action;
        }
        if !self.round.is_all_there() {
            return Action::Wait { until: Duration::MAX };
        }
        self.state = State::Over;
        if self.throttle > 0 { Action::Cap(Brake::OFF) } else { Action::Commit }
    }

    fn end(&self) -> Action {
        if !self.too_late {
            return Action::Commit;
        }
        Action::Abort(Reason::Deadline {
            seconds: self.deadline.as_secs(),
            left_bytes: u64::from(self.round.todo.count()) * u64::from(PAGE_BYTES),
        })
    }
}

impl Policy for Qemu {
    fn observe(&mut self, now: Duration, event: &Event<'_>) {
        match event {
            Event::Logging { absent } => {
                self.round.todo.subtract(absent);
                self.synced_at = now;
                self.state = if self.features.hints { State::Hints } else { State::Live };
                if self.features.hints {
                    self.orders.push(Action::AskFree);
                }
            }
            Event::Free { pages } => {
                self.round.todo.subtract(pages);
                self.round.handed();
                self.orders.push(Action::Release { pages: (*pages).clone() });
                self.state = State::Live;
            }
            Event::Harvested { dirty } => self.synced(now, dirty),
            Event::Sent { outcomes, .. } => {
                self.sent_bytes += outcomes.iter().map(|of| u64::from(of.bytes)).sum::<u64>();
            }
            Event::Acked { sends, bytes, busy } => {
                self.round.arrived(*sends);
                self.link.acked(*bytes, *busy);
            }
            Event::Lost { sends, pages } => self.round.lost(*sends, pages),
            Event::Suspended { dirty } => {
                self.round.todo.union(dirty);
                self.round.rewind();
                self.state = State::Rest;
            }
            Event::SuspendFailed => self.state = State::Live,
            Event::Balloon(_)
            | Event::Peeked { .. }
            | Event::Counted { .. }
            | Event::Weighed { .. } => {}
        }
    }

    fn decide(&mut self, now: Duration) -> Action {
        if let Some(order) = self.orders.pop() {
            return order;
        }
        match self.state {
            State::Start => Action::PinAndLog,
            State::Live => self.live(now),
            State::Rest => self.rest(),
            State::Over => self.end(),
            State::Hints | State::Syncing | State::Stopping => {
                Action::Wait { until: Duration::MAX }
            }
        }
    }
}
