//! What the manager needs of a database: an ordered key space with revisions, and nothing that etcd has not.
//!
//! ```text
//!   commit(conditions, operations) ─► revision 43 ─┬─► rows: key, value, revision of their last change, lease
//!                                                  └─► watches of a prefix of those keys
//!   grant ─► lease ─► rows bound to it ─► expire(now) or revoke: the rows are gone, and watches hear it
//! ```
//!
//! A transaction is all or nothing, and durable when its revision is answered. Revisions count up by one with each transaction that changes something.
//! Time is given in: a store reads no clock. A store with servers of its own may go by theirs.
//!
//! How it fails: what a condition forbids is [`KvError::Conflict`], and nothing was done. After [`KvError::Failed`] alone nobody knows whether it was
//! done: whoever gets that reads again before he decides anything.

mod error;
mod history;

pub(crate) use error::KvError;
pub(super) use history::History;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::agents::BoxFuture;

/// Where a row stands among the others.
pub(crate) type Key = Vec<u8>;

/// Counts the transactions that changed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision(pub(crate) u64);

/// Names a lease as long as it lives; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseId(pub(crate) u64);

/// A key and what is stored there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) value: Vec<u8>,
    /// Of its last change.
    pub(crate) revision: Revision,
    /// The row goes when this lease does.
    pub(crate) lease: Option<LeaseId>,
}

/// What must hold for a transaction to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There is no such row.
    Absent(Key),
    /// The row is there, and this was its last change.
    At(Key, Revision),
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put {
        value: Vec<u8>,
        lease: Option<LeaseId>,
    },
    /// Nothing, if there is no such row.
    Delete,
}

/// All of it or nothing. No key may have two operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) operations: Vec<(Key, Operation)>,
}

/// Which rows to read.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) prefix: Key,
    /// Those behind this key; from the first one when missing.
    pub(crate) after: Option<Key>,
    pub(crate) count_max: usize,
}

impl Range {
    /// From the first one.
    pub(crate) fn of(prefix: &[u8], count_max: usize) -> Self {
        Self { prefix: prefix.to_vec(), after: None, count_max }
    }
}

/// Rows in the order of their keys, as they were at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    /// There are more behind them.
    pub(crate) more: bool,
    /// Of the whole store. Pages of different revisions are different pictures.
    pub(crate) revision: Revision,
}

/// What one transaction changed, of the rows that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    /// Keys in order, each with its value; none when the row has gone.
    pub(crate) rows: Vec<(Key, Option<Arc<[u8]>>)>,
}

/// Follows the rows of a prefix.
pub(crate) trait Watch: Send {
    /// The next change, each once and in order; waits until there is one.
    ///
    /// # Errors
    /// [`KvError::Compacted`] for whoever is too far behind: read again, and watch from there. [`KvError::Closed`] at the end.
    fn next(&mut self) -> BoxFuture<'_, Result<Change, KvError>>;
}

/// The database.
pub(crate) trait KeyValue: Send + Sync + fmt::Debug + 'static {
    /// Nobody else can have it open, so whoever held it before has ended.
    fn is_exclusive(&self) -> bool;

    /// The most operations in a transaction.
    fn operations_max(&self) -> usize;

    /// Reads.
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, KvError>>;

    /// Writes, if the conditions hold; answers with the revision of the store then.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, KvError>>;

    /// Follows the rows of a prefix, from behind this revision on.
    fn watch(&self, prefix: Key, after: Revision) -> Result<Box<dyn Watch>, KvError>;

    /// A lease that lives so long, unless it is kept alive. `now` is the time since the epoch.
    fn grant(&self, life: Duration, now: Duration) -> BoxFuture<'_, Result<LeaseId, KvError>>;

    /// The lease lives as long again, from `now` on.
    fn keep_alive(&self, lease: LeaseId, now: Duration) -> BoxFuture<'_, Result<(), KvError>>;

    /// Ends a lease, and its rows with it. Nothing, if it has ended.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), KvError>>;

    /// Ends the leases whose life is over at `now`, and their rows with them.
    fn expire(&self, now: Duration) -> BoxFuture<'_, Result<(), KvError>>;

    /// Lets go of it. Everything that is asked afterwards is [`KvError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The row with this key.
pub(crate) async fn get(kv: &dyn KeyValue, key: &[u8]) -> Result<Option<Row>, KvError> {
    // The key itself is the first of those that begin with it.
    let page = kv.range(Range::of(key, 1)).await?;
    Ok(page.rows.into_iter().next().filter(|row| row.key == key))
}
