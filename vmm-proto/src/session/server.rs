//! The server's session.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::documents::{self, Hello, Welcome};
use super::{
    BAD_TAG_COUNT_MAX, CONFIRM_TIMEOUT, LIFETIME, MESSAGE_COUNT_MAX, SessionError, SessionKeys,
    handshake,
};
use crate::credentials::{Credentials, Identity};
use crate::envelope::replay::Window;
use crate::envelope::{Direction, Header, SESSION_CHARACTERS, Sealed, seal};
use crate::principal::Principal;

/// An open session, as its server holds it.
#[derive(Debug)]
pub(crate) struct ServerSession {
    id: String,
    principal: Principal,
    keys: SessionKeys,
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    next_seq: u64,
    bad_tag_count: u32,
    is_confirmed: bool,
    used: Instant,
}

impl ServerSession {
    /// Answers an `OpenSession` document of the client that TLS has authenticated as `client`;
    /// returns the session and the `SessionOpened` document.
    pub(crate) fn accept(
        credentials: &Credentials,
        client: &Identity,
        document: &[u8],
    ) -> Result<(ServerSession, String), SessionError> {
        let prologue = handshake::prologue(credentials.principal(), &credentials.certificate);
        let mut state = handshake::respond(&credentials.inner_key, &prologue)?;
        let message = documents::read_open_session(document)?;
        let hello = handshake::read(&mut state, &message)?;
        if state.get_remote_static() != Some(client.inner_key.as_slice()) {
            return Err(SessionError::InnerKey { principal: client.principal.to_string() });
        }
        handshake::check_order(&client.inner_key)?;
        Hello::read(&hello)?;
        let id = new_id()?;
        let message = handshake::write(&mut state, &Welcome::new(&id).write()?)?;
        let session = ServerSession::new(id, client.principal.clone(), handshake::finish(state));
        Ok((session, documents::write_session_opened(&message)?))
    }

    fn new(id: String, principal: Principal, keys: SessionKeys) -> ServerSession {
        let opened = Instant::now();
        let state = State {
            window: Window::default(),
            next_seq: 0,
            bad_tag_count: 0,
            is_confirmed: false,
            used: opened,
        };
        ServerSession { id, principal, keys, opened, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn keys(&self) -> &SessionKeys {
        &self.keys
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// When it was used last.
    pub(super) fn used(&self) -> Instant {
        self.lock().used
    }

    /// Whether a message has proved its key.
    pub(super) fn is_confirmed(&self) -> bool {
        self.lock().is_confirmed
    }

    /// Whether nothing may be done with it any more.
    pub(crate) fn is_over(&self) -> bool {
        let age = self.opened.elapsed();
        let state = self.lock();
        age >= LIFETIME
            || (!state.is_confirmed && age >= CONFIRM_TIMEOUT)
            || state.bad_tag_count >= BAD_TAG_COUNT_MAX
            || state.next_seq >= MESSAGE_COUNT_MAX
    }

    /// Opens a request. Of several copies at once, one succeeds.
    pub(crate) fn open(&self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let seq = sealed.header().seq;
        if self.is_over() || seq >= MESSAGE_COUNT_MAX {
            return Err(SessionError::Ended);
        }
        if self.lock().window.is_seen(seq) {
            return Err(SessionError::Replayed { seq });
        }
        let plaintext = sealed.open(&self.keys.c2s).inspect_err(|_| {
            self.lock().bad_tag_count += 1;
        })?;
        let mut state = self.lock();
        if !state.window.mark(seq) {
            return Err(SessionError::Replayed { seq });
        }
        state.is_confirmed = true;
        state.used = Instant::now();
        Ok(plaintext)
    }

    /// A header for the answer to the request `id`, that no other message of this session has.
    pub(crate) fn next_header(&self, id: &str) -> Header {
        let mut state = self.lock();
        let seq = state.next_seq;
        state.next_seq += 1;
        Header {
            session: self.id.clone(),
            direction: Direction::ServerToClient,
            seq,
            id: id.to_owned(),
        }
    }

    /// Seals an answer.
    pub(crate) fn seal(&self, header: &Header, plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
        Ok(seal(&self.keys.s2c, header, plaintext)?)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_id() -> Result<String, SessionError> {
    let mut bytes = [0; SESSION_CHARACTERS / 2];
    getrandom::fill(&mut bytes).map_err(SessionError::Random)?;
    Ok(u128::from_be_bytes(bytes)).map(|number| format!("{number:032x}"))
}
