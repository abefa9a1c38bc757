//! Opening a stream: who, which, and the keys of this connection.
//!
//! ```text
//!   Opening: "XVMPBLK1" | role 1 (0: I send, 1: I receive) | session 32 | transfer 16 | stream 4 | nonce 16
//!   Opened:  "XVMPBLK1" | nonce 16
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::frame::{Kind, Numbered};
use super::keys::NONCE_BYTES;
use super::stream::Frames;
use super::{BulkError, BulkReceiver, BulkSender};
use crate::aead::Backend;
use crate::envelope::SESSION_CHARACTERS;
use crate::principal::Principal;
use crate::session::SessionKeys;
use crate::transport::BoxedStream;
use crate::v1::Fault;

const MAGIC: &[u8; 8] = b"XVMPBLK1";
const TRANSFER_BYTES: usize = 16;
const OPENING_BYTES: usize = 8 + 1 + SESSION_CHARACTERS + TRANSFER_BYTES + 4 + NONCE_BYTES;
const OPENED_BYTES: usize = 8 + NONCE_BYTES;
/// Time for the opening.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// Names a transfer: agreed on by a request, unguessable.
pub type TransferId = [u8; TRANSFER_BYTES];

/// One stream of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    /// Which transfer.
    pub transfer: TransferId,
    /// Which of its streams.
    pub number: u32,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

/// What a server does with streams.
pub trait BulkService: Send + Sync + 'static {
    /// Handles one: accepts it or not, and reads or writes it to its end.
    fn stream(&self, incoming: IncomingStream) -> BoxFuture<'_, ()>;
}

/// A stream that somebody opened, authenticated by TLS and by the keys of his session once his first frame has come.
pub struct IncomingStream {
    /// Who.
    pub principal: Principal,
    /// Which.
    pub name: StreamName,
    frames: Frames,
    role: Role,
}

impl IncomingStream {
    /// The caller wants to send.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        self.role == Role::Sender
    }

    /// Takes what the caller sends, from this offset on.
    ///
    /// # Errors
    /// See [`BulkError`]; it is [`BulkError::Opening`] when the caller wants to receive.
    pub async fn receive(mut self, offset: u64) -> Result<BulkReceiver, BulkError> {
        if self.role != Role::Sender {
            return Err(BulkError::Opening("its caller wants to receive".to_owned()));
        }
        self.frames.writer.send_offset(Kind::Accept, false, offset).await?;
        Ok(BulkReceiver::new(self.frames, offset))
    }

    /// Sends to the caller, from the offset that he names.
    ///
    /// # Errors
    /// See [`BulkError`]; it is [`BulkError::Opening`] when the caller wants to send.
    pub async fn send(mut self) -> Result<BulkSender, BulkError> {
        if self.role != Role::Receiver {
            return Err(BulkError::Opening("its caller wants to send".to_owned()));
        }
        let (offset, _) = self.frames.reader.receive_offset(Kind::Accept).await?;
        Ok(BulkSender::new(self.frames, offset))
    }

    /// Says no.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn refuse(mut self, fault: Fault) -> Result<(), BulkError> {
        self.frames.writer.fail(fault).await
    }
}

/// What a client's opening says.
struct Opening {
    role: Role,
    session: String,
    name: StreamName,
    nonce: [u8; NONCE_BYTES],
}

impl Opening {
    fn write(&self) -> Vec<u8> {
        let role = match self.role {
            Role::Sender => 0,
            Role::Receiver => 1,
        };
        let number = self.name.number.to_be_bytes();
        let parts: [&[u8]; 6] =
            [MAGIC, &[role], self.session.as_bytes(), &self.name.transfer, &number, &self.nonce];
        parts.concat()
    }

