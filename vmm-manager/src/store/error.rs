//! What can be wrong with the store, each with what to do.

use std::io;
use std::path::PathBuf;

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
    /// The database failed.
    #[error("{doing} the store failed: check the disk's free space and health")]
    Failed {
        /// At what.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
}

pub(super) fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Failed { doing, source: Box::new(error.into()) }
}

pub(super) fn opening<E: Into<redb::Error>>(place: &str) -> impl FnOnce(E) -> StoreError {
    let place = place.to_owned();
    move |error| StoreError::Open { place, source: Box::new(error.into()) }
}
