//! From the schemas of older managers to this one's, in the transaction that checks the version: all of it or nothing.
//!
//! | schema | what is different |
//! |---|---|
//! | 1 | a VM has at most one disk, which stands there by itself instead of in a list |
//! | 2 | there are no sites, pools, tags, folders and notes: all hosts are in the first pool |

use redb::{ReadableTable as _, WriteTransaction};
use serde_json::Value;

use super::error::{StoreError, failed};
use super::{SCHEMA_VERSION, VMS};

/// Brings what `found` says was written into this version's form.
pub(super) fn migrate(write: &WriteTransaction, found: u32) -> Result<(), StoreError> {
    match found {
        SCHEMA_VERSION => Ok(()),
        // What it does not say is read as nothing written; an older manager would lose what is.
        2 => Ok(()),
        1 => from_first(write),
        found => Err(StoreError::Schema { found }),
    }
}

fn from_first(write: &WriteTransaction) -> Result<(), StoreError> {
    let mut table = write.open_table(VMS).map_err(failed("upgrading"))?;
    let mut rows: Vec<(String, Value)> = Vec::new();
    for row in table.iter().map_err(failed("upgrading"))? {
        let (key, value) = row.map_err(failed("upgrading"))?;
        let key = key.value().to_owned();
        let record = serde_json::from_slice(value.value())
            .map_err(|source| StoreError::Record { kind: "VM", key: key.clone(), source })?;
        rows.push((key, record));
    }
    for (key, mut record) in rows {
        if let Some(disk) = record.pointer_mut("/spec/Disk").filter(|disk| disk.is_object()) {
            *disk = Value::Array(vec![disk.take()]);
        }
        let bytes = serde_json::to_vec(&record).map_err(|source| StoreError::Form { source })?;
        table.insert(key.as_str(), bytes.as_slice()).map_err(failed("upgrading"))?;
    }
    Ok(())
}
