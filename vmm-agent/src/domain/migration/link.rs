//! Bulk streams as the data path's lanes.

use vmm_proto::aead::Backend;
use vmm_proto::bulk::{
    BulkAcknowledger, BulkError, BulkReader, BulkSender, IncomingStream, Received, StreamName,
    TransferId,
};
use vmm_proto::client::Client;

use futures_util::future::try_join_all;

use crate::migrate::lanes::{Lane, LaneAcks, LaneReader, Lanes, Stream};
use crate::migrate::{LinkError, PageLink};

/// Opens so many streams of a transfer, all at once, as one link.
pub(super) async fn open(
    client: &Client,
    transfer: TransferId,
    lanes: u8,
    seal: Backend,
) -> Result<Lanes, LinkError> {
    let name = |number| StreamName { transfer, number: u32::from(number) };
    let opening = (0..lanes).map(|number| client.send_stream(name(number), seal));
    let opened = try_join_all(opening).await.map_err(LinkError::new)?;
    Lanes::over(opened.into_iter().map(BulkLink).collect())
}

/// A stream to the destination.
struct BulkLink(BulkSender);

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

impl Lane for BulkLink {
    async fn finish(self) -> Result<(), LinkError> {
        self.0.finish().await.map_err(LinkError::new)
    }
}

/// A stream from the source.
impl Stream for Box<IncomingStream> {
    type Reader = BulkReader;
    type Acks = BulkAcknowledger;

    fn number(&self) -> u32 {
        self.name.number
    }

    async fn accept(self) -> Result<(BulkReader, BulkAcknowledger), LinkError> {
        let receiver = (*self).receive(0).await.map_err(LinkError::new)?;
        Ok(receiver.split())
    }
}

impl LaneReader for BulkReader {
    async fn receive(&mut self) -> Result<Option<&[u8]>, LinkError> {
        let received: Result<Received<'_>, BulkError> = BulkReader::receive(self).await;
        match received.map_err(LinkError::new)? {
            Received::Data(bytes) => Ok(Some(bytes)),
            Received::End => Ok(None),
        }
    }
}

impl LaneAcks<BulkReader> for BulkAcknowledger {
    async fn acknowledge(&mut self, offset: u64) -> Result<(), LinkError> {
        BulkAcknowledger::acknowledge(self, offset).await.map_err(LinkError::new)
    }

    async fn finish(self, reader: BulkReader) -> Result<(), LinkError> {
        BulkAcknowledger::finish(self, reader).await.map_err(LinkError::new)
    }
}
