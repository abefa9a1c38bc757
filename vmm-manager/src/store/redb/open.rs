//! Opens the file, or the memory, and makes or renews its tables.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use redb::backends::FileBackend;
use redb::{Database, ReadableTable as _};

use super::{
    History, Inner, KvError, LAYOUT, LAYOUT_KEY, LEASED, LEASES, META, MemoryStore, NUMBERS,
    REVISION, ROWS, RedbStore, Revision, failed, legacy, write,
};

/// Why there is no store.
#[derive(Debug)]
pub(in crate::store) enum OpenFailed {
    /// The file cannot be opened.
    File(io::Error),
    /// It is no store, is damaged, or somebody has it.
    Database(Box<redb::Error>),
    /// Somebody newer made it.
    Layout(u32),
    /// It cannot be used.
    Store(KvError),
}

impl From<KvError> for OpenFailed {
    fn from(error: KvError) -> Self {
        Self::Store(error)
    }
}

fn bad<E>(error: E) -> OpenFailed
where
    redb::Error: From<E>,
{
    OpenFailed::Database(Box::new(error.into()))
}

impl RedbStore {
    /// The store in this file, which is made when it is missing.
    pub(in crate::store) fn file(path: &Path) -> Result<Self, OpenFailed> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(OpenFailed::File)?;
        let backend = FileBackend::new(file).map_err(bad)?;
        Self::of(Database::builder().create_with_backend(backend).map_err(bad)?, true)
    }

    /// The store in this memory.
    pub(in crate::store) fn memory(memory: &MemoryStore) -> Result<Self, OpenFailed> {
        if !memory.acquire() {
            return Err(bad(redb::DatabaseError::DatabaseAlreadyOpen));
        }
        Self::of(Database::builder().create_with_backend(memory.clone()).map_err(bad)?, false)
    }

    fn of(database: Database, waits: bool) -> Result<Self, OpenFailed> {
        let revision = prepare(&database)?;
        let inner = Inner {
            database: RwLock::new(Some(database)),
            writer: Mutex::new(()),
            history: Mutex::new(Some(History::from(revision))),
        };
        Ok(Self { inner: Arc::new(inner), waits })
    }
}

/// Makes the tables, or brings older ones into this layout: all of it or nothing.
fn prepare(database: &Database) -> Result<Revision, OpenFailed> {
    let write = database.begin_write().map_err(failed("checking the store's layout"))?;
    let mut meta = write.open_table(META).map_err(failed("checking the store's layout"))?;
    let found = meta.get(LAYOUT_KEY).map_err(failed("checking the store's layout"))?;
    let found = found.map(|layout| layout.value());
    drop(write.open_table(ROWS).map_err(failed("making its tables"))?);
    drop(write.open_table(LEASES).map_err(failed("making its tables"))?);
    drop(write.open_table(LEASED).map_err(failed("making its tables"))?);
    drop(write.open_table(NUMBERS).map_err(failed("making its tables"))?);
    match found {
        Some(LAYOUT) | None => {}
        Some(schema) if legacy::SCHEMAS.contains(&schema) => legacy::take_over(&write, schema)?,
        Some(newer) => return Err(OpenFailed::Layout(newer)),
    }
    meta.insert(LAYOUT_KEY, LAYOUT).map_err(failed("making its tables"))?;
    drop(meta);
    let revision = Revision(write::number(&write, REVISION)?);
    write.commit().map_err(failed("making its tables"))?;
    Ok(revision)
}
