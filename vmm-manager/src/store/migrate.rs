//! From the records of older managers to this one's, in one transaction: all of it or nothing.
//!
//! | schema | what is different |
//! |---|---|
//! | 1 | a VM has at most one disk, which stands there by itself instead of in a list |
//! | 2 | there are no sites, pools, tags, folders and notes: all hosts are in the first pool |
//! | 3 | VMs are pinned to no hosts and in no groups |
//! | 4 | no VM moves between hosts |
//! | 5 | no pool says what becomes of moves that would pay, no VM when it was moved |

use serde_json::Value;

use super::SCHEMA_VERSION;
use super::error::{StoreError, failed};
use super::kv::{Condition, Key, KeyValue, Operation, Revision, Transaction, get};
use super::put::{SCHEMA_KEY, Space, records};

const FIRST: u32 = 1;
const SECOND: u32 = 2;
const THIRD: u32 = 3;
const FOURTH: u32 = 4;
const FIFTH: u32 = 5;

/// Brings the records into this version's form, or says that they are none of this software's.
pub(super) async fn migrate(kv: &dyn KeyValue) -> Result<(), StoreError> {
    let row = get(kv, SCHEMA_KEY).await.map_err(failed("checking the version of"))?;
    let Some(row) = row else { return stamp(kv, None, Vec::new()).await };
    let found = serde_json::from_slice(&row.value).map_err(|source| StoreError::Record {
        kind: "schema",
        key: "version".into(),
        source,
    })?;
    match found {
        SCHEMA_VERSION => Ok(()),
        FIRST => stamp(kv, Some(row.revision), from_first(kv).await?).await,
        // What it does not say is read as nothing written; an older manager would lose what is.
        SECOND | THIRD | FOURTH | FIFTH => stamp(kv, Some(row.revision), Vec::new()).await,
        found => Err(StoreError::Schema { found }),
    }
}

/// Stores what was changed together with the version that it has now.
async fn stamp(
    kv: &dyn KeyValue,
    found_at: Option<Revision>,
    mut operations: Vec<(Key, Operation)>,
) -> Result<(), StoreError> {
    let key = SCHEMA_KEY.to_vec();
    let condition = match found_at {
        Some(revision) => Condition::At(key.clone(), revision),
        None => Condition::Absent(key.clone()),
    };
    let value = SCHEMA_VERSION.to_string().into_bytes();
    operations.push((key, Operation::Put { value, lease: None }));
    let transaction = Transaction { conditions: vec![condition], operations };
    kv.commit(transaction).await.map(drop).map_err(failed("upgrading"))
}

async fn from_first(kv: &dyn KeyValue) -> Result<Vec<(Key, Operation)>, StoreError> {
    let mut operations = Vec::new();
    for mut record in records::<Value>(kv, Space::Vm).await? {
        if let Some(disk) = record.pointer_mut("/spec/Disk").filter(|disk| disk.is_object()) {
            *disk = Value::Array(vec![disk.take()]);
        }
        let id = record.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let value = serde_json::to_vec(&record).map_err(|source| StoreError::Form { source })?;
        operations.push((Space::Vm.key(&id), Operation::Put { value, lease: None }));
    }
    Ok(operations)
}
