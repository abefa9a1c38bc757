//! The key space in redb: one file, one manager.
//!
//! | table | holds |
//! |---|---|
//! | `rows` | key → revision, lease (0: none), value |
//! | `leases` | lease → life and end, in milliseconds |
//! | `leased` | (lease, key): which rows go with it |
//! | `numbers` | the revision and the last lease |
//! | `meta` | the layout of these tables: an older manager looks here, and refuses |
//!
//! A write waits for the disk, so it runs where waiting is allowed; a store in memory never waits, and does it on the spot, so that a seed replays.
//! After an error of the disk redb refuses everything until it is opened again, and what is there then is what counts.

mod blocking;
mod legacy;
mod memory;
mod open;
mod write;

pub use memory::MemoryStore;
pub(super) use open::OpenFailed;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, TableDefinition, WriteTransaction};

use super::kv::{
    Change, History, Key, KeyValue, KvError, LeaseId, Page, Range, Revision, Row, Transaction,
    Watch,
};
use crate::agents::BoxFuture;

const META: TableDefinition<'static, &'static str, u32> = TableDefinition::new("meta");
const LAYOUT_KEY: &str = "schema";
/// Of the tables. Layouts 1 to 3 had a table a kind, see `legacy`.
const LAYOUT: u32 = 4;
const ROWS: TableDefinition<'static, &'static [u8], (u64, u64, &'static [u8])> =
    TableDefinition::new("rows");
const LEASES: TableDefinition<'static, u64, (u64, u64)> = TableDefinition::new("leases");
const LEASED: TableDefinition<'static, (u64, &'static [u8]), ()> = TableDefinition::new("leased");
const NUMBERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("numbers");
const REVISION: &str = "revision";
const LAST_LEASE: &str = "lease";

/// No transaction of a manager comes near; it bounds the memory of one.
const OPERATIONS_MAX: usize = 65_536;

/// redb as the key space.
#[derive(Debug)]
pub(super) struct RedbStore {
    inner: Arc<Inner>,
    /// Writes wait for a disk.
    waits: bool,
}

#[derive(Debug)]
struct Inner {
    /// None when it is closed.
    database: RwLock<Option<Database>>,
    /// Held from a commit to its place in the history, so that changes come in order.
    writer: Mutex<()>,
    history: Mutex<Option<History>>,
}

fn failed<E>(doing: &'static str) -> impl FnOnce(E) -> KvError
where
    redb::Error: From<E>,
{
    move |error| KvError::Failed { doing, source: Box::new(redb::Error::from(error)) }
}

impl Inner {
    fn read(&self, range: &Range) -> Result<Page, KvError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(KvError::Closed)?;
        let read = database.begin_read().map_err(failed("reading"))?;
        let numbers = read.open_table(NUMBERS).map_err(failed("reading"))?;
        let revision = numbers.get(REVISION).map_err(failed("reading"))?;
        let revision = Revision(revision.map_or(0, |number| number.value()));
        let table = read.open_table(ROWS).map_err(failed("reading"))?;
        let after = range.after.as_deref().filter(|after| *after > range.prefix.as_slice());
        let from = after.unwrap_or(&range.prefix);
        let (mut rows, mut more) = (Vec::new(), false);
        for row in table.range(from..).map_err(failed("reading"))? {
            let (key, value) = row.map_err(failed("reading"))?;
            if !key.value().starts_with(&range.prefix) {
                break;
            }
            if Some(key.value()) == range.after.as_deref() {
                continue;
            }
            more = rows.len() >= range.count_max;
            if more {
                break;
            }
            rows.push(row_of(key.value(), value.value()));
        }
        Ok(Page { rows, more, revision })
    }

    /// Does `work` in one transaction. What it says was changed gets a revision, and is told.
    fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, Revision) -> Result<(T, Vec<write::Changed>), KvError>,
    ) -> Result<(T, Revision), KvError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(KvError::Closed)?;
        let write = database.begin_write().map_err(failed("writing"))?;
        let last = write::number(&write, REVISION)?;
        let next = Revision(last + 1);
        let (answer, mut rows) = work(&write, next)?;
        if rows.is_empty() {
            write.commit().map_err(failed("writing"))?;
            return Ok((answer, Revision(last)));
        }
        write::set_number(&write, REVISION, next.0)?;
        write.commit().map_err(failed("writing"))?;
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(history) = &*self.history.lock().unwrap_or_else(PoisonError::into_inner) {
            history.push(Change { revision: next, rows });
        }
        Ok((answer, next))
    }
}

fn row_of(key: &[u8], (revision, lease, value): (u64, u64, &[u8])) -> Row {
    Row {
        key: key.to_vec(),
        value: value.to_vec(),
        revision: Revision(revision),
        lease: (lease != 0).then_some(LeaseId(lease)),
    }
}

impl KeyValue for RedbStore {
    fn is_exclusive(&self) -> bool {
        true
    }

    fn operations_max(&self) -> usize {
        OPERATIONS_MAX
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, KvError>> {
        self.on(move |inner| inner.read(&range))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, KvError>> {
        self.on(move |inner| {
            write::check_shape(&transaction, OPERATIONS_MAX)?;
            let work = |write: &WriteTransaction, next| {
                write::check_conditions(write, &transaction.conditions)?;
                Ok(((), write::operate(write, next, transaction.operations)?))
            };
            inner.write(work).map(|((), revision)| revision)
        })
    }

    fn watch(&self, prefix: Key, after: Revision) -> Result<Box<dyn Watch>, KvError> {
        let history = self.inner.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.as_ref().ok_or(KvError::Closed)?.watch(prefix, after)
    }

    fn grant(&self, life: Duration, now: Duration) -> BoxFuture<'_, Result<LeaseId, KvError>> {
        self.on(move |inner| {
            let work = |write: &WriteTransaction, _| Ok((write::grant(write, life, now)?, vec![]));
            inner.write(work).map(|(lease, _)| lease)
        })
    }

    fn keep_alive(&self, lease: LeaseId, now: Duration) -> BoxFuture<'_, Result<(), KvError>> {
        self.on(move |inner| {
            let work = |write: &WriteTransaction, _| Ok((write::keep(write, lease, now)?, vec![]));
            inner.write(work).map(|_| ())
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), KvError>> {
        self.on(move |inner| {
            inner.write(|write, _| Ok(((), write::end(write, &[lease])?))).map(|_| ())
        })
    }

    fn expire(&self, now: Duration) -> BoxFuture<'_, Result<(), KvError>> {
        self.on(move |inner| {
            let work = |write: &WriteTransaction, _| {
                Ok(((), write::end(write, &write::over(write, now)?)?))
            };
            inner.write(work).map(|_| ())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.on(Inner::close)
    }
}

impl Inner {
    /// What is under way ends first: nobody finds the file locked when this has returned.
    fn close(&self) {
        self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
