//! What can be wrong with the store, each with what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::SCHEMA_VERSION;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("opening {} failed: check that it belongs to the user who runs the manager", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no store, is damaged, or another manager has it.
    #[error(
        "{place} cannot be used as a store: end the manager that has it open, or restore the file from a backup"
    )]
    Open {
        /// Where it lies.
        place: String,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// Another version of this software wrote it.
    #[error(
        "the store has schema {found}, this manager reads schema {SCHEMA_VERSION}: run the version that wrote it, or restore a backup that this one wrote"
    )]
    Schema {
        /// What it has.
        found: u32,
    },
    /// Another manager works on it.
    #[error(
        "the store belongs to the manager that calls itself {owner}: end that one, or wait until its lease is over"
    )]
    Owned {
        /// Who has it.
        owner: String,
    },
    /// Another manager has taken it over.
    #[error("another manager has taken the store over: ask that one")]
    Superseded,
    /// A record cannot be read.
    #[error("the record of {kind} {key} is damaged: restore the store from a backup")]
    Record {
        /// Of what.
        kind: &'static str,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The manager has ended.
    #[error("the manager has ended and closed its store: ask the one that runs now")]
    Closed,
    /// A record has no form in JSON.
    #[error("a record cannot be written as JSON")]
    Form {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// More waits to be stored than may.
    #[error("the store does not keep up with what is asked: ask again later")]
    Behind,
    /// What was to be stored may be stored, or not.
    #[error(
        "the store failed, and is opened anew: ask again in a moment; if that fails too, check the disk's free space and health"
    )]
    Lost {
        /// Why.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The database failed.
    #[error("{doing} the store failed: check the disk's free space and health")]
    Failed {
        /// At what.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

pub(super) fn failed<E>(doing: &'static str) -> impl FnOnce(E) -> StoreError
where
    E: Error + Send + Sync + 'static,
{
    move |source| StoreError::Failed { doing, source: Box::new(source) }
}
