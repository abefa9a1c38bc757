//! The outer document as we write it ourselves, read at a glance.
//!
//! Most messages come from this very code. Their form is a template with five fields, and a document that fits it letter by letter is
//! well-formed and of the one shape: there is no need to ask the gate and the decoder, which take ten times as long. What does not fit
//! goes through them, and is accepted or refused there: this room never refuses anything.

use super::header::canonical_u64;
use super::{AES256_GCM, DSIG, Direction, ELEMENT, Header, SESSION_CHARACTERS, XENC};
use crate::v1::NAMESPACE;

/// Header and base64 of a document that fits; the header is checked.
pub(super) fn read(bytes: &[u8]) -> Option<(Header, &str)> {
    let mut rest = Rest(std::str::from_utf8(bytes).ok()?);
    rest.skip(&["<v:Message xmlns:v=\"", NAMESPACE, "\" version=\"1\" session=\""])?;
    let session = rest.until('"').filter(|session| session.len() == SESSION_CHARACTERS)?;
    rest.skip(&["\" dir=\""])?;
    let direction = Direction::parse(rest.until('"')?).ok()?;
    rest.skip(&["\" seq=\""])?;
    let seq = canonical_u64(rest.until('"')?)?;
    rest.skip(&["\" id=\""])?;
    let id = rest.until('"')?;
    let header = Header { session: session.to_owned(), direction, seq, id: id.to_owned() };
    header.check().ok()?;
    rest.skip(&["\"><xenc:EncryptedData xmlns:xenc=\"", XENC, "\" Type=\"", ELEMENT])?;
    rest.skip(&["\"><xenc:EncryptionMethod Algorithm=\"", AES256_GCM])?;
    rest.skip(&["\"/><ds:KeyInfo xmlns:ds=\"", DSIG, "\"><ds:KeyName>", &header.key_name()])?;
    rest.skip(&["</ds:KeyName></ds:KeyInfo><xenc:CipherData><xenc:CipherValue>"])?;
    let value = rest.until('<').filter(|value| !value.contains('&'))?;
    rest.skip(&["</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></v:Message>"])?;
    rest.0.is_empty().then_some((header, value))
}

/// What is left of the document.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, parts: &[&str]) -> Option<()> {
        for part in parts {
            self.0 = self.0.strip_prefix(part)?;
        }
        Some(())
    }

    /// What stands before the mark.
    fn until(&mut self, mark: char) -> Option<&'a str> {
        let (before, _) = self.0.split_once(mark)?;
        self.0 = self.0.get(before.len()..)?;
        Some(before)
    }
}
