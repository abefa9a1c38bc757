//! The machine's state under one lock, and how time passes in it.
//!
//! Watch sinks run after the lock is released, one at a time, in the order of the changes: whoever finds the queue unattended
//! empties it. A sink that changes the store itself (it must not) only makes the queue longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Clock;
use super::backend::{Backend, DeviceKey};
use super::config::SimConfig;
use super::faults::Faults;
use super::guest::Guest;
use super::hypervisor::Hypervisor;
use super::recorder::Recorder;
use super::rng::Rng;
use super::store::StoreModel;
use super::timeline::{Event, Timeline};
use crate::control::ShutdownReason;
use crate::domid::DomId;

/// From a change in xenstore until the one who watches it looks.
const NOTICE: Duration = Duration::from_millis(1);
/// xenconsoled fills in a console's terminal this long after the domain is introduced.
const CONSOLE_TTY: Duration = Duration::from_millis(100);

pub(crate) struct Inner {
    state: Mutex<State>,
    clock: Clock,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    pub(crate) faults: Faults,
    pub(crate) recorder: Recorder,
}

pub(crate) struct State {
    pub(crate) config: SimConfig,
    pub(crate) now: Duration,
    /// Counts boots; a handle of another one is dead.
    pub(crate) epoch: u64,
    pub(crate) rng: Rng,
    pub(crate) timeline: Timeline,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) store: StoreModel,
    pub(crate) guests: BTreeMap<u16, Guest>,
    pub(crate) backends: BTreeMap<DeviceKey, Backend>,
    pub(crate) block_devices: BTreeMap<String, u64>,
    /// Those that fail every request.
    pub(crate) block_devices_failing: BTreeSet<String>,
    /// What the driver sleeps until.
    armed: Option<Duration>,
    delivering: bool,
}

impl State {
    fn boot(config: SimConfig, rng: Rng, epoch: u64, now: Duration) -> Self {
        Self {
            hypervisor: Hypervisor::new(&config, now),
            store: StoreModel::new(config.store),
            config,
            now,
            epoch,
            rng,
            timeline: Timeline::default(),
            guests: BTreeMap::new(),
            backends: BTreeMap::new(),
            block_devices: BTreeMap::new(),
            block_devices_failing: BTreeSet::new(),
            armed: None,
            delivering: false,
        }
    }

    /// Runs all events up to `now`.
    fn run_until(&mut self, now: Duration) {
        self.spread_news();
        while let Some((at, event)) = self.timeline.pop(now) {
            self.tick(at);
            self.handle(event);
            self.spread_news();
        }
        self.tick(now);
    }

    fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.hypervisor.settle(self.now);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Guest(domid) => self.step_guest(domid),
            Event::Backend(key) => self.step_backend(key),
            Event::Release(domid) => self.release_last_page(domid),
            Event::ConsoleTty(domid) => self.open_console(domid),
        }
    }

    pub(crate) fn schedule_in(&mut self, event: Event, delay: Duration) {
        self.timeline.schedule(event, self.now + delay);
    }

    /// Wakes guests and backends whose nodes have changed.
    fn spread_news(&mut self) {
        for path in self.store.take_changes() {
            let mut parts = path.split('/').skip(1);
            if (parts.next(), parts.next()) != (Some("local"), Some("domain")) {
                continue;
            }
            let Some(owner) = parts.next().and_then(|part| part.parse::<u16>().ok()) else {
                continue;
            };
            let rest: Vec<&str> = parts.collect();
            if owner == 0 {
                self.news_of_backend(&rest);
            } else {
                self.news_of_guest(owner, &rest);
            }
        }
    }

    fn news_of_backend(&mut self, rest: &[&str]) {
        if rest.first() != Some(&"backend") {
            return;
        }
        let frontend = rest.get(2).and_then(|part| part.parse::<u16>().ok());
        if let (Some(domid), Some(key)) = (frontend, DeviceKey::parse(&rest[1..])) {
            self.schedule_in(Event::Backend(key), NOTICE);
            self.wake_guest(domid);
            return;
        }
        // A whole subtree came or went: all that may be meant look again.
        let known: Vec<DeviceKey> = self.backends.keys().copied().collect();
        for key in known.into_iter().filter(|key| frontend.is_none_or(|d| d == key.frontend)) {
            self.schedule_in(Event::Backend(key), NOTICE);
            self.wake_guest(key.frontend);
        }
    }

    fn news_of_guest(&mut self, domid: u16, rest: &[&str]) {
        self.wake_guest(domid);
        if rest.first().is_some_and(|part| *part != "device") {
            return;
        }
        let named = rest.get(1..).and_then(|rest| DeviceKey::of_frontend(domid, rest));
        let known = self.backends.keys().filter(|key| key.frontend == domid && named.is_none());
        let keys: Vec<DeviceKey> = known.copied().chain(named).collect();
        for key in keys {
            self.schedule_in(Event::Backend(key), NOTICE);
        }
    }

    pub(crate) fn wake_guest(&mut self, domid: u16) {
        if self.guests.contains_key(&domid) {
            self.schedule_in(Event::Guest(domid), NOTICE);
        }
    }

    /// A domain was connected to the store.
    pub(crate) fn introduced(&mut self, domid: u16) {
        self.schedule_in(Event::ConsoleTty(domid), CONSOLE_TTY);
        self.wake_guest(domid);
    }

    fn open_console(&mut self, domid: u16) {
        let path = format!("/local/domain/{domid}/console");
        // xenconsoled serves only consoles that the toolstack described.
        if self.store.read_str(DomId::DOM0, &format!("{path}/ring-ref")).is_some() {
            let tty = format!("/sim/console/{domid}");
            self.store.write_str(DomId::DOM0, &format!("{path}/tty"), &tty);
        }
    }

    /// Ends a domain's work with a reason; xenstored notices.
    pub(crate) fn guest_shutdown(&mut self, domid: DomId, reason: ShutdownReason) {
        self.settle_guest(domid.get());
        if self.hypervisor.shutdown(domid, reason) {
            self.store.shut_down(domid);
        }
    }

    /// A dying domain is dead to xenstored; it goes when nobody in dom0 maps its pages any more.
    fn release_last_page(&mut self, domid: u16) {
        if let Ok(id) = DomId::new(u32::from(domid)) {
            self.store.domain_died(id);
        }
        let mapped = |(key, b): (&DeviceKey, &Backend)| key.frontend == domid && b.mapped;
        let domain = DomId::new(u32::from(domid)).map(|id| self.hypervisor.get(id));
        let looked_at = domain.is_ok_and(|domain| domain.is_ok_and(|domain| domain.mappings > 0));
        if looked_at || self.backends.iter().any(mapped) {
            return;
        }
        if self.hypervisor.remove(domid) {
            self.guests.remove(&domid);
        }
    }
}

impl Inner {
    pub(crate) fn new(config: SimConfig, clock: Clock) -> Self {
        let now = clock();
        let rng = Rng::new(config.seed);
        Self {
            faults: Faults::new(config.seed),
            recorder: Recorder::default(),
            state: Mutex::new(State::boot(config, rng, 0, now)),
            clock,
            wake: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the machine as it is now, then tells the watchers and the driver.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.run_until((self.clock)());
        let outcome = work(&mut state);
        state.spread_news();
        let next = state.timeline.next_time();
        let earlier = next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed));
        if earlier {
            state.armed = next;
        }
        drop(state);
        self.deliver();
        if earlier {
            self.wake();
        }
        outcome
    }

    pub(crate) fn advance(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.run_until((self.clock)());
        state.armed = state.timeline.next_time();
        let wait = state.armed.map(|next| next.saturating_sub(state.now));
        drop(state);
        self.deliver();
        wait
    }

    pub(crate) fn set_wake(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    fn wake(&self) {
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Calls the sinks of what has changed.
    fn deliver(&self) {
        {
            let mut state = self.lock();
            if state.delivering {
                return;
            }
            state.delivering = true;
        }
        loop {
            let mut state = self.lock();
            let Some((sink, path)) = state.store.next_notification() else {
                state.delivering = false;
                return;
            };
            drop(state);
            sink(&path);
        }
    }

    pub(crate) fn power_loss(&self) {
        // What is lost is dropped outside of the lock: watch sinks may hold anything.
        drop(self.with(|state| {
            let (config, rng) = (state.config.clone(), state.rng.clone());
            let mut fresh = State::boot(config, rng, state.epoch + 1, state.now);
            fresh.delivering = state.delivering;
            std::mem::replace(state, fresh)
        }));
    }
}
