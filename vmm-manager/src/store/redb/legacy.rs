//! Layouts 1 to 3: a table a kind, each record under its id as text. They become rows; what is in the records is looked at afterwards.

use std::ops::RangeInclusive;

use redb::{ReadableTable as _, TableDefinition, WriteTransaction};

use super::write::{operate, set_number};
use super::{KvError, REVISION, Revision, failed};
use crate::store::kv::Operation;
use crate::store::put::{SCHEMA_KEY, Space};

/// Layouts of then were counted as the schemas of the records in them.
pub(super) const SCHEMAS: RangeInclusive<u32> = 1..=3;

type Table = TableDefinition<'static, &'static str, &'static [u8]>;
const TABLES: [(Table, Space); 5] = [
    (TableDefinition::new("hosts"), Space::Host),
    (TableDefinition::new("vms"), Space::Vm),
    (TableDefinition::new("tasks"), Space::Task),
    (TableDefinition::new("idempotency"), Space::Key),
    (TableDefinition::new("places"), Space::Place),
];

/// Makes rows of the tables, and the tables go.
pub(super) fn take_over(write: &WriteTransaction, schema: u32) -> Result<(), KvError> {
    let put = |value: Vec<u8>| Operation::Put { value, lease: None };
    let mut operations = vec![(SCHEMA_KEY.to_vec(), put(schema.to_string().into_bytes()))];
    for (definition, space) in TABLES {
        let table = write.open_table(definition).map_err(failed("upgrading"))?;
        for row in table.iter().map_err(failed("upgrading"))? {
            let (key, value) = row.map_err(failed("upgrading"))?;
            operations.push((space.key(key.value()), put(value.value().to_vec())));
        }
        drop(table);
        write.delete_table(definition).map_err(failed("upgrading"))?;
    }
    operate(write, Revision(1), operations)?;
    set_number(write, REVISION, 1)
}
