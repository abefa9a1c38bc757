//! XVMP/1, the wire.

pub mod client;
pub mod clock;
pub mod credentials;
pub mod principal;
pub mod server;
pub mod tls;
pub mod transport;

/// Placeholder until the wire types are in.
#[allow(missing_docs)]
pub mod v1 {
    use serde::{Deserialize, Serialize};

    pub const NAMESPACE: &str = "urn:smps-vmm:xvmp:1";

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Request {
        Ping(Ping),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Reply {
        Pong(Ping),
    }
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Ping {
        pub text: String,
    }
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Fault {
        pub code: String,
        pub message: String,
    }
}
