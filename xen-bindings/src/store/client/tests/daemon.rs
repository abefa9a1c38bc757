//! A daemon that says what the test wants, on the other end of a socket pair.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::super::wire::{self, Kind, Message};

/// The daemon's end: reads requests, sends what the test wants.
pub(super) struct Daemon(UnixStream);

impl Daemon {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// For what is no message.
    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.0
    }

    pub(super) fn next(&mut self) -> Message {
        Message::read_from(&mut self.0).expect("a request")
    }

    /// The next request, which must be this one.
    pub(super) fn expect(&mut self, kind: Kind, payload: &[u8]) -> Message {
        let message = self.next();
        assert!(message.is(kind), "{message:?} is no {kind:?}");
        assert_eq!(message.payload, payload);
        message
    }

    fn send(&mut self, kind: u32, req_id: u32, payload: &[u8]) {
        let bytes = wire::encode([kind, req_id, 0], payload).expect("short");
        self.0.write_all(&bytes).expect("the client reads");
    }

    pub(super) fn reply(&mut self, request: &Message, payload: &[u8]) {
        self.send(request.kind, request.req_id, payload);
    }

    pub(super) fn refuse(&mut self, request: &Message, error: &[u8]) {
        self.send(Kind::Error as u32, request.req_id, error);
    }

    pub(super) fn fire(&mut self, payload: &[u8]) {
        self.send(Kind::WatchEvent as u32, 0, payload);
    }
}
