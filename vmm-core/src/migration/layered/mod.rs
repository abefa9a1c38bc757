//! Our policy: layered, debounced, braked.
//!
//! ```text
//!   Compact ─► Log ─► Hints ─► FirstPass ─► Sprint ─► Stopping ─► Rest ─► Over
//!                                             ▲           │ would not suspend
//!                                             └───────────┘
//! ```
//!
//! - **FirstPass** walks up the pages once, from the moment that the log runs. It is one walk, so nothing can keep it from ending.
//! - **Sprint** sends what is pending, coolest first ([layers](super::layer)), pass after pass. Each begins when the log is taken, and ends when all that
//!   was not written meanwhile is sent. Then `judge` decides: on, stop, brake, give up.
//!
//! Within a pass the log is only looked at, once an epoch, and what is in it is left for the next pass: sent now, it would have to be sent once more.
//! Taking the log is dear for the guest: afterwards it faults on each page that it touches, and a guest with a large working set does little else
//! if that comes every epoch. Looking costs it a moment. Still the link never waits for a page to calm down: what is left ends the pass. The looks
//! of the first pass are the probe as well: their counts are the curve of the dirty rate.
//! - **Rest**: the guest stands still; what is pending goes, and when all of it has arrived, the hand-over is ordered.
//!
//! Every page leaves sums of its blocks when it is sent, and a copy once it is sent again, while there is room: the next time only what differs travels. So a page
//! that was cool when it was sent and was written afterwards costs a few hundred bytes and not all of it again, which is most of what a
//! policy without foresight pays.

mod judge;
mod looks;
mod options;
mod send;
mod weigh;

use std::collections::VecDeque;
use std::time::Duration;

use super::brake::Meter;
use super::choose::Chooser;
use super::compaction::{self, Squeeze};
use super::forecast::Curve;
use super::pages::{Inflow, Pages};
use super::rate::{Drift, Link, Undone};
use super::{Action, Bitmap, Brake, EPOCH, Event, Guest, Limits, Policy, Reason};
use crate::units::BytesPerSecond;
use judge::{Best, whole};
use looks::Looks;
pub use options::Options;

/// The log is not taken more often than this: each time the guest stands still for a moment and pays faults afterwards.
pub const HARVEST_MIN: Duration = Duration::from_millis(4);
/// Where looking at the log takes long, the time between two looks is so many times that: the guest stands still meanwhile.
pub const LOOK_REST: u32 = 20;
/// As [`LOOK_REST`], between two times that the log is taken with nothing else to do.
pub const HARVEST_REST: u32 = 3;
/// So often the guest is asked to suspend.
pub const SUSPENDS_MAX: u32 = 3;
/// So often pages may be lost while the guest stands still.
pub const LOSSES_MAX: u32 = 8;
/// What a free page is expected to take, of 1, if it travelled.
const FREE_PACKED: f64 = 0.4;

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The balloon goes down.
    Compact,
    /// The log is being switched on.
    Log,
    /// The guest is being asked what holds nothing.
    Hints,
    /// Cool pages, once.
    FirstPass,
    /// What is left, coolest first.
    Sprint,
    /// The guest is being stopped.
    Stopping,
    /// The guest stands still; what is left goes.
    Rest,
    /// Committed or given up.
    Over,
}

/// For people who wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// How often the log was taken.
    pub harvests: u32,
    /// Pages handed over, again and again counted each time.
    pub sent_pages: u64,
    /// Bytes handed over.
    pub sent_bytes: u64,
    /// What is to be sent as things stand.
    pub left_bytes: u64,
    /// What the guest makes dirty, in bytes a second as they would travel.
    pub dirty_bytes_per_s: u64,
    /// How long it would stand still if it were stopped now.
    pub downtime: Duration,
    /// How long it will take from now if no more is written.
    pub left: Duration,
    /// How strongly the guest is braked.
    pub brake: Brake,
    /// What the guest has lost by the brake.
    pub lost: Duration,
}

