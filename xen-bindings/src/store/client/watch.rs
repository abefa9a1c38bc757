//! A registered watch.

use std::sync::Arc;

use super::super::{StoreError, StorePath, WatchSink};
use super::connection::Connection;
use super::wire::{self, Kind};

/// Names outside the tree that can be watched.
const SPECIAL: [&str; 2] = ["@introduceDomain", "@releaseDomain"];

/// Unregisters when dropped, without waiting: a sink may own its own watch.
pub(super) struct Watch {
    connection: Arc<Connection>,
    path: String,
    token: String,
}

impl Watch {
    pub(super) fn register(
        connection: &Arc<Connection>,
        path: &str,
        sink: WatchSink,
    ) -> Result<Self, StoreError> {
        if !SPECIAL.contains(&path) {
            StorePath::new(path)?;
        }
        // The sink is there before the request: the first event may overtake the reply.
        let token = connection.add_sink(sink);
        let payload = wire::strings(&[path, &token]);
        if let Err(error) = connection.request(Kind::Watch, wire::NO_TRANSACTION, &payload) {
            connection.remove_sink(&token);
            return Err(error);
        }
        Ok(Self { connection: connection.clone(), path: path.to_owned(), token })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.remove_sink(&self.token);
        let payload = wire::strings(&[&self.path, &self.token]);
        self.connection.notify(Kind::Unwatch, wire::NO_TRANSACTION, &payload);
    }
}
