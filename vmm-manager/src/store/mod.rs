//! What survives a restart: hosts, VMs, tasks and idempotency keys.
//!
//! ```text
//!   State ──Put──► Store ──rows──► Queue: group commit ──transactions──► KeyValue ─┬─ redb: a file, or memory
//!                  records as JSON      fenced by the Tenure                       └─ etcd has all that it asks for
//! ```
//!
//! - `records`, `put`: what is stored, and where it stands in the key space.
//! - `queue`: concurrent changes share one transaction, and one wait for the disk.
//! - `tenure`: one manager at a time owns the store.
//! - `kv`: what is asked of a database. `conformance` is its contract as tests, for any of them.
//! - `redb`: the database. `faulty`, in tests: one that fails when it is told to.
//!
//! A set of changes is stored together or not at all: a VM's reservation, the task that works on it, and the key under which it was
//! asked for. [`Store::decide`] takes them; [`Store::stored`] waits until they are on the disk. Nobody acts between the two.
//!
//! The records' version is checked before anything is read. Older ones are brought up to this one's, once; newer ones, or a record that cannot
//! be read, are a typed error that says what to do. Nothing is guessed and nothing is dropped. A store that fails takes nothing any more: what it
//! has is read again, because nobody knows what the last transaction did.

mod error;
mod kv;
mod migrate;
mod put;
mod queue;
mod records;
mod redb;
mod tenure;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod faulty;

pub use error::StoreError;
pub(crate) use put::{Contents, Put};
pub(crate) use records::{
    Charge, Course, DecisionRecord, GroupRecord, HostRecord, Item, KeyRecord, KeyedReply, Labels,
    Moving, PlaceId, PlaceRecord, PoolRecord, SavedState, SiteRecord, TaskRecord, Told, VmRecord,
};
pub use redb::MemoryStore;

use std::sync::Arc;
use std::time::Duration;

use vmm_proto::clock::WallClock;

use crate::manager::StoreLocation;
use kv::{KeyValue, KvError};
use queue::{Kind, Queue};
use redb::{OpenFailed, RedbStore};
use tenure::Tenure;

/// Of all records. A change that an older manager cannot read counts it up.
pub(crate) const SCHEMA_VERSION: u32 = 6;

/// The open store. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kv: Arc<dyn KeyValue>,
    tenure: Tenure,
    queue: Arc<Queue>,
}

/// A manager that was dropped without a word lets go of its store, too.
impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close(false);
    }
}

impl Store {
    /// Opens it, takes it for `owner`, and reads all of it.
    pub(crate) async fn open(
        location: &StoreLocation,
        owner: &str,
        now: Duration,
    ) -> Result<(Self, Contents), StoreError> {
        let kv = open(location).await?;
        let taken = async {
            let tenure = Tenure::take(&*kv, owner, now).await?;
            migrate::migrate(&*kv).await?;
            Ok((tenure, Contents::read(&*kv).await?))
        };
        match taken.await {
            Ok((tenure, contents)) => Ok((Self::over(kv, tenure), contents)),
            Err(error) => {
                kv.close().await;
                Err(error)
            }
        }
    }

    fn over(kv: Arc<dyn KeyValue>, tenure: Tenure) -> Self {
        let queue = Arc::new(Queue::new(tenure.fence()));
        let (at_work, to) = (Arc::clone(&queue), Arc::clone(&kv));
        tokio::spawn(async move {
            at_work.run(&*to).await;
            tenure.give_up(&*to).await;
            to.close().await;
            at_work.end();
        });
        Self(Arc::new(Inner { kv, tenure, queue }))
    }

    /// Takes a decision: all of `batch` or nothing of it. It may be acted on when it is [`Store::stored`].
    pub(crate) fn decide(&self, batch: &[Put]) -> Result<(), StoreError> {
        self.enqueue(batch, Kind::Decision)
    }

    /// Takes what has happened.
    pub(crate) fn note(&self, batch: &[Put]) -> Result<(), StoreError> {
        self.enqueue(batch, Kind::Fact)
    }

    fn enqueue(&self, batch: &[Put], kind: Kind) -> Result<(), StoreError> {
        let operations: Result<Vec<_>, _> = batch.iter().map(Put::operation).collect();
        self.0.queue.enqueue(operations?, kind)
    }

    /// Waits until everything that was taken is stored.
    pub(crate) async fn stored(&self) -> Result<(), StoreError> {
        self.0.queue.until(self.0.queue.last()).await
    }

    /// Transactions so far: fewer than what was asked for when much was asked for at once.
    pub(crate) fn groups(&self) -> u64 {
        self.0.queue.groups()
    }

    /// Keeps the store, until it has failed, was closed, or belongs to another manager.
    pub(crate) async fn keep(&self, clock: &dyn WallClock) {
        let Inner { kv, tenure, queue } = &*self.0;
        let lost = async {
            match tenure.until_lost(&**kv, clock).await {
                // The queue says so, too.
                KvError::Closed => std::future::pending().await,
                error => error,
            }
        };
        tokio::select! {
            () = queue.until_failed() => {}
            error = lost => queue.fail(error),
        }
    }

    /// Stores what waits, and lets go of the store.
    pub(crate) async fn close(&self) {
        self.0.queue.close(false);
        self.0.queue.until_ended().await;
    }

    /// As [`Store::close`], and what waits is lost: a crash.
    #[cfg(test)]
    pub(crate) async fn crash(&self) {
        self.0.queue.close(true);
        self.0.queue.until_ended().await;
    }
}

async fn open(location: &StoreLocation) -> Result<Arc<dyn KeyValue>, StoreError> {
    let (opened, place) = match location {
        StoreLocation::File(path) => {
            let file = path.clone();
            let opened = tokio::task::spawn_blocking(move || RedbStore::file(&file)).await;
            let opened = opened.map_err(error::failed("opening"))?;
            (opened, path.display().to_string())
        }
        StoreLocation::Memory(memory) => (RedbStore::memory(memory), "memory".to_owned()),
        #[cfg(test)]
        StoreLocation::Faulty(store) => return Ok(store.opened()),
    };
    let opened = opened.map_err(|error| match (error, location) {
        (OpenFailed::File(source), StoreLocation::File(path)) => {
            StoreError::File { path: path.clone(), source }
        }
        (OpenFailed::File(source), _) => error::failed("opening")(source),
        (OpenFailed::Database(source), _) => StoreError::Open { place, source },
        (OpenFailed::Layout(found), _) => StoreError::Schema { found },
        (OpenFailed::Store(source), _) => error::failed("opening")(source),
    })?;
    Ok(Arc::new(opened))
}

#[cfg(test)]
mod tests;
