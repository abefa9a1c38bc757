//! A store in memory that survives its manager, so that a restart can be tested in one process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// The bytes of a store. A clone shares them; one manager at a time may have them open.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes: InMemoryBackend,
    is_open: AtomicBool,
}

impl MemoryStore {
    /// Takes it for one database; `false` when another one has it.
    pub(super) fn acquire(&self) -> bool {
        !self.0.is_open.swap(true, Ordering::AcqRel)
    }
}

impl StorageBackend for MemoryStore {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.bytes.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.bytes.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.is_open.store(false, Ordering::Release);
        Ok(())
    }
}
