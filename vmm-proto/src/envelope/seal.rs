//! Sealing: plaintext and header to the outer document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{
    AES256_GCM, DSIG, DirectionKey, ELEMENT, EnvelopeError, Header, IV_BYTES, TAG_BYTES, XENC,
};
use crate::aead::Backend;
use crate::endpoint::BODY_BYTES_MAX;
use crate::v1::NAMESPACE;

/// Seals a document under the key of its header, with a random IV.
///
/// # Errors
/// The header is not valid, the message would be too large, or no random bytes are to be had.
pub fn seal(
    key: &DirectionKey,
    header: &Header,
    plaintext: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let mut iv = [0; IV_BYTES];
    getrandom::fill(&mut iv).map_err(EnvelopeError::Random)?;
    seal_with_iv(key, header, plaintext, iv)
}

pub(super) fn seal_with_iv(
    key: &DirectionKey,
    header: &Header,
    plaintext: &[u8],
    iv: [u8; IV_BYTES],
) -> Result<Vec<u8>, EnvelopeError> {
    header.check()?;
    if header.direction != key.direction() {
        return Err(EnvelopeError::Header { field: "dir" });
    }
    let message_key = key.message_key(header);
    let mut value = Vec::with_capacity(IV_BYTES + plaintext.len() + TAG_BYTES);
    value.extend_from_slice(&iv);
    value.extend_from_slice(plaintext);
    let cipher = Backend::default().cipher(&message_key);
    let tag = cipher.seal(&iv, b"", &mut value[IV_BYTES..]).map_err(|_| EnvelopeError::TooLarge)?;
    value.extend_from_slice(&tag);
    let document = document(header, &STANDARD.encode(value));
    if document.len() > BODY_BYTES_MAX {
        return Err(EnvelopeError::TooLarge);
    }
    Ok(document.into_bytes())
}

fn document(header: &Header, cipher_value: &str) -> String {
    let Header { session, direction, seq, id } = header;
    let key_name = header.key_name();
    format!(
        "<v:Message xmlns:v=\"{NAMESPACE}\" version=\"1\" session=\"{session}\" \
         dir=\"{direction}\" seq=\"{seq}\" id=\"{id}\">\
         <xenc:EncryptedData xmlns:xenc=\"{XENC}\" Type=\"{ELEMENT}\">\
         <xenc:EncryptionMethod Algorithm=\"{AES256_GCM}\"/>\
         <ds:KeyInfo xmlns:ds=\"{DSIG}\"><ds:KeyName>{key_name}</ds:KeyName></ds:KeyInfo>\
         <xenc:CipherData><xenc:CipherValue>{cipher_value}</xenc:CipherValue></xenc:CipherData>\
         </xenc:EncryptedData></v:Message>"
    )
}
