//! Xen's own loops, as `xc_domain_save` runs them under `xl`.
//!
//! Today (4.7 and later, `simple_precopy_policy`): a round sends what was dirty when it began, in ascending order; after five, or when fewer than
//! 50 pages are dirty, the guest is suspended. Before 4.7: up to 29 rounds or three times the memory, and a page that is dirty again when its
//! turn comes is skipped. Nothing is packed, no page is recognised as empty, nothing is predicted.

use std::time::Duration;

use super::round::Round;
use crate::migration::{Action, Bitmap, Event, Pack, Policy, Tricks};

const ROUNDS_MAX: u32 = 5;
const FEW_PAGES: u32 = 50;
const LEGACY_ROUNDS_MAX: u32 = 29;
const LEGACY_FACTOR: u64 = 3;
/// How old what is skipped by may be.
const PEEK_EVERY: Duration = Duration::from_millis(10);
const PLAIN: Tricks = Tricks { zero: false, same: false, delta: false };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Live,
    /// A harvest was asked for.
    Harvest,
    /// Few enough: this set still goes live, then the guest is stopped.
    LastLive,
    Stopping,
    Rest,
    Over,
}

/// Xen's loop.
#[derive(Debug)]
pub struct Xen {
    is_legacy: bool,
    state: State,
    round: Round,
    rounds: u32,
    /// Sent, over all rounds.
    sent: u64,
    sent_in_round: u32,
    skip: Bitmap,
    peeked_at: Option<Duration>,
    pages: u32,
}

impl Xen {
    /// As it is today.
    #[must_use]
    pub fn today(pages: u32) -> Self {
        Self {
            is_legacy: false,
            state: State::Start,
            round: Round::of(Bitmap::full(pages)),
            rounds: 0,
            sent: 0,
            sent_in_round: 0,
            skip: Bitmap::empty(pages),
            peeked_at: None,
            pages,
        }
    }

    /// As it was before 4.7.
    #[must_use]
    pub fn legacy(pages: u32) -> Self {
        Self { is_legacy: true, ..Self::today(pages) }
    }

    fn live(&mut self, now: Duration) -> Action {
        if self.is_legacy && self.peeked_at.is_none_or(|at| now >= at + PEEK_EVERY) {
            self.peeked_at = Some(now);
            return Action::Peek;
        }
        let skip = self.is_legacy.then_some(&self.skip);
        if let Some(action) = self.round.batch(skip, Pack::Raw, PLAIN) {
            return action;
        }
        self.end_of_round()
    }

    fn end_of_round(&mut self) -> Action {
        self.rounds += 1;
        let is_last = if self.is_legacy {
            let skipped = self.round.todo.count();
            self.rounds >= LEGACY_ROUNDS_MAX
                || self.sent_in_round + skipped < FEW_PAGES
                || self.sent > LEGACY_FACTOR * u64::from(self.pages)
        } else {
            self.rounds >= ROUNDS_MAX || self.state == State::LastLive
        };
        self.state = if is_last { State::Stopping } else { State::Harvest };
        if is_last { Action::Suspend } else { Action::Harvest }
    }

    fn harvested(&mut self, dirty: &Bitmap) {
        self.state = if !self.is_legacy && dirty.count() < FEW_PAGES {
            State::LastLive
        } else {
            State::Live
        };
        self.take(dirty);
        (self.sent_in_round, self.peeked_at) = (0, None);
        self.skip.clear();
    }

    /// What was skipped is dirty still, and the log has said so.
    fn take(&mut self, dirty: &Bitmap) {
        self.round.todo.union(dirty);
        self.round.rewind();
    }

    fn rest(&mut self) -> Action {
        if let Some(action) = self.round.batch(None, Pack::Raw, PLAIN) {
            return action;
        }
        if !self.round.is_all_there() {
            return Action::Wait { until: Duration::MAX };
        }
        self.state = State::Over;
        Action::Commit
    }
}

impl Policy for Xen {
    fn observe(&mut self, _: Duration, event: &Event<'_>) {
        match event {
            Event::Logging { absent } => {
                self.round.todo.subtract(absent);
                self.state = State::Live;
            }
            Event::Harvested { dirty } => self.harvested(dirty),
            Event::Peeked { dirty } => self.skip.clone_from(dirty),
            Event::Sent { batch, .. } => {
                self.sent += batch.items.len() as u64;
                self.sent_in_round += u32::try_from(batch.items.len()).unwrap_or(u32::MAX);
            }
            Event::Acked { sends, .. } => self.round.arrived(*sends),
            Event::Lost { sends, pages } => self.round.lost(*sends, pages),
            Event::Suspended { dirty } => {
                self.take(dirty);
                self.state = State::Rest;
            }
            Event::SuspendFailed => self.state = State::Live,
            Event::Balloon(_)
            | Event::Free { .. }
            | Event::Counted { .. }
            | Event::Weighed { .. } => {}
        }
    }

    fn decide(&mut self, now: Duration) -> Action {
        match self.state {
            State::Start => Action::PinAndLog,
            State::Live | State::LastLive => self.live(now),
            State::Rest => self.rest(),
            State::Over => Action::Commit,
            State::Harvest | State::Stopping => Action::Wait { until: Duration::MAX },
        }
    }
}
