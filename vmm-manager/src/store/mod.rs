//! What survives a restart.

mod memory;

pub use memory::MemoryStore;

use thiserror::Error;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("opening the store failed")]
    Open {
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
}
