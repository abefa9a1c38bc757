//! Doing a change once, however often it is asked for.
//!
//! A change is known by its caller and idempotency key. While it runs, a repeated call waits for the same outcome; afterwards it
//! gets the outcome that was kept. A fault that invites another try is not kept, so that the try can happen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use vmm_proto::server::Caller;
use vmm_proto::v1::{Fault, FaultCode, Reply, Request};

use crate::core::Core;

/// Changes that are remembered.
const ENTRIES_MAX: usize = 1024;

type Outcome = Result<Reply, Fault>;
type Key = (String, String);

struct Entry {
    request: Request,
    outcome: watch::Receiver<Option<Outcome>>,
}

#[derive(Default)]
struct Entries {
    by_key: BTreeMap<Key, Entry>,
    /// Oldest first.
    order: VecDeque<Key>,
}

/// The changes of this run of the agent.
#[derive(Default)]
pub(crate) struct Once(Mutex<Entries>);

impl Once {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, key: &Key) {
        let mut entries = self.lock();
        entries.by_key.remove(key);
        entries.order.retain(|kept| kept != key);
    }
}

impl Once {
    /// Is a build of this VM under way, perhaps too early for the registry to know?
    pub(crate) fn is_building(&self, vm: &str) -> bool {
        self.lock().by_key.values().any(|entry| {
            entry.outcome.borrow().is_none()
                && matches!(&entry.request, Request::BuildVm(build) if build.vm == vm)
        })
    }
}

impl Entries {
    /// Makes room for one more by forgetting the oldest that is over.
    fn make_room(&mut self) -> Result<(), Fault> {
        if self.order.len() < ENTRIES_MAX {
            return Ok(());
        }
        let is_over =
            |key: &Key| self.by_key.get(key).is_none_or(|entry| entry.outcome.borrow().is_some());
        match self.order.iter().position(is_over) {
            Some(index) => {
                if let Some(key) = self.order.remove(index) {
                    self.by_key.remove(&key);
                }
                Ok(())
            }
            None => Err(Fault::new(
                FaultCode::Busy,
                format!("{ENTRIES_MAX} changes are under way on this host; try again later"),
            )),
        }
    }
}

/// Runs a change, or joins or repeats what came of it before.
pub(crate) async fn run(core: Arc<Core>, caller: Caller, key: String, request: Request) -> Outcome {
    let key = (caller.principal.to_string(), key);
    let mut outcome = {
        let mut entries = core.once.lock();
        match entries.by_key.get(&key) {
            Some(entry) if entry.request == request => entry.outcome.clone(),
            Some(_) => {
                return Err(Fault::new(
                    FaultCode::IdempotencyMismatch,
                    "this idempotency key was used for another request; use a new key for each change",
                ));
            }
            None => {
                entries.make_room()?;
                let (sender, outcome) = watch::channel(None);
                let entry = Entry { request: request.clone(), outcome: outcome.clone() };
                entries.by_key.insert(key.clone(), entry);
                entries.order.push_back(key.clone());
                core.spawn(change(core.clone(), caller, key, request, sender));
                outcome
            }
        }
    };
    match outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or_else(stopping),
        Err(_) => stopping(),
    }
}

async fn change(
    core: Arc<Core>,
    caller: Caller,
    key: Key,
    request: Request,
    sender: watch::Sender<Option<Outcome>>,
) {
    let outcome = super::dispatch(core.clone(), caller, request).await;
    if outcome.as_ref().is_err_and(|fault| fault.retryable) {
        core.once.forget(&key);
    }
    let _ = sender.send(Some(outcome));
}

fn stopping() -> Outcome {
    Err(Fault::new(FaultCode::Busy, "the agent is stopping; try again when it runs"))
}
