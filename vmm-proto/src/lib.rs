//! XVMP/1, the wire.

pub mod client;
pub mod clock;
pub mod convert;
pub mod credentials;
pub mod endpoint;
pub mod envelope;
mod message;
pub mod principal;
pub mod server;
pub mod session;
pub mod tls;
pub mod transport;
pub mod v1;
pub mod xml;