/// The policy.
#[derive(Debug)]
pub struct Layered {
    guest: Guest,
    limits: Limits,
    options: Options,
    pages: Pages,
    link: Link,
    chooser: Chooser,
    phase: Phase,
    began: Option<Duration>,
    squeeze: Option<Squeeze>,
    orders: VecDeque<Action>,
    sizes: send::Sizes,
    walk: send::Walk,
    curve: Curve,
    logged_at: Duration,
    harvested_at: Duration,
    harvests: u32,
    looks: Looks,
    inflow: Inflow,
    first_pass_is_done: bool,
    window_bytes: u64,
    expected_bytes: u64,
    drift: Drift,
    sent_pages: u64,
    sent_bytes: u64,
    undone: Undone,
    dirty_rate: f64,
    best: Option<Best>,
    scale: weigh::Scale,
    meter: Meter,
    outstanding: u32,
    suspends: u32,
    losses: u32,
}

impl Layered {
    /// For one guest. The clock begins with the first call.
    #[must_use]
    pub fn new(guest: Guest, limits: Limits, options: Options) -> Self {
        Self {
            pages: Pages::new(guest.pages),
            link: Link::expected(guest.link_bytes_per_s),
            chooser: Chooser::new(guest.threads, &options.packs),
            phase: Phase::Compact,
            began: None,
            squeeze: None,
            orders: VecDeque::new(),
            sizes: send::Sizes::default(),
            walk: send::Walk::default(),
            curve: Curve::default(),
            logged_at: Duration::ZERO,
            harvested_at: Duration::ZERO,
            harvests: 0,
            looks: Looks::default(),
            inflow: Inflow::default(),
            first_pass_is_done: false,
            window_bytes: 0,
            expected_bytes: 0,
            drift: Drift::default(),
            sent_pages: 0,
            sent_bytes: 0,
            undone: Undone::default(),
            dirty_rate: 0.0,
            best: None,
            scale: weigh::Scale::default(),
            meter: Meter::default(),
            outstanding: 0,
            suspends: 0,
            losses: 0,
            guest,
            limits,
            options,
        }
    }

    /// What the probe saw.
    #[must_use]
    pub fn curve(&self) -> &Curve {
        &self.curve
    }

