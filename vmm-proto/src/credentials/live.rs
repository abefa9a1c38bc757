//! Credentials that are replaced while they are in use.
//!
//! Who needs credentials asks for the current ones each time: a server for each connection, a client for each link. What began with the
//! old ones ends with them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Credentials, CredentialsError};
use crate::principal::Principal;

/// The current credentials of one principal. A clone shares them.
#[derive(Clone, Debug)]
pub struct LiveCredentials(Arc<Cell>);

#[derive(Debug)]
struct Cell {
    principal: Principal,
    /// Where they are kept; none for those of a test or a demonstration.
    directory: Option<PathBuf>,
    current: RwLock<Arc<Credentials>>,
}

impl LiveCredentials {
    /// Reads the directory that new ones will be written to.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn load(directory: &Path) -> Result<LiveCredentials, CredentialsError> {
        Ok(Self::of(Credentials::load(directory)?.into(), Some(directory.to_owned())))
    }

    fn of(credentials: Arc<Credentials>, directory: Option<PathBuf>) -> LiveCredentials {
        let principal = credentials.principal().clone();
        LiveCredentials(Arc::new(Cell { principal, directory, current: RwLock::new(credentials) }))
    }

    /// Whose they are, for ever.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// The newest.
    pub fn current(&self) -> Arc<Credentials> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts new ones in place of the old: on disk first, then for whoever asks next.
    ///
    /// # Errors
    /// They are another principal's, of another authority, or cannot be written; the old ones stay.
    pub fn replace(&self, new: Credentials) -> Result<(), CredentialsError> {
        if *new.principal() != self.0.principal || new.ca != self.current().ca {
            return Err(CredentialsError::Another { found: new.principal().clone() });
        }
        if let Some(directory) = &self.0.directory {
            new.save(directory)?;
        }
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }
}

impl From<Arc<Credentials>> for LiveCredentials {
    fn from(credentials: Arc<Credentials>) -> Self {
        Self::of(credentials, None)
    }
}

impl From<Credentials> for LiveCredentials {
    fn from(credentials: Credentials) -> Self {
        Arc::new(credentials).into()
    }
}
