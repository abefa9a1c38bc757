//! The parts of a write: conditions, operations, leases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable as _, WriteTransaction};

use super::{LAST_LEASE, LEASED, LEASES, NUMBERS, ROWS, failed};
use crate::store::kv::{Condition, Key, KvError, LeaseId, Operation, Revision, Transaction};

/// A key and what is there now.
pub(super) type Changed = (Key, Option<Arc<[u8]>>);

pub(super) fn number(write: &WriteTransaction, name: &str) -> Result<u64, KvError> {
    let numbers = write.open_table(NUMBERS).map_err(failed("reading"))?;
    let number = numbers.get(name).map_err(failed("reading"))?;
    Ok(number.map_or(0, |number| number.value()))
}

pub(super) fn set_number(write: &WriteTransaction, name: &str, to: u64) -> Result<(), KvError> {
    let mut numbers = write.open_table(NUMBERS).map_err(failed("writing"))?;
    numbers.insert(name, to).map_err(failed("writing"))?;
    Ok(())
}

/// For people.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

pub(super) fn check_shape(transaction: &Transaction, most: usize) -> Result<(), KvError> {
    let count = transaction.operations.len();
    if count > most {
        return Err(KvError::TooLarge { count, most });
    }
    let mut keys = BTreeSet::new();
    let twice = transaction.operations.iter().find(|(key, _)| !keys.insert(key));
    twice.map_or(Ok(()), |(key, _)| Err(KvError::Twice { key: shown(key) }))
}

pub(super) fn check_conditions(
    write: &WriteTransaction,
    conditions: &[Condition],
) -> Result<(), KvError> {
    let rows = write.open_table(ROWS).map_err(failed("reading"))?;
    for condition in conditions {
        let (key, expected) = match condition {
            Condition::Absent(key) => (key, None),
            Condition::At(key, revision) => (key, Some(revision.0)),
        };
        let found = rows.get(key.as_slice()).map_err(failed("reading"))?;
        if found.map(|row| row.value().0) != expected {
            return Err(KvError::Conflict { key: shown(key) });
        }
    }
    Ok(())
}

pub(super) fn operate(
    write: &WriteTransaction,
    revision: Revision,
    operations: Vec<(Key, Operation)>,
) -> Result<Vec<Changed>, KvError> {
    let mut rows = write.open_table(ROWS).map_err(failed("writing"))?;
    let mut leased = write.open_table(LEASED).map_err(failed("writing"))?;
    let leases = write.open_table(LEASES).map_err(failed("writing"))?;
    let mut changed = Vec::with_capacity(operations.len());
    for (key, operation) in operations {
        let before = match &operation {
            Operation::Put { value, lease } => {
                let lease = lease.map_or(0, |lease| lease.0);
                if lease != 0 {
                    if leases.get(lease).map_err(failed("reading"))?.is_none() {
                        return Err(KvError::LeaseGone { lease: LeaseId(lease) });
                    }
                    leased.insert((lease, key.as_slice()), ()).map_err(failed("writing"))?;
                }
                let row = (revision.0, lease, value.as_slice());
                let before = rows.insert(key.as_slice(), row).map_err(failed("writing"))?;
                before.map(|row| row.value().1).filter(|before| *before != lease)
            }
            Operation::Delete => {
                let before = rows.remove(key.as_slice()).map_err(failed("writing"))?;
                let Some(before) = before else { continue };
                Some(before.value().1)
            }
        };
        if let Some(lease) = before.filter(|lease| *lease != 0) {
            leased.remove((lease, key.as_slice())).map_err(failed("writing"))?;
        }
        changed.push(match operation {
            Operation::Put { value, .. } => (key, Some(value.into())),
            Operation::Delete => (key, None),
        });
    }
    Ok(changed)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn grant(
    write: &WriteTransaction,
    life: Duration,
    now: Duration,
) -> Result<LeaseId, KvError> {
    let id = number(write, LAST_LEASE)? + 1;
    set_number(write, LAST_LEASE, id)?;
    let mut leases = write.open_table(LEASES).map_err(failed("writing"))?;
    let lease = (millis(life), millis(now.saturating_add(life)));
    leases.insert(id, lease).map_err(failed("writing"))?;
    Ok(LeaseId(id))
}

pub(super) fn keep(write: &WriteTransaction, lease: LeaseId, now: Duration) -> Result<(), KvError> {
    let mut leases = write.open_table(LEASES).map_err(failed("writing"))?;
    let found = leases.get(lease.0).map_err(failed("reading"))?.map(|row| row.value());
    // Over is over, even when nobody has swept it yet.
    let alive = found.filter(|(_, end)| *end > millis(now));
    let (life, _) = alive.ok_or(KvError::LeaseGone { lease })?;
    let kept = (life, millis(now).saturating_add(life));
    leases.insert(lease.0, kept).map_err(failed("writing"))?;
    Ok(())
}

/// The leases whose life is over.
pub(super) fn over(write: &WriteTransaction, now: Duration) -> Result<Vec<LeaseId>, KvError> {
    let leases = write.open_table(LEASES).map_err(failed("reading"))?;
    let mut over = Vec::new();
    for lease in leases.iter().map_err(failed("reading"))? {
        let (id, times) = lease.map_err(failed("reading"))?;
        if times.value().1 <= millis(now) {
            over.push(LeaseId(id.value()));
        }
    }
    Ok(over)
}

/// Takes leases away, and their rows.
pub(super) fn end(write: &WriteTransaction, over: &[LeaseId]) -> Result<Vec<Changed>, KvError> {
    let mut leases = write.open_table(LEASES).map_err(failed("writing"))?;
    let mut leased = write.open_table(LEASED).map_err(failed("writing"))?;
    let mut rows = write.open_table(ROWS).map_err(failed("writing"))?;
    let mut gone = Vec::new();
    for lease in over {
        leases.remove(lease.0).map_err(failed("writing"))?;
        let mut keys = Vec::new();
        let from = (lease.0, [].as_slice());
        for row in leased.range(from..(lease.0 + 1, [].as_slice())).map_err(failed("reading"))? {
            keys.push(row.map_err(failed("reading"))?.0.value().1.to_vec());
        }
        for key in keys {
            leased.remove((lease.0, key.as_slice())).map_err(failed("writing"))?;
            rows.remove(key.as_slice()).map_err(failed("writing"))?;
            gone.push((key, None));
        }
    }
    Ok(gone)
}