    /// Heap memory that all pages together take, in bytes.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.pages.state_bytes()
    }

    /// Where it stands.
    #[must_use]
    pub fn progress(&self, now: Duration) -> Progress {
        let left = self.rest_s();
        // Until it is known which pages there are, each that there could be is pending.
        let held_bytes = self.guest.held.0.saturating_mul(1024);
        Progress {
            phase: self.phase,
            harvests: self.harvests,
            sent_pages: self.sent_pages,
            sent_bytes: self.sent_bytes,
            left_bytes: whole(self.pages.pending_bytes(self.sizes.fresh)).min(held_bytes),
            dirty_bytes_per_s: whole(self.dirty_rate),
            downtime: Duration::from_secs_f64(self.downtime_s()),
            left: Duration::from_secs_f64(left) + self.guest.fixed,
            brake: self.meter.brake(),
            lost: Duration::from_secs_f64(self.meter.lost_s(now)),
        }
    }

    fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began.unwrap_or(now))
    }

    fn compact(&mut self, now: Duration) -> Action {
        if self.squeeze.is_none() && self.is_to_be_squeezed() {
            let target =
                compaction::target(self.guest.used.unwrap_or(self.guest.held), self.guest.floor);
            self.squeeze = Some(Squeeze::new(self.guest.held, target, now));
        }
        match self.squeeze.as_mut().map(|squeeze| squeeze.next(now)) {
            Some(compaction::Next::Ask(target)) => Action::Balloon { target },
            Some(compaction::Next::Look(until)) => Action::Wait { until },
            Some(compaction::Next::Done) | None => {
                self.phase = Phase::Log;
                Action::PinAndLog
            }
        }
    }

    fn is_to_be_squeezed(&self) -> bool {
        let Some(used) = self.guest.used else { return false };
        let free = self.guest.held.saturating_sub(compaction::target(used, self.guest.floor));
        let link = BytesPerSecond(self.guest.link_bytes_per_s);
        self.options.compaction
            && !self.guest.gives_hints
            && compaction::is_worth_it(free, FREE_PACKED, link)
    }

    /// What to do next; nothing when it was put among the orders.
    fn live(&mut self, now: Duration) -> Option<Action> {
        if self.elapsed(now) >= self.limits.deadline {
            self.give_up(now, true);
            return None;
        }
        if self.is_budget_spent(now) {
            self.give_up(now, false);
            return None;
        }
        if std::mem::take(&mut self.scale.is_news) {
            self.judge(now);
            if !self.orders.is_empty() {
                return None;
            }
        }
        if self.options.layering && now >= self.looks.due() {
            return Some(self.look(now, Action::Peek));
        }
        if let Some(batch) = self.next_batch() {
            return Some(self.handed(Action::Send(batch)));
        }
        if self.phase == Phase::FirstPass {
            self.first_pass_is_done = true;
            return Some(self.look(now, Action::Harvest));
        }
        let next = self.harvested_at + self.looks.harvest_pause();
        Some(if now >= next {
            self.look(now, Action::Harvest)
        } else {
            Action::Wait { until: next }
        })
    }

    fn is_budget_spent(&self, now: Duration) -> bool {
        let budget_s = self.limits.brake_budget.as_secs_f64();
        self.meter.spent_at(budget_s).is_some_and(|at| now >= at)
    }

    fn look(&mut self, now: Duration, action: Action) -> Action {
        self.looks.begin(now);
        action
    }

    fn rest(&mut self) -> Option<Action> {
        if let Some(batch) = self.next_batch() {
            return Some(self.handed(Action::Send(batch)));
        }
        if !self.pages.pending().is_empty() {
            self.walk.restart();
            return self.next_batch().map(|batch| self.handed(Action::Send(batch)));
        }
        if self.outstanding > 0 {
            return Some(Action::Wait { until: Duration::MAX });
        }
        self.end_with(Action::Commit);
        None
    }

    fn handed(&mut self, action: Action) -> Action {
        self.outstanding += 1;
        action
    }

    pub(super) fn release_brake(&mut self, now: Duration) {
        if self.meter.brake() > Brake::OFF {
            self.meter.set(Brake::OFF, now);
            self.orders.push_back(Action::Cap(Brake::OFF));
        }
    }

    fn end_with(&mut self, last: Action) {
        self.phase = Phase::Over;
        self.orders.push_back(last);
    }

    fn abort(&mut self, reason: Reason, now: Duration) {
        self.orders.clear();
        self.release_brake(now);
        self.end_with(Action::Abort(reason));
    }

    fn begin_sprint(&mut self) {
        self.phase = Phase::Sprint;
        self.walk.restart();
        self.undone = Undone::default();
        self.best = None;
    }

    /// What was decided before; the last one stays.
    fn next_order(&mut self) -> Option<Action> {
        let is_last = self.orders.len() == 1 && self.phase == Phase::Over;
        if is_last { self.orders.front().cloned() } else { self.orders.pop_front() }
    }

    fn harvested(&mut self, now: Duration, dirty: &Bitmap) {
        self.pages.advance(epoch(self.elapsed(now)));
        self.looks.end(now);
        let mut inflow = std::mem::take(&mut self.inflow);
        inflow += self.pages.harvested(dirty);
        let window = now.saturating_sub(self.harvested_at).as_secs_f64().max(1e-3);
        self.harvested_at = now;
        self.harvests += 1;
        let sent = std::mem::take(&mut self.window_bytes);
        self.drift.window(std::mem::take(&mut self.expected_bytes), sent);
        let drift = self.drift.factor();
        self.walk.reorder();
        self.scale.is_fresh = false;
        if self.phase == Phase::Sprint {
            self.undone.window(sent, whole(inflow.new_bytes as f64 * drift));
            let rate = inflow.dirty_bytes as f64 * drift / window;
            let weight = if self.undone.windows() <= 1 { 1.0 } else { 0.3 };
            self.dirty_rate += weight * (rate - self.dirty_rate);
            self.judge(now);
        } else if self.phase == Phase::FirstPass && self.first_pass_is_done {
            self.begin_sprint();
            self.judge(now);
        }
    }

    fn suspend_failed(&mut self, now: Duration) {
        self.suspends += 1;
        if self.suspends >= SUSPENDS_MAX {
            return self.abort(Reason::WouldNotSuspend { asked: self.suspends }, now);
        }
        self.begin_sprint();
        self.orders.push_back(Action::Harvest);
    }

    fn lost(&mut self, now: Duration, sends: u32, pages: &Bitmap) {
        self.outstanding = self.outstanding.saturating_sub(sends);
        self.pages.lost(pages, self.sizes.fresh);
        self.walk.reorder();
        // The first pass stays one walk: what was lost is of the sprint, where every pending page is.
        if self.phase != Phase::Rest {
            return;
        }
        self.losses += 1;
        if self.losses > LOSSES_MAX {
            self.abort(Reason::LinkLost { losses: self.losses }, now);
        }
    }

    fn step(&mut self, now: Duration) -> Option<Action> {
        match self.phase {
            Phase::Compact => Some(self.compact(now)),
            Phase::FirstPass | Phase::Sprint => self.live(now),
            Phase::Stopping => Some(Action::Wait { until: Duration::MAX }),
            Phase::Rest => self.rest(),
            Phase::Log | Phase::Hints | Phase::Over => Some(Action::Wait { until: Duration::MAX }),
        }
    }
}

