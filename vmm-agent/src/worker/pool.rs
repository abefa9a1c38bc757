//! The workers that there are: one that waits, some at work, some on their way out.
//!
//! A thread of its own, the keeper, starts all of them, because a worker dies with the thread that started it (so that it dies
//! with the agent), and threads of the blocking pool come and go. It starts the next one while nobody works, so that a start of a
//! VM pays for no exec; and it waits for those that end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::WorkerError;
use super::process::{Leaving, Process, Program};

/// How long a job waits for its worker.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// A worker that is not needed at once is started this long after the last job: what follows a build has the processor first.
const QUIET: Duration = Duration::from_millis(500);
/// How often those on their way out are looked at.
const REAP_EVERY: Duration = Duration::from_millis(20);
/// After a start that failed nobody tries again for so long.
const START_PAUSE: Duration = Duration::from_secs(1);
/// Workers found dead in waiting, one after another, before a job gives up.
const DEAD_MAX: u32 = 3;

pub(super) struct Pool {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    program: Program,
    at_once_max: u32,
    state: Mutex<State>,
    changed: Condvar,
    #[cfg(test)]
    waits: std::sync::atomic::AtomicU32,
}

struct State {
    idle: Option<Process>,
    /// Jobs that wait for a worker.
    waiting: u32,
    running: u32,
    leaving: Vec<Leaving>,
    /// Why the last start failed, and when.
    failure: Option<(Instant, String)>,
    /// No worker is started for stock before.
    quiet_until: Instant,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        #[cfg(test)]
        self.waits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Pool {
    pub(super) fn start(program: Program, at_once_max: u32) -> std::io::Result<Self> {
        let state = State {
            idle: None,
            waiting: 0,
            running: 0,
            leaving: Vec::new(),
            failure: None,
            quiet_until: Instant::now(),
            stopped: false,
        };
        let shared = Arc::new(Shared {
            program,
            at_once_max: at_once_max.max(1),
            state: Mutex::new(state),
            changed: Condvar::new(),
            #[cfg(test)]
            waits: Default::default(),
        });
        let theirs = shared.clone();
        let keeper = std::thread::Builder::new().name("workers".into());
        let keeper = keeper.spawn(move || keep(&theirs))?;
        Ok(Self { shared, keeper: Some(keeper) })
    }

    /// Waits for a worker. It is the caller's until the answer is dropped.
    pub(super) fn take(&self) -> Result<Taken<'_>, WorkerError> {
        let begun = Instant::now();
        let mut state = self.shared.lock();
        state.waiting += 1;
        // Once: in the loop, jobs that wait would wake each other for ever.
        self.shared.changed.notify_all();
        let outcome = loop {
            if state.running < self.shared.at_once_max && state.idle.is_some() {
                break Ok(());
            }
            if let Some((_, why)) = state.failure.as_ref().filter(|(at, _)| *at >= begun) {
                break Err(WorkerError::Start(why.clone()));
            }
            match WAIT_MAX.checked_sub(begun.elapsed()) {
                None => break Err(WorkerError::Busy(WAIT_MAX)),
                Some(left) => state = self.shared.wait(state, left),
            }
        };
        state.waiting -= 1;
        outcome?;
        state.running += 1;
        let process = state.idle.take();
        if state.waiting > 0 {
            // The keeper starts the next one.
            self.shared.changed.notify_all();
        }
        drop(state);
        Ok(Taken { shared: &self.shared, process, leaving: None })
    }

    /// As [`Pool::take`], of one that lives: memory pressure may have ended the one in waiting.
    pub(super) fn take_alive(&self) -> Result<(Taken<'_>, Process), WorkerError> {
        for _ in 0..DEAD_MAX {
            let mut taken = self.take()?;
            let Some(mut process) = taken.process.take() else { continue };
            if process.is_alive() {
                return Ok((taken, process));
            }
            taken.leaving = Some(process.into());
        }
        Err(WorkerError::Start("workers end before they get a request".into()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// The right to run one job.
pub(super) struct Taken<'a> {
    shared: &'a Shared,
    process: Option<Process>,
    /// What the keeper shall wait for.
    pub(super) leaving: Option<Leaving>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running = state.running.saturating_sub(1);
        state.quiet_until = Instant::now() + QUIET;
        state.leaving.extend(self.leaving.take());
        drop(state);
        self.shared.changed.notify_all();
    }
}

fn keep(shared: &Shared) {
    let mut state = shared.lock();
    while !state.stopped {
        state.leaving.retain_mut(|leaving| !leaving.is_gone());
        let now = Instant::now();
        let paused =
            state.failure.as_ref().map(|(at, _)| *at + START_PAUSE).filter(|end| *end > now);
        let for_stock = state.running == 0 && now >= state.quiet_until;
        if state.idle.is_none() && paused.is_none() && (state.waiting > 0 || for_stock) {
            drop(state);
            let started = Process::start(&shared.program);
            state = shared.lock();
            match started {
                Ok(process) => (state.idle, state.failure) = (Some(process), None),
                Err(error) => {
                    tracing::warn!(%error, "no worker process");
                    state.failure = Some((Instant::now(), error.to_string()));
                }
            }
            shared.changed.notify_all();
            continue;
        }
        let most = if state.leaving.is_empty() { QUIET } else { REAP_EVERY };
        state = match state.idle.is_some() && state.leaving.is_empty() {
            // Nothing to do until somebody comes.
            true => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            false => shared.wait(state, most),
        };
    }
    // Its socket closes with it, and it ends; those that do not are killed with this thread.
    let idle = state.idle.take().map(Leaving::from);
    state.leaving.extend(idle);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn jobs_that_wait_for_a_worker_sleep_and_each_gets_one() {
        let program = Program::of("/bin/cat");
        let pool = Pool::start(program, 1).unwrap();
        let first = pool.take().unwrap();
        let before = pool.shared.waits.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            let jobs = [(); 3].map(|()| {
                scope.spawn(|| {
                    pool.take_alive().map(|(mut taken, process)| {
                        taken.leaving = Some(process.into());
                    })
                })
            });
            while pool.shared.lock().waiting < 3 {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(300));
            let waits = pool.shared.waits.load(Ordering::Relaxed) - before;
            assert!(waits < 60, "{waits} waits: they wake each other");
            drop(first);
            for job in jobs {
                job.join().unwrap().unwrap();
            }
        });
    }
}
