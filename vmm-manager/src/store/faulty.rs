//! A store in memory that fails when it is told to, and that several managers can have open. After a fault it refuses everything until it is opened
//! again, as redb does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::kv::{Key, KeyValue, KvError, LeaseId, Page, Range, Revision, Transaction, Watch};
use super::redb::{MemoryStore, RedbStore};
use crate::agents::BoxFuture;

/// What goes wrong with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done.
    Undone,
    /// It is done, and nobody hears of it.
    ReplyLost,
}

/// The store. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Faulty(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kv: RedbStore,
    is_exclusive: bool,
    /// Transactions until the next fault.
    plan: Mutex<Option<(usize, Fault)>>,
}

impl Faulty {
    /// One manager at a time has it open; that is believed, not checked.
    pub(crate) fn exclusive() -> Self {
        Self::new(true)
    }

    /// Many managers may have it open.
    pub(crate) fn shared() -> Self {
        Self::new(false)
    }

    fn new(is_exclusive: bool) -> Self {
        let kv = RedbStore::memory(&MemoryStore::default()).expect("nobody else has it");
        Self(Arc::new(Shared { kv, is_exclusive, plan: Mutex::new(None) }))
    }

    /// The next transaction but `after` goes wrong.
    pub(crate) fn fail(&self, after: usize, fault: Fault) {
        *self.plan() = Some((after, fault));
    }

    /// Is a fault still to come?
    pub(crate) fn is_armed(&self) -> bool {
        self.plan().is_some()
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Option<(usize, Fault)>> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fault(&self) -> Option<Fault> {
        let mut plan = self.plan();
        match plan.take() {
            Some((0, fault)) => Some(fault),
            Some((after, fault)) => {
                *plan = Some((after - 1, fault));
                None
            }
            None => None,
        }
    }

    /// As one manager has it.
    pub(crate) fn opened(&self) -> Arc<dyn KeyValue> {
        Arc::new(Handle { store: self.clone(), is_closed: AtomicBool::new(false) })
    }
}

#[derive(Debug)]
struct Handle {
    store: Faulty,
    is_closed: AtomicBool,
}

impl Handle {
    fn kv(&self) -> Result<&RedbStore, KvError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(KvError::Closed);
        }
        Ok(&self.store.0.kv)
    }

    fn break_down(&self) -> KvError {
        self.is_closed.store(true, Ordering::Release);
        KvError::Failed { doing: "writing", source: "told to fail".into() }
    }
}

impl KeyValue for Handle {
    fn is_exclusive(&self) -> bool {
        self.store.0.is_exclusive
    }

    fn operations_max(&self) -> usize {
        self.store.0.kv.operations_max()
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, KvError>> {
        Box::pin(async move { self.kv()?.range(range).await })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, KvError>> {
        Box::pin(async move {
            let kv = self.kv()?;
            match self.store.next_fault() {
                None => kv.commit(transaction).await,
                Some(Fault::Undone) => Err(self.break_down()),
                Some(Fault::ReplyLost) => {
                    kv.commit(transaction).await?;
                    Err(self.break_down())
                }
            }
        })
    }

    fn watch(&self, prefix: Key, after: Revision) -> Result<Box<dyn Watch>, KvError> {
        self.kv()?.watch(prefix, after)
    }

    fn grant(&self, life: Duration, now: Duration) -> BoxFuture<'_, Result<LeaseId, KvError>> {
        Box::pin(async move { self.kv()?.grant(life, now).await })
    }

    fn keep_alive(&self, lease: LeaseId, now: Duration) -> BoxFuture<'_, Result<(), KvError>> {
        Box::pin(async move { self.kv()?.keep_alive(lease, now).await })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), KvError>> {
        Box::pin(async move { self.kv()?.revoke(lease).await })
    }

    fn expire(&self, now: Duration) -> BoxFuture<'_, Result<(), KvError>> {
        Box::pin(async move { self.kv()?.expire(now).await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.is_closed.store(true, Ordering::Release) })
    }
}
