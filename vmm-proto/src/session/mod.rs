//! Sessions of the inner layer: a Noise IK handshake, then counted messages.
//!
//! ```text
//!   client                                              server
//!     │ OpenSession { Noise msg1: e, es, s, ss, Hello }    │  reads the client's static key,
//!     │ ─────────────────────────────────────────────────► │  compares it with the certificate's
//!     │ SessionOpened { Noise msg2: e, ee, se, Welcome }   │  session is *unconfirmed*
//!     │ ◄───────────────────────────────────────────────── │
//!     │ Message c2s seq 0                                  │
//!     │ ─────────────────────────────────────────────────► │  first tag verified: *confirmed*
//! ```
//!
//! The prologue names protocol, server and the SHA-256 of the server's TLS certificate: a proxy
//! that ends TLS with another certificate breaks the handshake. The client knows the server's
//! static key beforehand, from the certificate; a server without the private half cannot answer.
//! The first message can be replayed by whoever holds the client's TLS key, so nothing acts on it
//! but a place in the table.
//!
//! Who owns what: the server's `SessionTable` holds sessions by id and ends them: after
//! [`LIFETIME`], after [`MESSAGE_COUNT_MAX`] messages in one direction, after [`BAD_TAG_COUNT_MAX`]
//! bad tags, unconfirmed after [`CONFIRM_TIMEOUT`], or when their principal opens more than
//! [`SESSIONS_PER_PRINCIPAL`] (the one unused for longest goes, unconfirmed ones first). Nothing is written to disk: a
//! restarted server knows no session, and clients open new ones. A client replaces its session when
//! three quarters of time or count are used; calls under way finish on the old one.
//!
//! Keys are wiped when the last holder of a session drops it. They never leave the process.

use std::time::Duration;

mod client;
mod documents;
mod error;
mod handshake;
mod server;
mod table;

pub(crate) use client::{ClientSession, Opening};
pub use error::SessionError;
pub(crate) use handshake::SessionKeys;
pub(crate) use server::ServerSession;
pub(crate) use table::SessionTable;

#[cfg(test)]
mod tests;

/// How long a session lives.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// Messages of one session in one direction.
pub const MESSAGE_COUNT_MAX: u64 = 1 << 20;

/// How long a session waits for the first message that proves its key.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// Bad tags after which a session is closed.
pub const BAD_TAG_COUNT_MAX: u32 = 8;

/// Sessions of one principal.
pub const SESSIONS_PER_PRINCIPAL: usize = 64;

/// Sessions of one server.
pub const SESSION_COUNT_MAX: usize = 4096;
