//! The socket, the reader thread, and who waits for which reply.

use std::collections::HashMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::super::{StoreError, WatchSink};
use super::wire::{self, Kind, Message};

/// Requests without a reply yet; more are refused as `Busy`.
const PENDING_MAX: usize = 1024;

/// Owned by the client, its transactions and its watches. Dropping it ends the reader thread.
pub(super) struct Connection {
    shared: Arc<Shared>,
    writer: Mutex<UnixStream>,
    reply_timeout: Duration,
}

/// What the reader thread and the callers share.
#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Pending {
    /// `None`: nobody waits (an abort, an unwatch), but the id is taken until the reply came.
    waiting: HashMap<u32, Option<SyncSender<Message>>>,
    last_req_id: u32,
    /// Why the connection ended.
    gone: Option<String>,
}

#[derive(Default)]
struct Watches {
    sinks: HashMap<String, WatchSink>,
    last_token: u64,
}

impl Connection {
    pub(super) fn start(stream: UnixStream, reply_timeout: Duration) -> Result<Self, StoreError> {
        let lost = |error: std::io::Error| StoreError::Disconnected(error.to_string());
        stream.set_write_timeout(Some(reply_timeout)).map_err(lost)?;
        let reader = stream.try_clone().map_err(lost)?;
        let shared = Arc::new(Shared::default());
        let for_reader = shared.clone();
        thread::Builder::new()
            .name("xenstore-reader".into())
            .spawn(move || for_reader.run(reader))
            .map_err(lost)?;
        Ok(Self { shared, writer: Mutex::new(stream), reply_timeout })
    }

    /// Sends a request and waits for its reply's payload.
    pub(super) fn request(
        &self,
        kind: Kind,
        tx_id: u32,
        payload: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let (sender, receiver) = sync_channel(1);
        let req_id = self.send(kind, tx_id, payload, Some(sender))?;
        let reply = self.wait(req_id, &receiver)?;
        if reply.is(Kind::Error) {
            Err(wire::error(&reply.payload))
        } else if reply.is(kind) {
            Ok(reply.payload)
        } else {
            Err(StoreError::Other(format!("type {} to a request of {kind:?}", reply.kind)))
        }
    }

    /// Sends a request whose reply nobody needs: safe on any thread, the reader's included.
    pub(super) fn notify(&self, kind: Kind, tx_id: u32, payload: &[u8]) {
        if let Err(error) = self.send(kind, tx_id, payload, None) {
            tracing::debug!(?kind, %error, "xenstore request not sent");
        }
    }

    /// Registers a sink and gives the token that its events carry.
    pub(super) fn add_sink(&self, sink: WatchSink) -> String {
        let mut watches = lock(&self.shared.watches);
        watches.last_token += 1;
        let token = format!("w{}", watches.last_token);
        watches.sinks.insert(token.clone(), sink);
        token
    }

    /// After this, no new event reaches the sink.
    pub(super) fn remove_sink(&self, token: &str) {
        let sink = lock(&self.shared.watches).sinks.remove(token);
        // Dropped here, without the lock: the sink may own anything.
        drop(sink);
    }

    fn send(
        &self,
        kind: Kind,
        tx_id: u32,
        payload: &[u8],
        reply_to: Option<SyncSender<Message>>,
    ) -> Result<u32, StoreError> {
        if payload.len() > wire::PAYLOAD_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        let req_id = self.shared.enrol(reply_to)?;
        let message = Message { kind: kind as u32, req_id, tx_id, payload: payload.to_vec() };
        let bytes = message.encode().ok_or(StoreError::TooLarge)?;
        let sent = lock(&self.writer).write_all(&bytes);
        match sent {
            Ok(()) => Ok(req_id),
            // Perhaps half a message is out: nothing after it would be understood.
            Err(error) => Err(self.shared.end(&error.to_string())),
        }
    }

