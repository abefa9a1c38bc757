//! The two ends of an opened stream.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::BulkError;
use super::frame::{HEADER_BYTES, Header, Kind, Numbered, PAYLOAD_BYTES_MAX};
use crate::aead::TAG_BYTES;
use crate::transport::BoxedStream;
use crate::v1::{Fault, NAMESPACE};
use crate::xml;

/// How long to wait for what the other side said before the connection broke.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// Sealed frames over a connection, both ways.
pub(crate) struct Frames {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

pub(super) struct Reader {
    stream: ReadHalf<BoxedStream>,
    incoming: Numbered,
    frame: Vec<u8>,
}

pub(super) struct Writer {
    stream: WriteHalf<BoxedStream>,
    outgoing: Numbered,
    frame: Vec<u8>,
}

/// A fault as a document.
#[derive(serde::Serialize, serde::Deserialize)]
struct Denied {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "Fault")]
    fault: Fault,
}

impl Frames {
    pub(super) fn new(stream: BoxedStream, incoming: Numbered, outgoing: Numbered) -> Frames {
        let (read, write) = split(stream);
        Frames {
            reader: Reader { stream: read, incoming, frame: Vec::new() },
            writer: Writer { stream: write, outgoing, frame: Vec::new() },
        }
    }
}

impl Writer {
    async fn send(&mut self, kind: Kind, is_last: bool, payload: &[u8]) -> Result<(), BulkError> {
        self.frame.clear();
        self.outgoing.seal(kind, is_last, payload, &mut self.frame)?;
        self.stream.write_all(&self.frame).await?;
        if kind != Kind::Data {
            self.stream.flush().await?;
        }
        Ok(())
    }

    pub(super) async fn send_offset(
        &mut self,
        kind: Kind,
        is_last: bool,
        offset: u64,
    ) -> Result<(), BulkError> {
        self.send(kind, is_last, &offset.to_be_bytes()).await
    }

    /// The last frame: why there is no more.
    pub(super) async fn fail(&mut self, fault: Fault) -> Result<(), BulkError> {
        let denied = Denied { xmlns: NAMESPACE.to_owned(), fault };
        let text = xml::write(&denied, "Denied").unwrap_or_default();
        self.send(Kind::Fault, true, text.as_bytes()).await?;
        self.close().await
    }

    async fn close(&mut self) -> Result<(), BulkError> {
        Ok(self.stream.shutdown().await?)
    }
}

impl Reader {
    /// The next frame; a fault is an error.
    async fn receive(&mut self) -> Result<(Kind, bool, &[u8]), BulkError> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).await?;
        let header = Header::read(&header)?;
        self.frame.resize(header.length + TAG_BYTES, 0);
        self.stream.read_exact(&mut self.frame).await?;
        let payload = self.incoming.open(header, &mut self.frame)?;
        if header.kind == Kind::Fault {
            let denied: Denied = xml::read(payload, "Denied")
                .map_err(|_| BulkError::Damaged { what: "a fault that cannot be read" })?;
            return Err(BulkError::Fault(denied.fault));
        }
        Ok((header.kind, header.is_last, payload))
    }

    pub(super) async fn receive_offset(
        &mut self,
        expected: Kind,
    ) -> Result<(u64, bool), BulkError> {
        let (kind, is_last, payload) = self.receive().await?;
        let offset = <[u8; 8]>::try_from(payload).ok().filter(|_| kind == expected);
        let offset = offset.ok_or(BulkError::Damaged { what: "another frame than expected" })?;
        Ok((u64::from_be_bytes(offset), is_last))
    }
}

/// What the receiver has said.
#[derive(Debug)]
enum Told {
    /// This much is safe there; true: it was told that this is all.
    Safe(u64, bool),
    /// Nothing more will come.
    Ended(BulkError),
}

