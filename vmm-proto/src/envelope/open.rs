//! Opening: the outer document to header and plaintext.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::decode::Decoder;
use super::header::canonical_u64;
use super::{
    AES256_GCM, DSIG, Direction, DirectionKey, ELEMENT, EnvelopeError, Header, IV_BYTES, TAG_BYTES,
    XENC, own,
};
use crate::aead::Backend;
use crate::v1::NAMESPACE;
use crate::xml::{Limits, Namespaces, check};

/// A message that was read but not opened. Nothing in it is authentic yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    header: Header,
    iv: [u8; IV_BYTES],
    /// Ciphertext and tag.
    ciphertext: Vec<u8>,
}

impl Sealed {
    /// Reads the outer document.
    ///
    /// # Errors
    /// Anything but the one shape, see [`EnvelopeError`].
    pub fn parse(bytes: &[u8]) -> Result<Sealed, EnvelopeError> {
        let own = (bytes.len() <= Limits::OUTER.document_bytes).then(|| own::read(bytes)).flatten();
        match own {
            Some((header, value)) => {
                let (iv, ciphertext) = cipher_value(value)?;
                Ok(Sealed { header, iv, ciphertext })
            }
            None => Sealed::parse_any(bytes),
        }
    }

    /// The one shape, however it is written.
    pub(crate) fn parse_any(bytes: &[u8]) -> Result<Sealed, EnvelopeError> {
        let document = check(bytes, &Limits::OUTER, Namespaces::Any)?;
        let mut decoder = Decoder::new(document.text);
        let header = header(&decoder.open(NAMESPACE, "Message")?)?;
        let data = decoder.open(XENC, "EncryptedData")?;
        if data.iter().any(|(name, value)| name != "Type" || value != ELEMENT) {
            return Err(EnvelopeError::Shape { expected: "only Type, meaning an element," });
        }
        let method = decoder.open(XENC, "EncryptionMethod")?;
        if method.len() != 1 || method.first() != Some(&("Algorithm".into(), AES256_GCM.into())) {
            return Err(EnvelopeError::Algorithm);
        }
        decoder.close()?;
        let mut next = decoder.open_any()?;
        if next.is(DSIG, "KeyInfo") {
            check_key_info(&mut decoder, &header)?;
            next = decoder.open_any()?;
        }
        next.expect(XENC, "CipherData")?;
        decoder.open(XENC, "CipherValue")?;
        let value = decoder.text()?;
        for _ in ["CipherData", "EncryptedData", "Message"] {
            decoder.close()?;
        }
        let (iv, ciphertext) = cipher_value(&value)?;
        Ok(Sealed { header, iv, ciphertext })
    }

    /// What the header claims.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Opens the message with the key of its session and direction.
    ///
    /// # Errors
    /// [`EnvelopeError::Tag`], whatever the reason.
    pub fn open(&self, key: &DirectionKey) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if key.direction() != self.header.direction {
            return Err(EnvelopeError::Tag);
        }
        let message_key = key.message_key(&self.header);
        let mut text = Zeroizing::new(self.ciphertext.clone());
        let cipher = Backend::default().cipher(&message_key);
        let length = match cipher.open(&self.iv, b"", &mut text) {
            Ok(plaintext) => plaintext.len(),
            Err(_) => return Err(EnvelopeError::Tag),
        };
        text.truncate(length);
        Ok(text)
    }
}

fn header(attributes: &[(String, String)]) -> Result<Header, EnvelopeError> {
    let field = |field: &'static str| {
        let found = attributes.iter().find(|(name, _)| name == field);
        found.map(|(_, value)| value.as_str()).ok_or(EnvelopeError::Header { field })
    };
    if attributes.len() != 5 || field("version")? != "1" {
        return Err(EnvelopeError::Header { field: "version" });
    }
    let header = Header {
        session: field("session")?.to_owned(),
        direction: Direction::parse(field("dir")?)?,
        seq: canonical_u64(field("seq")?).ok_or(EnvelopeError::Header { field: "seq" })?,
        id: field("id")?.to_owned(),
    };
    header.check()?;
    Ok(header)
}

/// The key is found by the header. A `KeyInfo` may be missing, but it may not say otherwise.
fn check_key_info(decoder: &mut Decoder<'_>, header: &Header) -> Result<(), EnvelopeError> {
    decoder.open(DSIG, "KeyName")?;
    if decoder.text()?.trim() != header.key_name() {
        return Err(EnvelopeError::Shape { expected: "the header's KeyName" });
    }
    decoder.close()
}

/// Libraries wrap the base64 in lines, some of them with `&#13;`.
fn cipher_value(text: &str) -> Result<([u8; IV_BYTES], Vec<u8>), EnvelopeError> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let bytes = if text.as_bytes().iter().any(is_space) {
        STANDARD.decode(text.bytes().filter(|byte| !is_space(byte)).collect::<Vec<u8>>())
    } else {
        STANDARD.decode(text)
    };
    let bytes = bytes.map_err(|_| EnvelopeError::CipherValue)?;
    match bytes.split_first_chunk::<IV_BYTES>() {
        Some((iv, rest)) if rest.len() >= TAG_BYTES => Ok((*iv, rest.to_vec())),
        _ => Err(EnvelopeError::CipherValue),
    }
}