    fn wait(&self, req_id: u32, receiver: &Receiver<Message>) -> Result<Message, StoreError> {
        match receiver.recv_timeout(self.reply_timeout) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Disconnected) => Err(self.shared.why_gone()),
            Err(RecvTimeoutError::Timeout) if self.shared.give_up(req_id) => {
                let text = format!("no answer within {} s", self.reply_timeout.as_secs_f32());
                Err(StoreError::Disconnected(text))
            }
            // The reader has it in its hands just now.
            Err(RecvTimeoutError::Timeout) => receiver.recv().map_err(|_| self.shared.why_gone()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Wakes the reader, which then ends. The stream may be closed already.
        let _ = lock(&self.writer).shutdown(Shutdown::Both);
    }
}

impl Shared {
    /// Takes a free request id.
    fn enrol(&self, reply_to: Option<SyncSender<Message>>) -> Result<u32, StoreError> {
        let mut pending = lock(&self.pending);
        if let Some(reason) = &pending.gone {
            return Err(StoreError::Disconnected(reason.clone()));
        }
        if pending.waiting.len() >= PENDING_MAX {
            return Err(StoreError::Busy(format!("{PENDING_MAX} requests are under way")));
        }
        let mut req_id = pending.last_req_id;
        loop {
            req_id = req_id.wrapping_add(1);
            // 0 belongs to watch events.
            if req_id != 0 && !pending.waiting.contains_key(&req_id) {
                break;
            }
        }
        pending.last_req_id = req_id;
        pending.waiting.insert(req_id, reply_to);
        Ok(req_id)
    }

    /// Nobody waits for this reply any more, but its id stays taken until it comes. False when it came already.
    fn give_up(&self, req_id: u32) -> bool {
        match lock(&self.pending).waiting.get_mut(&req_id) {
            Some(reply_to) => {
                *reply_to = None;
                true
            }
            None => false,
        }
    }

    /// The reader thread.
    fn run(&self, stream: UnixStream) {
        let mut reader = Reader { shared: self, stream };
        loop {
            match Message::read_from(&mut reader.stream) {
                Ok(message) if message.is(Kind::WatchEvent) => self.fire(&message.payload),
                Ok(message) => self.answer(message),
                Err(error) => {
                    self.end(&error.to_string());
                    return;
                }
            }
        }
    }

    fn answer(&self, message: Message) {
        let waiting = lock(&self.pending).waiting.remove(&message.req_id);
        match waiting {
            Some(Some(sender)) => match sender.try_send(message) {
                // Given up just now.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                Err(TrySendError::Full(_)) => unreachable!("one reply for each request id"),
            },
            Some(None) if message.is(Kind::Error) => {
                let error = wire::error(&message.payload);
                tracing::debug!(%error, "xenstore refused a request that nobody waits for");
            }
            Some(None) => {}
            None => tracing::warn!(message.req_id, "xenstore answered what was not asked"),
        }
    }

    fn fire(&self, payload: &[u8]) {
        let Ok(fields) = wire::list(payload) else { return };
        let [path, token, ..] = fields.as_slice() else { return };
        let sink = lock(&self.watches).sinks.get(token).cloned();
        // An event under way while the watch is removed finds no sink.
        if let Some(sink) = sink {
            sink(path);
        }
    }

    /// Ends the connection once; tells the first reason.
    fn end(&self, reason: &str) -> StoreError {
        let mut pending = lock(&self.pending);
        pending.gone.get_or_insert_with(|| reason.to_owned());
        // Dropping the senders wakes everyone who waits.
        pending.waiting.clear();
        drop(pending);
        self.why_gone()
    }

    fn why_gone(&self) -> StoreError {
        StoreError::Disconnected(lock(&self.pending).gone.clone().unwrap_or_default())
    }
}

/// Ends the connection however the reader thread ends, a sink's panic included: nobody waits for a thread that is gone.
struct Reader<'a> {
    shared: &'a Shared,
    stream: UnixStream,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.shared.end("the reader thread ended");
        // The stream may be closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