    fn read(bytes: &[u8; OPENING_BYTES]) -> Option<Opening> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (role, rest) = rest.split_first()?;
        let (session, rest) = rest.split_at_checked(SESSION_CHARACTERS)?;
        let (transfer, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let role = match role {
            0 => Role::Sender,
            1 => Role::Receiver,
            _ => return None,
        };
        Some(Opening {
            role,
            session: std::str::from_utf8(session).ok()?.to_owned(),
            name: StreamName { transfer: *transfer, number: u32::from_be_bytes(*number) },
            nonce: rest.try_into().ok()?,
        })
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Some(opening) = bytes.first_chunk().and_then(Opening::read) {
        assert_eq!(opening.write(), bytes[..OPENING_BYTES]);
    }
}

fn nonce() -> Result<[u8; NONCE_BYTES], BulkError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| BulkError::Opening(error.to_string()))?;
    Ok(nonce)
}

impl Frames {
    /// The client sends: the server says from where.
    pub(crate) async fn into_sender(mut self) -> Result<BulkSender, BulkError> {
        let (offset, _) = self.reader.receive_offset(Kind::Accept).await?;
        Ok(BulkSender::new(self, offset))
    }

    /// The client receives, from this offset on.
    pub(crate) async fn into_receiver(mut self, offset: u64) -> Result<BulkReceiver, BulkError> {
        self.writer.send_offset(Kind::Accept, false, offset).await?;
        Ok(BulkReceiver::new(self, offset))
    }
}

/// The client's side: opens a stream on a connection with ALPN [`crate::tls::ALPN_BULK`].
pub(crate) async fn open(
    mut stream: BoxedStream,
    session: (&str, &SessionKeys),
    name: StreamName,
    role: Role,
    backend: Backend,
) -> Result<Frames, BulkError> {
    let (id, keys) = session;
    let opening = Opening { role, session: id.to_owned(), name, nonce: nonce()? };
    let exchange = async {
        stream.write_all(&opening.write()).await?;
        stream.flush().await?;
        let mut opened = [0; OPENED_BYTES];
        stream.read_exact(&mut opened).await?;
        Ok::<_, BulkError>(opened)
    };
    let opened = timeout(OPENING_TIMEOUT, exchange)
        .await
        .map_err(|_| BulkError::Opening("the server does not answer".to_owned()))??;
    let theirs = opened.strip_prefix(MAGIC).and_then(|nonce| nonce.try_into().ok());
    let theirs = theirs.ok_or(BulkError::Damaged { what: "the server's opening" })?;
    let nonces = [opening.nonce, theirs];
    let incoming = Numbered::new(keys.bulk_s2c.of_stream(id, &name, &nonces), backend);
    let outgoing = Numbered::new(keys.bulk_c2s.of_stream(id, &name, &nonces), backend);
    Ok(Frames::new(stream, incoming, outgoing))
}

/// The server's side, up to the service. `find` gives the keys of a session of this principal.
pub(crate) async fn answer<S>(
    mut stream: BoxedStream,
    principal: Principal,
    find: impl FnOnce(&str) -> Option<Arc<S>>,
    keys: impl FnOnce(&S) -> &SessionKeys,
    backend: Backend,
) -> Result<IncomingStream, BulkError> {
    let exchange = async {
        let mut bytes = [0; OPENING_BYTES];
        stream.read_exact(&mut bytes).await?;
        let opening = Opening::read(&bytes).ok_or(BulkError::Damaged { what: "the opening" })?;
        let session = find(&opening.session)
            .ok_or_else(|| BulkError::Opening("no such session of this principal".to_owned()))?;
        let own = nonce()?;
        stream.write_all(&[MAGIC.as_slice(), &own].concat()).await?;
        stream.flush().await?;
        Ok::<_, BulkError>((opening, session, own))
    };
    let (opening, session, own) = timeout(OPENING_TIMEOUT, exchange)
        .await
        .map_err(|_| BulkError::Opening("the client says nothing".to_owned()))??;
    let (keys, nonces) = (keys(&session), [opening.nonce, own]);
    let (id, name) = (&opening.session, opening.name);
    let incoming = Numbered::new(keys.bulk_c2s.of_stream(id, &name, &nonces), backend);
    let outgoing = Numbered::new(keys.bulk_s2c.of_stream(id, &name, &nonces), backend);
    let frames = Frames::new(stream, incoming, outgoing);
    Ok(IncomingStream { principal, name, frames, role: opening.role })
}
