//! `Noise_IKpsk1_25519_AESGCM_SHA256`: the session's handshake, with the token's key mixed into its first message.

use sha2::{Digest as _, Sha256};
use snow::{Builder, Error, HandshakeState};

use super::SECRET_BYTES;
use crate::credentials::INNER_KEY_BYTES;
use crate::envelope::push_prefixed;
use crate::principal::Principal;

const PATTERN: &str = "Noise_IKpsk1_25519_AESGCM_SHA256";
/// After the first message's static key.
const PSK_PLACE: u8 = 1;
const MESSAGE_BYTES_MAX: usize = 8192;

/// Binds the handshake to the server, its TLS certificate (DER) and the token.
pub(super) fn prologue(server: &Principal, certificate: &[u8], token: &str) -> Vec<u8> {
    let mut prologue = Vec::new();
    push_prefixed(&mut prologue, b"XVMP/1 join");
    push_prefixed(&mut prologue, server.to_string().as_bytes());
    push_prefixed(&mut prologue, &Sha256::digest(certificate));
    push_prefixed(&mut prologue, token.as_bytes());
    prologue
}

pub(super) fn initiate(
    inner_key: &[u8; INNER_KEY_BYTES],
    server_inner_key: &[u8; INNER_KEY_BYTES],
    psk: &[u8; SECRET_BYTES],
    prologue: &[u8],
) -> Result<HandshakeState, Error> {
    builder(psk)?
        .local_private_key(inner_key)?
        .remote_public_key(server_inner_key)?
        .prologue(prologue)?
        .build_initiator()
}

pub(super) fn respond(
    inner_key: &[u8; INNER_KEY_BYTES],
    psk: &[u8; SECRET_BYTES],
    prologue: &[u8],
) -> Result<HandshakeState, Error> {
    builder(psk)?.local_private_key(inner_key)?.prologue(prologue)?.build_responder()
}

pub(super) fn write(state: &mut HandshakeState, payload: &str) -> Result<Vec<u8>, Error> {
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let length = state.write_message(payload.as_bytes(), &mut message)?;
    message.truncate(length);
    Ok(message)
}

pub(super) fn read(state: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, Error> {
    let mut payload = vec![0; MESSAGE_BYTES_MAX];
    let length = state.read_message(message, &mut payload)?;
    payload.truncate(length);
    Ok(payload)
}

fn builder(psk: &[u8; SECRET_BYTES]) -> Result<Builder<'_>, Error> {
    Builder::new(PATTERN.parse().expect("a pattern that snow knows")).psk(PSK_PLACE, psk)
}
