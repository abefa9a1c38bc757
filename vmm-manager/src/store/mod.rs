//! What survives a restart: hosts, VMs, tasks and idempotency keys, in redb.
//!
//! Each record is a JSON value under its id as text, so that the tables can be read by a person who has lost everything else.
//! A set of changes is one transaction: a VM's reservation, the task that works on it and the key under which it was asked for
//! are stored together or not at all.
//!
//! The schema's version is checked before anything is read. A store of an older version is brought up to this one's, once; one of a newer version,
//! or a record that cannot be read, is a typed error that says what to do. Nothing is guessed and nothing is dropped.

mod error;
mod memory;
mod migrate;
mod records;

pub use error::StoreError;
pub use memory::MemoryStore;
pub(crate) use records::{
    Charge, HostRecord, KeyRecord, KeyedReply, Labels, PlaceId, PlaceRecord, PoolRecord,
    SavedState, SiteRecord, TaskRecord, Told, VmRecord,
};

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vmm_core::id::{HostId, TaskId, VmId};

use crate::manager::StoreLocation;
use error::{failed, opening};

/// Of all records. A change that an older manager cannot read counts it up.
pub(crate) const SCHEMA_VERSION: u32 = 3;

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

const META: TableDefinition<'static, &'static str, u32> = TableDefinition::new("meta");
const SCHEMA: &str = "schema";
const HOSTS: Table = TableDefinition::new("hosts");
const VMS: Table = TableDefinition::new("vms");
const TASKS: Table = TableDefinition::new("tasks");
const PLACES: Table = TableDefinition::new("places");
const KEYS: Table = TableDefinition::new("idempotency");

/// One change of the store.
#[derive(Clone, Debug)]
pub(crate) enum Put {
    Host(HostRecord),
    DropHost(HostId),
    Vm(Box<VmRecord>),
    DropVm(VmId),
    Task(Box<TaskRecord>),
    DropTask(TaskId),
    Key(KeyRecord),
    DropKey(String),
    Place(PlaceRecord),
    DropPlace(PlaceId),
}

/// All that is stored.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) hosts: Vec<HostRecord>,
    pub(crate) vms: Vec<VmRecord>,
    pub(crate) tasks: Vec<TaskRecord>,
    pub(crate) keys: Vec<KeyRecord>,
    pub(crate) places: Vec<PlaceRecord>,
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
}

impl Store {
    pub(crate) fn open(location: &StoreLocation) -> Result<(Self, Contents), StoreError> {
        let store = Self {
            database: match location {
                StoreLocation::File(path) => open_file(path)?,
                StoreLocation::Memory(memory) => open_memory(memory)?,
            },
        };
        store.check_schema()?;
        let contents = store.read()?;
        Ok((store, contents))
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(failed("checking its version"))?;
        {
            let mut meta = write.open_table(META).map_err(failed("checking its version"))?;
            let found =
                meta.get(SCHEMA).map_err(failed("checking its version"))?.map(|v| v.value());
            for table in [HOSTS, VMS, TASKS, KEYS, PLACES] {
                write.open_table(table).map_err(failed("making its tables"))?;
            }
            migrate::migrate(&write, found.unwrap_or(SCHEMA_VERSION))?;
            meta.insert(SCHEMA, SCHEMA_VERSION).map_err(failed("writing its version"))?;
        }
        write.commit().map_err(failed("making its tables"))
    }

    fn read(&self) -> Result<Contents, StoreError> {
        Ok(Contents {
            hosts: self.read_table(HOSTS, "host")?,
            vms: self.read_table(VMS, "VM")?,
            tasks: self.read_table(TASKS, "task")?,
            keys: self.read_table(KEYS, "idempotency key")?,
            places: self.read_table(PLACES, "site or pool")?,
        })
    }

    fn read_table<T: DeserializeOwned>(
        &self,
        table: Table,
        kind: &'static str,
    ) -> Result<Vec<T>, StoreError> {
        let read = self.database.begin_read().map_err(failed("reading"))?;
        let table = read.open_table(table).map_err(failed("reading"))?;
        let mut records = Vec::new();
        for row in table.iter().map_err(failed("reading"))? {
            let (key, value) = row.map_err(failed("reading"))?;
            let record = serde_json::from_slice(value.value()).map_err(|source| {
                StoreError::Record { kind, key: key.value().to_owned(), source }
            })?;
            records.push(record);
        }
        Ok(records)
    }

    /// Stores all of `batch` or nothing of it.
    pub(crate) fn apply(&self, batch: &[Put]) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(failed("writing"))?;
        for put in batch {
            match put {
                Put::Host(host) => insert(&write, HOSTS, &host.id.to_string(), host)?,
                Put::Vm(vm) => insert(&write, VMS, &vm.id.to_string(), vm)?,
                Put::Task(task) => insert(&write, TASKS, &task.id.to_string(), task)?,
                Put::Key(key) => insert(&write, KEYS, &key.key, key)?,
                Put::DropHost(id) => remove(&write, HOSTS, &id.to_string())?,
                Put::DropVm(id) => remove(&write, VMS, &id.to_string())?,
                Put::DropTask(id) => remove(&write, TASKS, &id.to_string())?,
                Put::DropKey(key) => remove(&write, KEYS, key)?,
                Put::Place(place) => insert(&write, PLACES, &place.id().key(), place)?,
                Put::DropPlace(id) => remove(&write, PLACES, &id.key())?,
            }
        }
        write.commit().map_err(failed("writing"))
    }
}

fn open_memory(memory: &MemoryStore) -> Result<Database, StoreError> {
    if !memory.acquire() {
        let already_open = redb::DatabaseError::DatabaseAlreadyOpen;
        return Err(opening("memory")(already_open));
    }
    Database::builder().create_with_backend(memory.clone()).map_err(opening("memory"))
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    let place = path.display().to_string();
    let backend = FileBackend::new(file).map_err(opening(&place))?;
    Database::builder().create_with_backend(backend).map_err(opening(&place))
}

fn insert<T: Serialize>(
    write: &WriteTransaction,
    table: Table,
    key: &str,
    record: &T,
) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(record).map_err(|source| StoreError::Form { source })?;
    let mut table = write.open_table(table).map_err(failed("writing"))?;
    table.insert(key, bytes.as_slice()).map_err(failed("writing"))?;
    Ok(())
}

fn remove(write: &WriteTransaction, table: Table, key: &str) -> Result<(), StoreError> {
    let mut table = write.open_table(table).map_err(failed("writing"))?;
    table.remove(key).map_err(failed("writing"))?;
    Ok(())
}

#[cfg(test)]
mod tests;
