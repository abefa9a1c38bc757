//! The sessions of one server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{SESSION_COUNT_MAX, SESSIONS_PER_PRINCIPAL, ServerSession, SessionError};
use crate::principal::Principal;

/// Sessions by id.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    sessions: Mutex<HashMap<String, Arc<ServerSession>>>,
}

impl SessionTable {
    /// Adds a session, and ends what is over or too much.
    pub(crate) fn insert(&self, session: ServerSession) -> Result<(), SessionError> {
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over());
        let own = |known: &&Arc<ServerSession>| known.principal() == session.principal();
        if sessions.values().filter(own).count() >= SESSIONS_PER_PRINCIPAL {
            // Whoever sends a first message again opens sessions that are never confirmed: those go first.
            let order = |known: &&Arc<ServerSession>| (known.is_confirmed(), known.used());
            let oldest = sessions.values().filter(own).min_by_key(order);
            if let Some(id) = oldest.map(|known| known.id().to_owned()) {
                sessions.remove(&id);
            }
        }
        if sessions.len() >= SESSION_COUNT_MAX {
            return Err(SessionError::TooMany);
        }
        sessions.insert(session.id().to_owned(), Arc::new(session));
        Ok(())
    }

    /// The session of this id, if it is this principal's and not over.
    pub(crate) fn find(&self, id: &str, principal: &Principal) -> Option<Arc<ServerSession>> {
        let mut sessions = self.lock();
        let session = sessions.get(id).filter(|session| session.principal() == principal)?;
        if session.is_over() {
            sessions.remove(id);
            return None;
        }
        Some(session.clone())
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<ServerSession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
