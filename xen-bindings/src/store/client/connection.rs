//! The socket: requests out, one by one or many at once, and the wait for their replies.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::super::{GoneSink, StoreError, WatchSink};
use super::shared::{Awaited, Shared, lock};
use super::wire::{self, Kind, Message, Request};

/// Requests of one pipeline without a reply yet. A VM with its devices takes about so many.
pub(super) const WINDOW_REQUESTS_MAX: usize = 128;
/// Their bytes: less than a socket's buffer holds, so that sending them seldom blocks.
const WINDOW_BYTES_MAX: usize = 64 * 1024;

/// Owned by the client, its transactions and its watches. Dropping it ends the reader thread.
pub(super) struct Connection {
    shared: Arc<Shared>,
    writer: Mutex<UnixStream>,
    reply_timeout: Duration,
    request_count: AtomicU64,
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
        let request_count = AtomicU64::new(0);
        Ok(Self { shared, writer: Mutex::new(stream), reply_timeout, request_count })
    }

    pub(super) fn on_gone(&self, tell: GoneSink) {
        self.shared.on_gone(tell);
    }

    /// Sends a request and waits for its reply's payload.
    pub(super) fn request(
        &self,
        kind: Kind,
        tx_id: u32,
        payload: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let request = [Request { kind, payload: payload.to_vec() }];
        let awaited = self.send(tx_id, &request)?;
        let [awaited] = awaited.as_slice() else { unreachable!("one reply for one request") };
        self.receive(kind, awaited)
    }

    /// Sends many requests before it waits for the first reply, a window after the other. The first refusal is the answer;
    /// what is under way then is left to the daemon.
    pub(super) fn pipeline(&self, tx_id: u32, requests: &[Request]) -> Result<(), StoreError> {
        let mut rest = requests;
        while !rest.is_empty() {
            let (window, later) = rest.split_at(window_length(rest));
            for (request, awaited) in window.iter().zip(self.send(tx_id, window)?) {
                self.receive(request.kind, &awaited)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Sends a request whose reply nobody needs: safe on any thread, the reader's included.
    pub(super) fn notify(&self, kind: Kind, tx_id: u32, payload: &[u8]) {
        let request = Request { kind, payload: payload.to_vec() };
        let sent = self.shared.enrol_unheard().and_then(|req_id| {
            let bytes = request.encode(req_id, tx_id).ok_or(StoreError::TooLarge)?;
            self.put(&bytes, 1)
        });
        if let Err(error) = sent {
            tracing::debug!(?kind, %error, "xenstore request not sent");
        }
    }

    /// Requests sent so far.
    pub(super) fn request_count(&self) -> u64 {
        self.request_count.load(Ordering::Relaxed)
    }

    /// Registers a sink and gives the token that its events carry.
    pub(super) fn add_sink(&self, sink: WatchSink) -> String {
        self.shared.add_sink(sink)
    }

    /// After this, no new event reaches the sink.
    pub(super) fn remove_sink(&self, token: &str) {
        self.shared.remove_sink(token);
    }

    /// One write for all of them; nothing is sent when one is too long.
    fn send(&self, tx_id: u32, requests: &[Request]) -> Result<Vec<Awaited>, StoreError> {
        if requests.iter().any(|request| request.payload.len() > wire::PAYLOAD_BYTES_MAX) {
            return Err(StoreError::TooLarge);
        }
        let awaited = self.shared.enrol(requests.len())?;
        let mut bytes = Vec::new();
        for (request, awaited) in requests.iter().zip(&awaited) {
            bytes.extend(request.encode(awaited.req_id, tx_id).ok_or(StoreError::TooLarge)?);
        }
        self.put(&bytes, requests.len())?;
        Ok(awaited)
    }

    fn put(&self, bytes: &[u8], count: usize) -> Result<(), StoreError> {
        self.request_count.fetch_add(count as u64, Ordering::Relaxed);
        let sent = lock(&self.writer).write_all(bytes);
        // Perhaps half a message is out: nothing after it would be understood.
        sent.map_err(|error| self.shared.end(&error.to_string()))
    }

    fn receive(&self, kind: Kind, awaited: &Awaited) -> Result<Vec<u8>, StoreError> {
        let reply = self.wait(awaited)?;
        if reply.is(Kind::Error) {
            Err(wire::error(&reply.payload))
        } else if reply.is(kind) {
            Ok(reply.payload)
        } else {
            Err(StoreError::Other(format!("type {} to a request of {kind:?}", reply.kind)))
        }
    }

    fn wait(&self, awaited: &Awaited) -> Result<Message, StoreError> {
        match awaited.reply.recv_timeout(self.reply_timeout) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Disconnected) => Err(self.shared.why_gone()),
            Err(RecvTimeoutError::Timeout) if self.shared.give_up(awaited.req_id) => {
                let text = format!("no answer within {} s", self.reply_timeout.as_secs_f32());
                Err(StoreError::Disconnected(text))
            }
            // The reader has it in its hands just now.
            Err(RecvTimeoutError::Timeout) => {
                awaited.reply.recv().map_err(|_| self.shared.why_gone())
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Wakes the reader, which then ends. The stream may be closed already.
        let _ = lock(&self.writer).shutdown(Shutdown::Both);
    }
}

/// How many requests go out before the first reply is waited for; at least one.
fn window_length(requests: &[Request]) -> usize {
    let mut bytes = 0;
    let fits = |request: &&Request| {
        bytes += wire::HEADER_BYTES + request.payload.len();
        bytes <= WINDOW_BYTES_MAX
    };
    requests.iter().take(WINDOW_REQUESTS_MAX).take_while(fits).count().max(1)
}
