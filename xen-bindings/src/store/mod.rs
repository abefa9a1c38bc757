//! Xenstore: the small shared tree through which the toolstack, dom0's drivers and the guests meet.
//!
//! ```text
//!   StoreOps   read, write, directory, remove, make_dir, permissions   (on the tree, or inside a transaction)
//!      ├── Store             + begin, watch, introduce, release
//!      └── StoreTransaction  + commit                       dropped = aborted
//! ```
//!
//! Everything below a guest's own nodes is written by a stranger: values are bytes of any kind and length, not text.
//! A commit that lost a race answers [`StoreError::Conflict`]; [`transact`] tries again a bounded number of times.
//! A watch fires once when it is registered, may fire for the caller's own writes even before their reply arrives, and says
//! only *where to look again*.

pub mod client;
mod error;
mod path;
mod perms;

use std::sync::Arc;

pub use error::StoreError;
pub use path::{PATH_BYTES_MAX, StorePath};
pub use perms::{Access, Permissions};

use crate::domid::DomId;
use crate::evtchn::Port;
use crate::frame::Gfn;

/// How often [`transact`] tries a transaction that loses races. xenstored under load needs a handful; a hundred means a bug.
pub const TRANSACTION_TRIES_MAX: u32 = 64;

/// What one can do with nodes, in a transaction or outside.
pub trait StoreOps: Send + Sync {
    /// A node's value.
    ///
    /// # Errors
    /// `NotFound`, `Access`.
    fn read(&self, path: &StorePath) -> Result<Vec<u8>, StoreError>;

    /// Sets a value; makes the node and its parents when they are missing (they inherit the parent's permissions).
    ///
    /// # Errors
    /// `Access`, `Quota`, `TooLarge`.
    fn write(&self, path: &StorePath, value: &[u8]) -> Result<(), StoreError>;

    /// The names of a node's children. Long directories are read in parts.
    ///
    /// # Errors
    /// `NotFound`, `Access`.
    fn directory(&self, path: &StorePath) -> Result<Vec<String>, StoreError>;

    /// Removes a node and all below it. A missing node whose parent exists is success, as in xenstored.
    ///
    /// # Errors
    /// `NotFound` when the parent is missing too, `Access`.
    fn remove(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Makes an empty node; success when it is there already.
    ///
    /// # Errors
    /// `Access`, `Quota`.
    fn make_dir(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Who may read and write a node.
    ///
    /// # Errors
    /// `NotFound`, `Access`.
    fn permissions(&self, path: &StorePath) -> Result<Permissions, StoreError>;

    /// Changes who may.
    ///
    /// # Errors
    /// `NotFound`, `Access`.
    fn set_permissions(
        &self,
        path: &StorePath,
        permissions: &Permissions,
    ) -> Result<(), StoreError>;
}

/// Called with the path that changed, from the store's own thread: it must not block and must not call the store.
pub type WatchSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Called with the reason, under the same rules as a [`WatchSink`].
pub type GoneSink = Box<dyn FnOnce(&str) + Send>;

/// A registered watch; dropped = unregistered. Holds whatever the backend needs.
pub struct WatchHandle(
    #[allow(dead_code, reason = "held for its Drop")] Box<dyn std::any::Any + Send + Sync>,
);

impl WatchHandle {
    /// `guard` unregisters when it is dropped.
    #[must_use]
    pub fn new(guard: impl std::any::Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

/// The daemon, or a model of it.
pub trait Store: StoreOps {
    /// Starts a transaction.
    ///
    /// # Errors
    /// `Quota` when too many are open, `Disconnected`.
    fn begin(&self) -> Result<Box<dyn StoreTransaction + '_>, StoreError>;

    /// Watches a node and all below it, or a special name: `@introduceDomain`, `@releaseDomain`.
    ///
    /// # Errors
    /// `Invalid` for another name, `Quota`.
    fn watch(&self, path: &str, sink: WatchSink) -> Result<WatchHandle, StoreError>;

    /// Connects a domain's ring to the daemon.
    ///
    /// # Errors
    /// `Invalid` for a domain or ring that cannot be mapped, `Access`.
    fn introduce(&self, domid: DomId, ring: Gfn, port: Port) -> Result<(), StoreError>;

    /// Disconnects it; the daemon fires `@releaseDomain`.
    ///
    /// # Errors
    /// `NotFound` for a domain that is not connected.
    fn release(&self, domid: DomId) -> Result<(), StoreError>;

    /// Tells the daemon that a suspended domain goes on: it fires `@releaseDomain` for it again when that domain ends.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` for a domain that is not connected.
    fn resume(&self, domid: DomId) -> Result<(), StoreError>;

    /// Calls `tell` when the daemon is gone for good, at once if it is; one that cannot go drops it. Who asks last is told.
    fn on_gone(&self, tell: GoneSink) {
        drop(tell);
    }

    /// How many requests were sent to a daemon so far, for benches; `None` where there is no daemon.
    fn requests_sent(&self) -> Option<u64> {
        None
    }

    /// Is the domain connected?
    ///
    /// # Errors
    /// `Disconnected`.
    fn is_introduced(&self, domid: DomId) -> Result<bool, StoreError>;
}

/// One node to be written: its value, and its permissions when they are not its parent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWrite {
    /// Which node.
    pub path: StorePath,
    /// Its value.
    pub value: Vec<u8>,
    /// Nodes that are made below it later inherit them.
    pub permissions: Option<Permissions>,
}

/// An open transaction; dropped without a commit, it is aborted.
pub trait StoreTransaction: StoreOps {
    /// Writes many nodes, in order. A client of the daemon sends them all before it waits for the first answer.
    ///
    /// # Errors
    /// The first failure; nodes after it may or may not be written, so give the transaction up.
    fn write_nodes(&self, nodes: &[NodeWrite]) -> Result<(), StoreError> {
        for node in nodes {
            self.write(&node.path, &node.value)?;
            if let Some(permissions) = &node.permissions {
                self.set_permissions(&node.path, permissions)?;
            }
        }
        Ok(())
    }

    /// Makes its changes visible all at once.
    ///
    /// # Errors
    /// `Conflict` when something it read or wrote has changed since; nothing of it is visible then.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// Runs `work` in a transaction, again after each conflict, at most [`TRANSACTION_TRIES_MAX`] times.
///
/// # Errors
/// What `work` or the daemon says; `Conflict` when every try lost its race.
pub fn transact<T>(
    store: &dyn Store,
    mut work: impl FnMut(&dyn StoreTransaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut last = StoreError::Conflict;
    for _ in 0..TRANSACTION_TRIES_MAX {
        let transaction = store.begin()?;
        let outcome = match work(transaction.as_ref()) {
            // An operation inside a doomed transaction may already say so.
            Err(StoreError::Conflict) => Err(StoreError::Conflict),
            Err(error) => return Err(error),
            Ok(value) => transaction.commit().map(|()| value),
        };
        match outcome {
            Err(StoreError::Conflict) => last = StoreError::Conflict,
            other => return other,
        }
    }
    Err(last)
}

/// A node's value as text; `None` when the node is missing. Bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// As [`StoreOps::read`], but for `NotFound`.
pub fn read_text(
    store: &(impl StoreOps + ?Sized),
    path: &StorePath,
) -> Result<Option<String>, StoreError> {
    match store.read(path) {
        Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
