//! An open transaction.

use std::sync::Arc;

use super::super::{NodeWrite, StoreError, StoreTransaction};
use super::connection::Connection;
use super::ops::{self, Scope, Scoped};
use super::wire::{self, Kind};

const COMMIT: &str = "T";
const ABORT: &str = "F";

/// A transaction of the daemon; dropped without a commit, it is aborted.
pub struct Transaction {
    connection: Arc<Connection>,
    tx_id: u32,
    open: bool,
}

impl Transaction {
    pub(super) fn begin(connection: &Arc<Connection>) -> Result<Self, StoreError> {
        // The protocol wants an argument; it is empty.
        let payload = wire::strings(&[""]);
        let reply = connection.request(Kind::TransactionStart, wire::NO_TRANSACTION, &payload)?;
        let tx_id = wire::text(&reply)?
            .parse()
            .map_err(|_| StoreError::Other("a transaction without a number".into()))?;
        Ok(Self { connection: connection.clone(), tx_id, open: true })
    }

    /// As [`StoreTransaction::commit`], for one that is not boxed.
    ///
    /// # Errors
    /// As [`StoreTransaction::commit`].
    pub fn finish(mut self) -> Result<(), StoreError> {
        // Whatever the daemon answers, the transaction is over.
        self.open = false;
        let payload = wire::strings(&[COMMIT]);
        self.connection.request(Kind::TransactionEnd, self.tx_id, &payload)?;
        Ok(())
    }
}

impl Scoped for Transaction {
    fn scope(&self) -> Scope<'_> {
        Scope { connection: &self.connection, tx_id: self.tx_id }
    }
}

impl StoreTransaction for Transaction {
    fn write_nodes(&self, nodes: &[NodeWrite]) -> Result<(), StoreError> {
        self.connection.pipeline(self.tx_id, &ops::node_requests(nodes))
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.finish()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            self.connection.notify(Kind::TransactionEnd, self.tx_id, &wire::strings(&[ABORT]));
        }
    }
}
