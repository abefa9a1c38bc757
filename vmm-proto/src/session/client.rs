//! The client's session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use snow::HandshakeState;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::documents::{self, Hello, Welcome};
use super::{SessionError, SessionKeys, handshake};
use crate::credentials::{Credentials, Identity};
use crate::envelope::replay::Window;
use crate::envelope::{Direction, Header, Sealed, seal};

/// A handshake that waits for the server's message.
pub(crate) struct Opening {
    state: HandshakeState,
}

impl Opening {
    /// Starts a handshake with the server whose certificate TLS has verified; returns the
    /// `OpenSession` document to send.
    pub(crate) fn start(
        credentials: &Credentials,
        server_certificate: &[u8],
        server: &Identity,
    ) -> Result<(Opening, String), SessionError> {
        let prologue = handshake::prologue(&server.principal, server_certificate);
        let mut state = handshake::initiate(&credentials.inner_key, &server.inner_key, &prologue)?;
        let message = handshake::write(&mut state, &Hello::ours().write()?)?;
        Ok((Opening { state }, documents::write_open_session(&message)?))
    }

    /// Finishes with the server's `SessionOpened` document.
    pub(crate) fn finish(mut self, document: &[u8]) -> Result<ClientSession, SessionError> {
        let message = documents::read_session_opened(document)?;
        let welcome = Welcome::read(&handshake::read(&mut self.state, &message)?)?;
        Ok(ClientSession {
            id: welcome.session,
            keys: handshake::finish(self.state),
            next_seq: AtomicU64::new(0),
            message_count_max: welcome.message_count_max,
            renew_at: Instant::now() + lifetime(welcome.lifetime_s) * 3 / 4,
            window: Mutex::default(),
        })
    }
}

/// A server may want a session to be shorter than ours, never longer: its number is a stranger's.
fn lifetime(asked_s: u64) -> Duration {
    Duration::from_secs(asked_s).min(super::LIFETIME)
}

/// An open session, as its client holds it.
#[derive(Debug)]
pub(crate) struct ClientSession {
    id: String,
    keys: SessionKeys,
    next_seq: AtomicU64,
    message_count_max: u64,
    renew_at: Instant,
    window: Mutex<Window>,
}

impl ClientSession {
    /// Its name and keys, for bulk streams.
    pub(crate) fn keys(&self) -> (&str, &SessionKeys) {
        (&self.id, &self.keys)
    }

    /// Whether three quarters of time or count are used.
    pub(crate) fn is_due(&self) -> bool {
        let used = self.next_seq.load(Ordering::Relaxed);
        Instant::now() >= self.renew_at || used >= self.message_count_max / 4 * 3
    }

    /// A header that no other message of this session has.
    pub(crate) fn next_header(&self, id: &str) -> Result<Header, SessionError> {
        let seq = self.next_seq.fetch_add(1, Ordering::Relaxed);
        if seq >= self.message_count_max {
            return Err(SessionError::Ended);
        }
        Ok(Header {
            session: self.id.clone(),
            direction: Direction::ClientToServer,
            seq,
            id: id.to_owned(),
        })
    }

    /// Seals a request.
    pub(crate) fn seal(&self, header: &Header, plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
        Ok(seal(&self.keys.c2s, header, plaintext)?)
    }

    /// Opens the answer to the request `id`.
    pub(crate) fn open(
        &self,
        id: &str,
        bytes: &[u8],
    ) -> Result<(Header, Zeroizing<Vec<u8>>), SessionError> {
        let sealed = Sealed::parse(bytes)?;
        let header = sealed.header();
        if header.session != self.id {
            return Err(SessionError::Elsewhere { field: "session" });
        }
        if header.id != id {
            return Err(SessionError::Elsewhere { field: "id" });
        }
        let plaintext = sealed.open(&self.keys.s2c)?;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if !window.mark(header.seq) {
            return Err(SessionError::Replayed { seq: header.seq });
        }
        Ok((header.clone(), plaintext))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_make_a_session_longer_than_ours_or_the_client_panic() {
        assert_eq!(lifetime(60), Duration::from_secs(60));
        assert_eq!(lifetime(u64::MAX) * 3, super::super::LIFETIME * 3);
    }
}