/// The same error once more, for whoever asks later.
fn again(error: &BulkError) -> BulkError {
    match error {
        BulkError::Fault(fault) => BulkError::Fault(fault.clone()),
        other => BulkError::Broken(io::Error::other(other.to_string())),
    }
}

/// Sends one stream.
pub struct BulkSender {
    writer: Writer,
    offset: u64,
    told: watch::Receiver<Told>,
    /// Reads what the receiver says, so that it never waits for us.
    _listener: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(mut reader: Reader, tell: watch::Sender<Told>) {
    loop {
        match reader.receive_offset(Kind::Ack).await {
            Ok((offset, is_last)) => {
                tell.send_replace(Told::Safe(offset, is_last));
                if is_last {
                    return;
                }
            }
            Err(error) => {
                tell.send_replace(Told::Ended(error));
                return;
            }
        }
    }
}

impl BulkSender {
    pub(super) fn new(frames: Frames, offset: u64) -> BulkSender {
        let (tell, told) = watch::channel(Told::Safe(offset, false));
        let listener = AbortOnDrop(tokio::spawn(listen(frames.reader, tell)));
        BulkSender { writer: frames.writer, offset, told, _listener: listener }
    }

    /// How many bytes of the stream are sent: at first what the receiver has already, from where the sender goes on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many of them are safe with the receiver. Receivers say it when they like, and at the end.
    #[must_use]
    pub fn acknowledged(&self) -> Option<u64> {
        match *self.told.borrow() {
            Told::Safe(offset, _) => Some(offset),
            Told::Ended(_) => None,
        }
    }

    /// Sends more of it; waits while the receiver does not read.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), BulkError> {
        for part in bytes.chunks(PAYLOAD_BYTES_MAX) {
            if let Err(error) = self.writer.send(Kind::Data, false, part).await {
                return Err(self.reason(error).await);
            }
            self.offset += u64::try_from(part.len()).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// Nothing of what was sent waits on this side any more.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn flush(&mut self) -> Result<(), BulkError> {
        match self.writer.stream.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.reason(error.into()).await),
        }
    }

    /// Waits until more than so many bytes are safe with the receiver; how many are.
    ///
    /// # Errors
    /// See [`BulkError`]: what ended the stream.
    pub async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<u64, BulkError> {
        let beyond = |told: &Told| {
            matches!(told, Told::Ended(_))
                || matches!(told, Told::Safe(offset, _) if *offset > bytes)
        };
        match self.told.wait_for(beyond).await {
            Ok(told) => match &*told {
                Told::Safe(offset, _) => Ok(*offset),
                Told::Ended(error) => Err(again(error)),
            },
            Err(_) => Err(BulkError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// A receiver that gave up has said why before the connection broke.
    async fn reason(&mut self, broken: BulkError) -> BulkError {
        let ended = self.told.wait_for(|told| matches!(told, Told::Ended(_)));
        match timeout(REASON_TIMEOUT, ended).await {
            Ok(Ok(told)) => match &*told {
                Told::Ended(BulkError::Fault(fault)) => BulkError::Fault(fault.clone()),
                _ => broken,
            },
            _ => broken,
        }
    }

    /// Says that this was all, and waits until the receiver has it.
    ///
    /// # Errors
    /// See [`BulkError`]. Without an error everything is safe with the receiver.
    pub async fn finish(mut self) -> Result<(), BulkError> {
        if let Err(error) = self.writer.send_offset(Kind::End, true, self.offset).await {
            return Err(self.reason(error).await);
        }
        let ended = |told: &Told| matches!(told, Told::Safe(_, true) | Told::Ended(_));
        match self.told.wait_for(ended).await {
            Ok(told) => match &*told {
                Told::Safe(offset, _) if *offset == self.offset => {}
                Told::Ended(error) => return Err(again(error)),
                _ => return Err(BulkError::Damaged { what: "the receiver's count" }),
            },
            Err(_) => return Err(BulkError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
        // Everything is safe; the receiver may have hung up already.
        let _ = self.writer.close().await;
        Ok(())
    }

    /// Gives up, and says why.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn fail(mut self, fault: Fault) -> Result<(), BulkError> {
        self.writer.fail(fault).await
    }
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// The next bytes of the stream.
    Data(&'a [u8]),
    /// That was all: [`BulkReceiver::finish`] it once it is safe.
    End,
}

/// Receives one stream.
pub struct BulkReceiver {
    reader: BulkReader,
    acknowledger: BulkAcknowledger,
}

/// What of a [`BulkReceiver`] waits for bytes.
pub struct BulkReader {
    reader: Reader,
    offset: u64,
}

/// What of a [`BulkReceiver`] tells the sender what is safe.
pub struct BulkAcknowledger {
    writer: Writer,
}

impl BulkReceiver {
    pub(super) fn new(frames: Frames, offset: u64) -> BulkReceiver {
        BulkReceiver {
            reader: BulkReader { reader: frames.reader, offset },
            acknowledger: BulkAcknowledger { writer: frames.writer },
        }
    }

    /// How many bytes of the stream have come, those of earlier connections with them.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.reader.offset
    }

    /// The next part.
    ///
    /// # Errors
    /// See [`BulkError`]. A stream that ends without saying so is [`BulkError::Broken`].
    pub async fn receive(&mut self) -> Result<Received<'_>, BulkError> {
        self.reader.receive().await
    }

    /// Tells the sender that everything so far is safe here.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn acknowledge(&mut self) -> Result<(), BulkError> {
        self.acknowledger.acknowledge(self.reader.offset).await
    }

    /// After [`Received::End`]: tells the sender that everything is safe here.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn finish(self) -> Result<(), BulkError> {
        self.acknowledger.finish(self.reader).await
    }

    /// Gives up, and says why.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn fail(mut self, fault: Fault) -> Result<(), BulkError> {
        self.acknowledger.writer.fail(fault).await
    }

    /// Takes it apart, for who acknowledges while he waits for more: some of what was read may not be safe yet.
    #[must_use]
    pub fn split(self) -> (BulkReader, BulkAcknowledger) {
        (self.reader, self.acknowledger)
    }
}

