//! Noise_IK_25519_AESGCM_SHA256, and the keys that come out of it.

use sha2::{Digest as _, Sha256};
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use super::SessionError;
use crate::bulk::BulkKey;
use crate::credentials::INNER_KEY_BYTES;
use crate::envelope::{Direction, DirectionKey, push_prefixed};
use crate::principal::Principal;

const PATTERN: &str = "Noise_IK_25519_AESGCM_SHA256";

/// Longest message of a handshake, and longest payload in it.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The keys of a session: of messages and of bulk streams, in both directions.
#[derive(Debug)]
pub(crate) struct SessionKeys {
    pub(super) c2s: DirectionKey,
    pub(super) s2c: DirectionKey,
    pub(crate) bulk_c2s: BulkKey,
    pub(crate) bulk_s2c: BulkKey,
}

/// Binds the handshake to protocol, server and the server's TLS certificate (DER).
pub(super) fn prologue(server: &Principal, server_certificate: &[u8]) -> Vec<u8> {
    let mut prologue = Vec::new();
    push_prefixed(&mut prologue, b"XVMP/1");
    push_prefixed(&mut prologue, server.to_string().as_bytes());
    push_prefixed(&mut prologue, &Sha256::digest(server_certificate));
    prologue
}

/// The client's side.
pub(super) fn initiate(
    inner_key: &[u8; INNER_KEY_BYTES],
    server_inner_key: &[u8; INNER_KEY_BYTES],
    prologue: &[u8],
) -> Result<HandshakeState, SessionError> {
    check_order(server_inner_key)?;
    Ok(builder()
        .local_private_key(inner_key)?
        .remote_public_key(server_inner_key)?
        .prologue(prologue)?
        .build_initiator()?)
}

/// The server's side.
pub(super) fn respond(
    inner_key: &[u8; INNER_KEY_BYTES],
    prologue: &[u8],
) -> Result<HandshakeState, SessionError> {
    Ok(builder().local_private_key(inner_key)?.prologue(prologue)?.build_responder()?)
}

/// The next message, with a payload in it.
pub(super) fn write(state: &mut HandshakeState, payload: &str) -> Result<Vec<u8>, SessionError> {
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let length = state.write_message(payload.as_bytes(), &mut message)?;
    message.truncate(length);
    Ok(message)
}

/// The payload of the next message. Both messages begin with an ephemeral key.
pub(super) fn read(state: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, SessionError> {
    if let Some(ephemeral) = message.first_chunk() {
        check_order(ephemeral)?;
    }
    let mut payload = vec![0; MESSAGE_BYTES_MAX];
    let length = state.read_message(message, &mut payload)?;
    payload.truncate(length);
    Ok(payload)
}

/// Refuses a point of low order: every secret shared with it is zero, and snow takes it.
pub(super) fn check_order(public: &[u8; INNER_KEY_BYTES]) -> Result<(), SessionError> {
    // Any private key shows it.
    let shared = x25519_dalek::x25519([1; INNER_KEY_BYTES], *public);
    if shared == [0; INNER_KEY_BYTES] { Err(SessionError::LowOrder) } else { Ok(()) }
}

/// The keys, when both messages have passed.
pub(super) fn finish(mut state: HandshakeState) -> SessionKeys {
    let hash = state.get_handshake_hash().to_vec();
    let (k1, k2) = state.dangerously_get_raw_split();
    let (k1, k2) = (Zeroizing::new(k1), Zeroizing::new(k2));
    SessionKeys {
        c2s: DirectionKey::derive(&k1, Direction::ClientToServer, &hash),
        s2c: DirectionKey::derive(&k2, Direction::ServerToClient, &hash),
        bulk_c2s: BulkKey::derive(&k1, Direction::ClientToServer, &hash),
        bulk_s2c: BulkKey::derive(&k2, Direction::ServerToClient, &hash),
    }
}

fn builder<'a>() -> Builder<'a> {
    Builder::new(PATTERN.parse().expect("a pattern that snow knows"))
}
