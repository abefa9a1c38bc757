//! What the reader thread and the callers share: who waits for which reply, and the sinks of watches.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{GoneSink, StoreError, WatchSink};
use super::wire::{self, Kind, Message};

/// Requests without a reply yet; more are refused as `Busy`.
const PENDING_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Shared {
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
    tell_gone: Option<GoneSink>,
}

#[derive(Default)]
struct Watches {
    sinks: HashMap<String, WatchSink>,
    last_token: u64,
}

/// A reply that is to come.
pub(super) struct Awaited {
    pub(super) req_id: u32,
    pub(super) reply: Receiver<Message>,
}

impl Shared {
    /// Registers a sink and gives the token that its events carry.
    pub(super) fn add_sink(&self, sink: WatchSink) -> String {
        let mut watches = lock(&self.watches);
        watches.last_token += 1;
        let token = format!("w{}", watches.last_token);
        watches.sinks.insert(token.clone(), sink);
        token
    }

    /// After this, no new event reaches the sink.
    pub(super) fn remove_sink(&self, token: &str) {
        let sink = lock(&self.watches).sinks.remove(token);
        // Dropped here, without the lock: the sink may own anything.
        drop(sink);
    }

    /// Takes so many free request ids, all or none.
    pub(super) fn enrol(&self, count: usize) -> Result<Vec<Awaited>, StoreError> {
        let mut pending = self.open_for(count)?;
        let enrol_one = |_| {
            let (sender, reply) = sync_channel(1);
            let req_id = pending.take_id();
            pending.waiting.insert(req_id, Some(sender));
            Awaited { req_id, reply }
        };
        Ok((0..count).map(enrol_one).collect())
    }

    /// Takes a request id for whose reply nobody waits.
    pub(super) fn enrol_unheard(&self) -> Result<u32, StoreError> {
        let mut pending = self.open_for(1)?;
        let req_id = pending.take_id();
        pending.waiting.insert(req_id, None);
        Ok(req_id)
    }

    fn open_for(&self, count: usize) -> Result<MutexGuard<'_, Pending>, StoreError> {
        let pending = lock(&self.pending);
        if let Some(reason) = &pending.gone {
            return Err(StoreError::Disconnected(reason.clone()));
        }
        if pending.waiting.len() + count > PENDING_MAX {
            return Err(StoreError::Busy(format!("{PENDING_MAX} requests are under way")));
        }
        Ok(pending)
    }

    /// Nobody waits for this reply any more, but its id stays taken until it comes. False when it came already.
    pub(super) fn give_up(&self, req_id: u32) -> bool {
        match lock(&self.pending).waiting.get_mut(&req_id) {
            Some(reply_to) => {
                *reply_to = None;
                true
            }
            None => false,
        }
    }

    /// The reader thread.
    pub(super) fn run(&self, stream: UnixStream) {
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
    pub(super) fn end(&self, reason: &str) -> StoreError {
        let mut pending = lock(&self.pending);
        pending.gone.get_or_insert_with(|| reason.to_owned());
        // Dropping the senders wakes everyone who waits.
        pending.waiting.clear();
        let tell = pending.tell_gone.take();
        drop(pending);
        if let Some(tell) = tell {
            tell(reason);
        }
        self.why_gone()
    }

    /// The sinks are called without the lock: they may do anything.
    pub(super) fn on_gone(&self, tell: GoneSink) {
        let mut pending = lock(&self.pending);
        match pending.gone.clone() {
            Some(reason) => {
                drop(pending);
                tell(&reason);
            }
            None => pending.tell_gone = Some(tell),
        }
    }

    pub(super) fn why_gone(&self) -> StoreError {
        StoreError::Disconnected(lock(&self.pending).gone.clone().unwrap_or_default())
    }
}

impl Pending {
    fn take_id(&mut self) -> u32 {
        let mut req_id = self.last_req_id;
        loop {
            req_id = req_id.wrapping_add(1);
            // 0 belongs to watch events.
            if req_id != 0 && !self.waiting.contains_key(&req_id) {
                self.last_req_id = req_id;
                return req_id;
            }
        }
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