impl BulkReader {
    /// The next part. A future that was dropped before it was done leaves nothing that could be read on.
    ///
    /// # Errors
    /// See [`BulkError`]. A stream that ends without saying so is [`BulkError::Broken`].
    pub async fn receive(&mut self) -> Result<Received<'_>, BulkError> {
        let (kind, is_last, payload) = self.reader.receive().await?;
        match kind {
            Kind::Data if !is_last => {
                self.offset += u64::try_from(payload.len()).unwrap_or(u64::MAX);
                Ok(Received::Data(payload))
            }
            Kind::End if is_last && *payload == self.offset.to_be_bytes() => Ok(Received::End),
            _ => Err(BulkError::Damaged { what: "another frame than expected" }),
        }
    }
}

impl BulkAcknowledger {
    /// Tells the sender that everything before this offset of the stream is safe here.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn acknowledge(&mut self, offset: u64) -> Result<(), BulkError> {
        self.writer.send_offset(Kind::Ack, false, offset).await
    }

    /// After [`Received::End`]: tells the sender that everything is safe here. The reader is the other half of the same stream.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn finish(mut self, mut reader: BulkReader) -> Result<(), BulkError> {
        self.writer.send_offset(Kind::Ack, true, reader.offset).await?;
        // The sender closes first, so that the acknowledgement is not lost with the connection.
        let mut byte = [0];
        match reader.reader.stream.read(&mut byte).await {
            Ok(0) => {}
            Ok(_) => return Err(BulkError::Damaged { what: "bytes behind the last frame" }),
            // It has heard it, or never will: what it does not know it asks for again.
            Err(_) => return Ok(()),
        }
        let _ = self.writer.close().await;
        Ok(())
    }
}
