//! A bulk stream as the data path's link.

use vmm_proto::bulk::{BulkError, BulkSender};

use crate::migrate::{LinkError, PageLink};

/// The one stream of a migration.
pub(super) struct BulkLink(BulkSender);

impl BulkLink {
    pub(super) fn new(sender: BulkSender) -> Self {
        Self(sender)
    }

    /// That was all: waits until the destination has restored it.
    pub(super) async fn finish(self) -> Result<(), BulkError> {
        self.0.finish().await
    }
}

impl PageLink for BulkLink {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.0.send(bytes).await.map_err(LinkError::new)?;
        // What waits in a buffer on this side would be waited for at both ends.
        self.0.flush().await.map_err(LinkError::new)
    }

    fn acknowledged(&self) -> u64 {
        self.0.acknowledged().unwrap_or_default()
    }

    async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
        self.0.acknowledged_beyond(bytes).await.map(drop).map_err(LinkError::new)
    }
}
