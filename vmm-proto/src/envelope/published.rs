//! The published schema and golden message of what is around the encryption.

use super::seal::seal_with_iv;
use super::*;
use crate::published::{
    assert_golden, valid, with_each_attribute, without_and_with_twice_each_element,
    without_each_attribute,
};

/// Keys, header, IV and plaintext of the test vector in `docs/protocol.md`.
fn document() -> String {
    let key = DirectionKey::derive(&[7; 32], Direction::ClientToServer, &[9; 32]);
    let header = Header {
        session: "000102030405060708090a0b0c0d0e0f".to_owned(),
        direction: Direction::ClientToServer,
        seq: 7,
        id: "m-7".to_owned(),
    };
    let iv = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    String::from_utf8(seal_with_iv(&key, &header, b"<Request/>", iv).unwrap()).unwrap()
}

#[test]
fn the_golden_message_is_what_we_write() {
    assert_golden("message", &document());
}

#[test]
fn the_schema_and_the_decoder_agree_on_the_one_shape() {
    let document = document();
    let removed = without_each_attribute(&document);
    let mut changed: Vec<String> = removed
        .into_iter()
        .chain(without_and_with_twice_each_element(&document))
        .map(|changed| changed.document)
        .collect();
    changed.extend(with_each_attribute(&document, "other").into_iter().map(|(_, changed)| changed));
    // Form, not key: another id and a missing Type or KeyInfo are decoded, and the tag or the key decides.
    let verdicts = valid(&changed);
    for (changed, valid) in changed.iter().zip(&verdicts) {
        assert_eq!(*valid, Sealed::parse(changed.as_bytes()).is_ok(), "{changed}");
    }
    let admitted = verdicts.iter().filter(|valid| **valid).count();
    assert_eq!((admitted, changed.len()), (3, 26));
}
