//! The inner encryption: what comes out, what is refused.

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::seal::seal_with_iv;
use super::*;

const SPLIT: [u8; 32] = [7; 32];
const HASH: [u8; 32] = [9; 32];

fn key(direction: Direction) -> DirectionKey {
    DirectionKey::derive(&SPLIT, direction, &HASH)
}

fn c2s() -> DirectionKey {
    key(Direction::ClientToServer)
}

fn header() -> Header {
    Header {
        session: "000102030405060708090a0b0c0d0e0f".to_owned(),
        direction: Direction::ClientToServer,
        seq: 7,
        id: "m-7".to_owned(),
    }
}

fn sealed(plaintext: &[u8]) -> String {
    String::from_utf8(seal(&c2s(), &header(), plaintext).unwrap()).unwrap()
}

fn open(document: &str) -> Result<Vec<u8>, EnvelopeError> {
    Sealed::parse(document.as_bytes())?.open(&c2s()).map(|plaintext| plaintext.to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The document with its cipher value changed.
fn with_value(document: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (before, rest) = document.split_once("<xenc:CipherValue>").unwrap();
    let (value, after) = rest.split_once("</xenc:CipherValue>").unwrap();
    let mut bytes = STANDARD.decode(value).unwrap();
    change(&mut bytes);
    let value = STANDARD.encode(bytes);
    format!("{before}<xenc:CipherValue>{value}</xenc:CipherValue>{after}")
}

/// Computed by an independent implementation of HKDF and AES-GCM, from the normative text.
#[test]
fn the_key_schedule_gives_the_published_values() {
    assert_eq!(hex(c2s().message_key(&header()).as_slice()), KAT_C2S_KEY);
    let mut answer = header();
    answer.direction = Direction::ServerToClient;
    let s2c = key(Direction::ServerToClient);
    assert_eq!(hex(s2c.message_key(&answer).as_slice()), KAT_S2C_KEY);
    let iv = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    let document = seal_with_iv(&c2s(), &header(), b"<Request/>", iv).unwrap();
    let expected = format!(">{KAT_CIPHER_VALUE}<");
    assert!(String::from_utf8(document).unwrap().contains(&expected));
}

const KAT_C2S_KEY: &str = "952a2bd86c034358b87835535aa60bcbe1d696908bf19acd57773bb5aa5464af";
const KAT_S2C_KEY: &str = "5fe21f9b1433ef1cd7e7b666e229e3f37981a7ea34ba39c997380acaf283f5e8";
const KAT_CIPHER_VALUE: &str = "AAECAwQFBgcICQoLUd/p6dWigRiaSQImIMAg9uDfZC/k8PsyWQo=";

#[test]
fn every_size_survives() {
    for size in [0, 1, 15, 16, 17, 64 << 10, 4 << 20] {
        let plaintext: Vec<u8> = (0..=250).cycle().take(size).collect();
        assert_eq!(open(&sealed(&plaintext)).unwrap(), plaintext, "{size} bytes");
    }
}

#[test]
fn what_would_be_too_large_is_not_sealed() {
    let error = seal(&c2s(), &header(), &vec![0; 7 << 20]).unwrap_err();
    assert!(matches!(error, EnvelopeError::TooLarge));
}

#[test]
fn no_two_seals_are_alike() {
    assert_ne!(sealed(b"<Request/>"), sealed(b"<Request/>"));
}

#[test]
fn every_changed_bit_of_the_cipher_value_is_noticed() {
    let document = sealed(b"<Request/>");
    for bit in 0..(12 + 10 + 16) * 8 {
        let changed = with_value(&document, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        assert!(matches!(open(&changed), Err(EnvelopeError::Tag)), "bit {bit}");
    }
}

#[test]
fn a_shortened_tag_is_refused_at_every_length() {
    let document = sealed(b"");
    for tag_bytes in 0..16 {
        let changed = with_value(&document, |bytes| bytes.truncate(12 + tag_bytes));
        assert!(matches!(open(&changed), Err(EnvelopeError::CipherValue)), "{tag_bytes}");
    }
    let document = sealed(b"<Request/>");
    for cut in 1..26 {
        let changed = with_value(&document, |bytes| bytes.truncate(38 - cut));
        assert!(open(&changed).is_err(), "{cut} bytes cut");
    }
    let longer = with_value(&document, |bytes| bytes.push(0));
    assert!(matches!(open(&longer), Err(EnvelopeError::Tag)));
}

#[test]
fn every_field_of_the_header_is_bound() {
    let document = sealed(b"<Request/>");
    for (from, to) in [
        ("session=\"0001", "session=\"1001"),
        ("dir=\"c2s\"", "dir=\"s2c\""),
        ("seq=\"7\"", "seq=\"8\""),
        ("id=\"m-7\"", "id=\"m-8\""),
    ] {
        // Also where the header is repeated, so that only the key can notice.
        let changed = document.replacen(from, to, 1).replacen(
            "0f/c2s/7<",
            &format!("0f/{}/{}<", dir(to), seq(to)),
            1,
        );
        let changed = match from.starts_with("session") {
            true => changed.replacen("<ds:KeyName>0001", "<ds:KeyName>1001", 1),
            false => changed,
        };
        assert!(matches!(open(&changed), Err(EnvelopeError::Tag)), "{from} to {to}");
    }
}

fn dir(to: &str) -> &str {
    if to.contains("s2c") { "s2c" } else { "c2s" }
}

fn seq(to: &str) -> &str {
    if to.contains("seq=\"8\"") { "8" } else { "7" }
}

#[test]
fn a_message_is_not_accepted_by_another_session_or_direction() {
    let parsed = Sealed::parse(sealed(b"<Request/>").as_bytes()).unwrap();
    let other_split = DirectionKey::derive(&[8; 32], Direction::ClientToServer, &HASH);
    let other_hash = DirectionKey::derive(&SPLIT, Direction::ClientToServer, &[8; 32]);
    for other in [other_split, other_hash, key(Direction::ServerToClient)] {
        assert!(matches!(parsed.open(&other), Err(EnvelopeError::Tag)));
    }
}

#[test]
fn a_message_cannot_be_sent_back_as_an_answer() {
    let reflected = sealed(b"<Request/>").replace("\"c2s\"", "\"s2c\"").replace("/c2s/", "/s2c/");
    let parsed = Sealed::parse(reflected.as_bytes()).unwrap();
    assert!(matches!(parsed.open(&key(Direction::ServerToClient)), Err(EnvelopeError::Tag)));
}

#[test]
fn no_other_algorithm_is_spoken() {
    let document = sealed(b"<Request/>");
    for other in [
        "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
        "http://www.w3.org/2009/xmlenc11#aes128-gcm",
        "http://www.w3.org/2001/04/xmlenc#aes256-gcm",
        "HTTP://www.w3.org/2009/xmlenc11#aes256-gcm",
        "",
    ] {
        let changed = document.replace(AES256_GCM, other);
        assert!(matches!(open(&changed), Err(EnvelopeError::Algorithm)), "{other}");
    }
}

#[test]
fn every_other_shape_is_refused() {
    let good = sealed(b"<Request/>");
    open(&good).unwrap();
    let cipher_data =
        &good[good.find("<xenc:CipherData>").unwrap()..good.find("</xenc:EncryptedData>").unwrap()];
    for (what, bad) in [
        ("no message", "<a/>".to_owned()),
        ("another namespace", good.replace("urn:smps-vmm:xvmp:1", "urn:smps-vmm:xvmp:2")),
        ("another version", good.replacen("version=\"1\"", "version=\"2\"", 1)),
        ("a field more", good.replacen(" seq=", " more=\"1\" seq=", 1)),
        ("a field less", good.replacen(" version=\"1\"", "", 1)),
        ("a sign", good.replacen("seq=\"7\"", "seq=\"+7\"", 1)),
        ("a leading zero", good.replacen("seq=\"7\"", "seq=\"07\"", 1)),
        ("a space", good.replacen("seq=\"7\"", "seq=\" 7\"", 1)),
        ("too large a number", good.replacen("seq=\"7\"", "seq=\"18446744073709551616\"", 1)),
        ("upper case", good.replacen("session=\"00010203", "session=\"0001020A", 1)),
        ("a short session", good.replacen("session=\"0001", "session=\"", 1)),
        ("an empty id", good.replacen("id=\"m-7\"", "id=\"\"", 1)),
        ("another type", good.replacen("xmlenc#Element", "xmlenc#Content", 1)),
        ("another key name", good.replacen("/c2s/7<", "/c2s/8<", 1)),
        ("no cipher data", good.replace(cipher_data, "")),
        ("two cipher data", good.replace(cipher_data, &cipher_data.repeat(2))),
        (
            "a reference",
            good.replace(
                cipher_data,
                "<xenc:CipherData><xenc:CipherReference URI=\"x\"/></xenc:CipherData>",
            ),
        ),
        ("a nested key", good.replace("<ds:KeyName>", "<xenc:EncryptedKey/><ds:KeyName>")),
        ("a retrieval", good.replace("</ds:KeyName>", "</ds:KeyName><ds:RetrievalMethod/>")),
        (
            "a digest method",
            good.replace("aes256-gcm\"/>", "aes256-gcm\"><ds/></xenc:EncryptionMethod>"),
        ),
        ("trailing text", good.replace("</v:Message>", "x</v:Message>")),
        ("no base64", good.replacen("<xenc:CipherValue>", "<xenc:CipherValue>*", 1)),
        (
            "an id on the data",
            good.replacen("<xenc:EncryptedData ", "<xenc:EncryptedData Id=\"x\" ", 1),
        ),
    ] {
        assert_ne!(bad, good, "{what}: the test changed nothing");
        assert!(Sealed::parse(bad.as_bytes()).is_err(), "{what}");
    }
}

#[test]
fn what_other_libraries_write_is_read() {
    let document = sealed(b"<Request/>");
    let (before, rest) = document.split_once("<xenc:CipherValue>").unwrap();
    let (value, after) = rest.split_once("</xenc:CipherValue>").unwrap();
    let (left, right) = value.split_at(20);
    for wrapped in [
        format!("\n{left}\n{right}\n"),
        format!("{left}&#13;\n{right}"),
        format!("{left}&#xD;\r\n\t {right}"),
    ] {
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{before}<xenc:CipherValue>{wrapped}</xenc:CipherValue>{after}\n"
        );
        assert_eq!(open(&document).unwrap(), b"<Request/>");
    }
    let start = document.find("<ds:KeyInfo").unwrap();
    let end = document.find("</ds:KeyInfo>").unwrap() + "</ds:KeyInfo>".len();
    let without_key_info = format!("{}{}", &document[..start], &document[end..]);
    assert_eq!(open(&without_key_info).unwrap(), b"<Request/>");
    let indented = document.replace("><", ">\n  <");
    assert_eq!(open(&indented).unwrap(), b"<Request/>");
}

#[test]
fn any_iv_is_accepted() {
    let cipher = Aes256Gcm::new((&*c2s().message_key(&header())).into());
    let iv = [255; 12];
    let document = with_value(&sealed(b""), |bytes| {
        *bytes = iv.to_vec();
        bytes.extend(cipher.encrypt(&Nonce::from(iv), b"<Request/>".as_slice()).unwrap());
    });
    assert_eq!(open(&document).unwrap(), b"<Request/>");
}

proptest! {
    #[test]
    fn a_changed_byte_never_opens_to_something_else(at in any::<usize>(), byte in any::<u8>()) {
        let mut document = sealed(b"<Request/>").into_bytes();
        let at = at % document.len();
        document[at] = byte;
        if let Ok(plaintext) = Sealed::parse(&document).and_then(|sealed| sealed.open(&c2s())) {
            prop_assert_eq!(plaintext.as_slice(), b"<Request/>");
        }
    }
}

/// Known answers that the Python client reads too; its `make.py` shares no code with either.
#[test]
fn the_key_schedule_gives_the_known_answers_of_every_client() {
    let text = include_str!("../../../clients/python/tests/vectors/key-schedule.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let keys = vectors["keys"].as_array().unwrap();
    let bytes = |text: &str| -> [u8; 32] {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..64).step_by(2).map(digits).collect::<Vec<u8>>().try_into().unwrap()
    };
    for known in keys {
        let word = |name: &str| known[name].as_str().unwrap();
        let direction = Direction::parse(word("dir")).unwrap();
        let split = match direction {
            Direction::ClientToServer => "k1_hex",
            Direction::ServerToClient => "k2_hex",
        };
        let key = DirectionKey::derive(&bytes(word(split)), direction, &bytes(word("h_hex")));
        let place = [word("method"), word("path"), word("content_type")];
        let ours = ["POST", crate::endpoint::RPC_PATH, crate::endpoint::CONTENT_TYPE];
        assert_eq!(place, ours, "{known}");
        let header = Header {
            session: word("session").to_owned(),
            direction,
            seq: known["seq"].as_u64().unwrap(),
            id: word("id").to_owned(),
        };
        assert_eq!(hex(key.message_key(&header).as_slice()), word("message_key_hex"), "{known}");
    }
    assert!(keys.len() >= 9, "{}", keys.len());
}

proptest! {
    /// The short way and the long way see the same in what we write, and in what is left of it when something was changed.
    #[test]
    fn what_is_read_at_a_glance_is_what_the_gate_and_the_decoder_read(
        text in proptest::collection::vec(any::<u8>(), 1..80),
        id in "[A-Za-z0-9._:-]{1,20}",
        seq in any::<u64>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let header = Header { seq, id, ..header() };
        let document = seal(&c2s(), &header, &text).unwrap();
        prop_assert!(super::own::read(&document).is_some());
        prop_assert_eq!(Sealed::parse(&document).unwrap(), Sealed::parse_any(&document).unwrap());
        let at = at.index(document.len());
        let mut changed = document.clone();
        changed[at] = with;
        let mut cut = document.clone();
        cut.truncate(at);
        let mut longer = document.clone();
        longer.insert(at, with);
        for other in [changed, cut, longer] {
            match (Sealed::parse(&other), Sealed::parse_any(&other)) {
                (Ok(short), Ok(long)) => prop_assert_eq!(short, long),
                (Err(_), Err(_)) => {}
                (short, long) => prop_assert!(false, "{:?} and {:?} of {:?}", short, long, other),
            }
        }
    }
}
