//! XVMP/1, the wire: XML requests and typed faults, each encrypted on its own, inside mutual
//! TLS 1.3.
//!
//! ```text
//!   v1::Request ─ message ─► XML ─ envelope ─► XML in AES-256-GCM ─ client ─► HTTP/2 ─ tls ─► bytes
//!                 (xml: gate, reader, writer)   (keys: session)                    (credentials)
//!   Service ◄──── message ◄─ XML ◄ envelope ◄─ … ◄─────────────── server ◄─ HTTP ◄── tls ◄── transport
//! ```
//!
//! Two layers, because one alone trusts too much: TLS proves who is at the other end of a
//! connection, the inner layer proves who sent a message, also when something ends TLS on the way.
//! One certificate binds the keys of both to one principal, see [`credentials`]. There is no mode
//! without either layer and no key from a file or a constant: the inner keys come out of a
//! handshake, see [`session`].
//!
//! Time and connections are given from outside ([`clock`], [`transport`]), so that a whole pool
//! runs in one process on a paused clock. Randomness is the system's, always.
//!
//! What goes wrong is said to whom it concerns: a peer that could not prove itself learns nothing
//! (status 400 and constant bytes), an authenticated one gets a fault that says where and what to do,
//! the log gets the reason. `docs/protocol.md` is the normative text.

pub mod aead;
pub mod bulk;
pub mod client;
pub mod clock;
pub mod convert;
pub mod credentials;
pub mod doctor;
pub mod endpoint;
pub mod enrolment;
pub mod envelope;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod https;
mod message;
pub mod principal;
#[cfg(test)]
mod published;
pub mod server;
pub mod session;
pub mod tls;
pub mod transport;
pub mod v1;
pub mod xml;
