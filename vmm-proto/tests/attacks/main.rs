//! Attacks on the running server and on the client, by somebody who holds what the threat model grants: the network, a valid
//! certificate of the pool, the TLS keys of both ends, or all of these. Nobody holds the inner keys.
//!
//! ```text
//!   peer      the attacker's own half of the protocol, written from docs/protocol.md: TLS, HTTP, Noise, sealed messages
//!   noise     Noise IK by hand, for keys that no library makes      frames    HTTP/2 by hand
//!   middle    ends TLS between client and server, and meddles       forge     certificates that nobody should have issued
//!
//!   tampering     changed bytes                  replay       the same bytes again, or elsewhere
//!   answers       the same, to the client        handshake    who may open a session
//!   points        keys of low order              certificates who may connect
//!   slow          bytes that do not come         flood        too many frames
//!   http          not as HTTP should be          large        too large, or made to cost
//!   recovery      restarts, lost sessions        shares       one takes it from others
//!   inside        from who holds the keys        applicants   from who has no certificate yet
//! ```
//!
//! Time is tokio's, paused, and connections are pipes in memory: no test waits, and none asserts how long something took on a clock
//! of the machine. Everything is bounded by a count. `src/server/tests.rs`, `src/envelope/tests.rs` and `src/session/tests.rs` have
//! what needs no more than one layer.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/mod.rs"]
mod support;

mod forge;
mod frames;
mod middle;
mod noise;
mod peer;

mod answers;
mod applicants;
mod certificates;
mod flood;
mod handshake;
mod http;
mod inside;
mod large;
mod points;
mod recovery;
mod replay;
mod shares;
mod slow;
mod tampering;