impl Policy for Layered {
    fn observe(&mut self, now: Duration, event: &Event<'_>) {
        self.began.get_or_insert(now);
        match event {
            Event::Balloon(reading) => {
                if let Some(squeeze) = &mut self.squeeze {
                    squeeze.saw(*reading, now);
                }
            }
            Event::Logging { absent } => {
                self.pages.release(absent);
                (self.logged_at, self.harvested_at) = (now, now);
                self.looks.end(now);
                let asks = self.options.compaction && self.guest.gives_hints;
                self.phase = if asks { Phase::Hints } else { Phase::FirstPass };
                if asks {
                    self.orders.push_back(Action::AskFree);
                }
            }
            Event::Free { pages } => {
                self.pages.release(pages);
                self.phase = Phase::FirstPass;
                let action = self.handed(Action::Release { pages: (*pages).clone() });
                self.orders.push_back(action);
            }
            Event::Harvested { dirty } => self.harvested(now, dirty),
            Event::Peeked { dirty } => {
                self.pages.advance(epoch(self.elapsed(now)));
                self.looks.end(now);
                self.inflow += self.pages.peeked(dirty);
                self.leave_logged();
                if self.harvests == 0 {
                    let seconds = now.saturating_sub(self.logged_at).as_secs_f64();
                    self.curve.saw(seconds, dirty.count());
                }
            }
            Event::Counted { pages } => {
                self.curve.saw(now.saturating_sub(self.logged_at).as_secs_f64(), *pages);
            }
            Event::Sent { batch, outcomes } => self.sent(batch, outcomes),
            Event::Weighed { outcomes } => self.weighed(outcomes),
            Event::Acked { sends, bytes, busy } => {
                self.outstanding = self.outstanding.saturating_sub(*sends);
                self.link.acked(*bytes, *busy);
            }
            Event::Lost { sends, pages } => self.lost(now, *sends, pages),
            Event::Suspended { dirty } => {
                self.pages.harvested(dirty);
                self.phase = Phase::Rest;
                self.walk.restart();
                self.release_brake(now);
            }
            Event::SuspendFailed => self.suspend_failed(now),
        }
    }

    fn decide(&mut self, now: Duration) -> Action {
        self.began.get_or_insert(now);
        if let Some(action) = self.next_order() {
            return action;
        }
        // A step gives an action or leaves one among the orders.
        let step = self.step(now);
        step.or_else(|| self.next_order()).unwrap_or(Action::Wait { until: now })
    }
}

fn epoch(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos() / EPOCH.as_nanos()).unwrap_or(u64::MAX)
}
