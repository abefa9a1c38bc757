//! TLS configurations of the current credentials, made once for each.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{Error, ServerConfig};

use crate::clock::WallClock;
use crate::credentials::Credentials;
use crate::tls;

/// Both configurations of one server.
#[derive(Clone)]
pub(super) struct Configs {
    /// For principals.
    pub(super) mutual: Arc<ServerConfig>,
    /// For those who want to become one.
    pub(super) join: Arc<ServerConfig>,
}

/// Makes them when the credentials have changed.
pub(super) struct TlsConfigs {
    clock: Arc<dyn WallClock>,
    made: Mutex<Option<(Arc<Credentials>, Configs)>>,
}

impl TlsConfigs {
    pub(super) fn new(clock: Arc<dyn WallClock>) -> TlsConfigs {
        TlsConfigs { clock, made: Mutex::new(None) }
    }

    /// Those of these credentials.
    pub(super) fn of(&self, credentials: &Arc<Credentials>) -> Result<Configs, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.as_ref() {
            Some((of, configs)) if Arc::ptr_eq(of, credentials) => Ok(configs.clone()),
            _ => {
                let configs = Configs {
                    mutual: tls::server_config(credentials, Arc::clone(&self.clock))?,
                    join: tls::join_server_config(credentials, Arc::clone(&self.clock))?,
                };
                *made = Some((Arc::clone(credentials), configs.clone()));
                Ok(configs)
            }
        }
    }
}
