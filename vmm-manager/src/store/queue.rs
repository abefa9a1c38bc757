//! Group commit: whatever waits to be stored goes to the disk together.
//!
//! ```text
//!   state, under its lock                 one task                         whoever acts or answers
//!   ─────────────────────                 ────────                         ───────────────────────
//!   enqueue(batch 7) ─► ticket 7          commit(5, 6) …                   until(7) waits
//!   enqueue(batch 8) ─► ticket 8          commit(7, 8) ─► stored: 8 ─────► goes on
//! ```
//!
//! The disk is waited for outside the lock. The state is ahead of the store by what is in the queue, in the same order; nothing
//! of that is acted on, or told to anybody, before it is stored. Each transaction is fenced by the manager's tenure.
//!
//! How it fails: once, for good. After an error nobody knows what is stored, so what is decided on top of it must not be. All who wait are
//! told, nothing more is taken, and the manager opens the store anew, as a restart does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::error::StoreError;
use super::kv::{Condition, Key, KeyValue, KvError, Operation, Transaction};

/// A transaction takes no more than this, unless one batch does.
const GROUP_BYTES_MAX: usize = 16 << 20;
const GROUP_OPERATIONS_MAX: usize = 4096;
/// Decisions are refused when more waits. Facts are not, until four times as much does.
const WAITING_BYTES_MAX: usize = 64 << 20;
const FACTS_FACTOR: usize = 4;

/// How pressing a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Acted on when it is stored.
    Decision,
    /// It has happened.
    Fact,
}

/// Changes that are stored together or not at all.
#[derive(Debug)]
struct Batch {
    operations: Vec<(Key, Operation)>,
    bytes: usize,
}

/// Which batch: they count up.
pub(super) type Ticket = u64;

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// The last batch that was taken.
    last: Ticket,
    /// Nothing more is taken.
    closed: bool,
}

/// How far it has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    stored: Ticket,
    groups: u64,
    failure: Option<Arc<KvError>>,
    ended: bool,
}

/// What waits, and how far it has come.
#[derive(Debug)]
pub(super) struct Queue {
    fence: Condition,
    waiting: Mutex<Waiting>,
    work: Notify,
    progress: watch::Sender<Progress>,
}

impl Queue {
    pub(super) fn new(fence: Condition) -> Self {
        let (waiting, work) = (Mutex::default(), Notify::new());
        Self { fence, waiting, work, progress: watch::Sender::new(Progress::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes changes, in the order in which they come.
    pub(super) fn enqueue(
        &self,
        operations: Vec<(Key, Operation)>,
        kind: Kind,
    ) -> Result<(), StoreError> {
        self.check_failure()?;
        if operations.is_empty() {
            return Ok(());
        }
        let bytes = operations.iter().map(bytes_of).sum();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        let most = match kind {
            Kind::Decision => WAITING_BYTES_MAX,
            Kind::Fact => WAITING_BYTES_MAX * FACTS_FACTOR,
        };
        if waiting.bytes > most {
            return Err(StoreError::Behind);
        }
        waiting.last += 1;
        waiting.bytes += bytes;
        waiting.batches.push_back(Batch { operations, bytes });
        drop(waiting);
        self.work.notify_one();
        Ok(())
    }

    /// The last batch that was taken.
    pub(super) fn last(&self) -> Ticket {
        self.lock().last
    }

    /// Transactions so far.
    pub(super) fn groups(&self) -> u64 {
        self.progress.borrow().groups
    }

    fn check_failure(&self) -> Result<(), StoreError> {
        self.progress.borrow().failure.as_ref().map_or(Ok(()), |failure| Err(lost(failure)))
    }

    /// Waits until everything up to the ticket is stored.
    pub(super) async fn until(&self, ticket: Ticket) -> Result<(), StoreError> {
        let mut progress = self.progress.subscribe();
        let over = |progress: &Progress| {
            progress.stored >= ticket || progress.failure.is_some() || progress.ended
        };
        let Ok(progress) = progress.wait_for(over).await else { return Err(StoreError::Closed) };
        match &progress.failure {
            _ if progress.stored >= ticket => Ok(()),
            Some(failure) => Err(lost(failure)),
            None => Err(StoreError::Closed),
        }
    }

    /// Waits until the store has failed, or was closed.
    pub(super) async fn until_failed(&self) {
        let mut progress = self.progress.subscribe();
        let _ = progress.wait_for(|progress| progress.failure.is_some() || progress.ended).await;
    }

    /// Nothing is taken from now on. What waits is stored, unless it is to be given up.
    pub(super) fn close(&self, give_up: bool) {
        let mut waiting = self.lock();
        waiting.closed = true;
        if give_up {
            waiting.batches.clear();
        }
        drop(waiting);
        self.work.notify_one();
    }

    /// Waits until nothing is being stored any more.
    pub(super) async fn until_ended(&self) {
        let _ = self.progress.subscribe().wait_for(|progress| progress.ended).await;
    }

    /// It cannot be used any more.
    pub(super) fn fail(&self, error: KvError) {
        self.progress.send_modify(|progress| {
            progress.failure.get_or_insert(Arc::new(error));
        });
        self.close(true);
    }

    /// Stores what comes, until it is closed or fails.
    pub(super) async fn run(&self, kv: &dyn KeyValue) {
        while let Some((transaction, upto)) = self.next_group(kv.operations_max()).await {
            match kv.commit(transaction).await {
                Ok(_) => self.progress.send_modify(|progress| {
                    progress.stored = upto;
                    progress.groups += 1;
                }),
                Err(error) => self.fail(error),
            }
        }
    }

    /// The store is let go of.
    pub(super) fn end(&self) {
        self.progress.send_modify(|progress| progress.ended = true);
    }

    async fn next_group(&self, operations_max: usize) -> Option<(Transaction, Ticket)> {
        loop {
            if let Some(group) = self.take_group(operations_max.min(GROUP_OPERATIONS_MAX)) {
                return Some(group);
            }
            if self.lock().closed {
                return None;
            }
            self.work.notified().await;
        }
    }

    /// Whole batches, as many as fit. Of two changes of one row the later one counts.
    fn take_group(&self, operations_max: usize) -> Option<(Transaction, Ticket)> {
        let mut waiting = self.lock();
        let (mut rows, mut bytes) = (BTreeMap::new(), 0);
        while let Some(batch) = waiting.batches.front() {
            let fits = rows.len() + batch.operations.len() <= operations_max
                && bytes + batch.bytes <= GROUP_BYTES_MAX;
            if !rows.is_empty() && !fits {
                break;
            }
            let Some(batch) = waiting.batches.pop_front() else { break };
            bytes += batch.bytes;
            rows.extend(batch.operations);
        }
        waiting.bytes -= bytes;
        let left = u64::try_from(waiting.batches.len()).unwrap_or(u64::MAX);
        let upto = waiting.last.saturating_sub(left);
        let conditions = vec![self.fence.clone()];
        let operations: Vec<_> = rows.into_iter().collect();
        (!operations.is_empty()).then_some((Transaction { conditions, operations }, upto))
    }
}

fn bytes_of((key, operation): &(Key, Operation)) -> usize {
    key.len()
        + match operation {
            Operation::Put { value, .. } => value.len(),
            Operation::Delete => 0,
        }
}

fn lost(failure: &Arc<KvError>) -> StoreError {
    match **failure {
        // The only condition is the fence.
        KvError::Conflict { .. } | KvError::LeaseGone { .. } => StoreError::Superseded,
        _ => StoreError::Lost { source: Arc::clone(failure) as _ },
    }
}
