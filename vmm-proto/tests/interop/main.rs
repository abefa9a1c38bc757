//! Peers that others made: what they write we read, and they what we write.
//!
//! | peer | for |
//! |---|---|
//! | `xmlsec1` of Debian, `xmlsec` of PyPI, Apache Santuario | XML Encryption, both ways, at the sizes where blocks begin and end |
//! | `noiseprotocol` of PyPI | the handshake, as either end: the same hash, the same keys |
//! | `xvmp.py`, written from docs/protocol.md | the whole inner layer, as a client of the server and as a server of the client |
//!
//! The key of each message is derived here a second time, from the text. Each peer runs once for all sizes. Python is the one that the
//! environment variable `XVMP_PYTHON` names, else that of `target/interop/venv`, which `cargo xtask test --install` makes.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "the attacks use all of it")]
#[path = "../attacks/forge.rs"]
mod forge;
#[path = "../attacks/middle.rs"]
mod middle;
#[allow(dead_code, reason = "the attacks use all of it")]
#[path = "../attacks/peer.rs"]
mod peer;
#[path = "../support/mod.rs"]
mod support;

mod encryption;
mod programs;
mod protocol;
