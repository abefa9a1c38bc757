//! What fuzzers do with bytes of anybody's: each function takes any, and panics when something is wrong with us.
//!
//! `fuzz/` runs them with libFuzzer; the test below runs each input that it has kept.

use crate::bulk;
use crate::envelope::{Direction, DirectionKey, Header, Sealed};
use crate::message;
use crate::v1::NAMESPACE;
use crate::xml::{Limits, Namespaces, check};

/// The gate in front of every parser.
pub fn gate(bytes: &[u8]) {
    for limits in [&Limits::INNER, &Limits::OUTER] {
        for namespaces in [Namespaces::Any, Namespaces::Only(NAMESPACE)] {
            let Ok(admitted) = check(bytes, limits, namespaces) else { continue };
            assert!(
                check(admitted.text.as_bytes(), limits, namespaces).is_ok(),
                "not admitted again"
            );
            let mut reader = quick_xml::Reader::from_str(admitted.text);
            while !matches!(
                reader.read_event().expect("what is admitted is XML"),
                quick_xml::events::Event::Eof
            ) {}
        }
    }
}

/// The outer document.
pub fn envelope(bytes: &[u8]) {
    let (short, long) = (Sealed::parse(bytes), Sealed::parse_any(bytes));
    assert_eq!(short.is_ok(), long.is_ok(), "two ways, two answers");
    let (Ok(short), Ok(long)) = (short, long) else { return };
    assert_eq!(short, long);
    let key = DirectionKey::derive(&[8; 32], short.header().direction, &[9; 32]);
    assert!(short.open(&key).is_err(), "a tag that nobody made");
}

fn header(direction: Direction) -> Header {
    Header {
        session: "000102030405060708090a0b0c0d0e0f".to_owned(),
        direction,
        seq: 7,
        id: "m-7".to_owned(),
    }
}

/// A request, whole, and as what stands inside one; and the same of an answer.
pub fn verb(bytes: &[u8]) {
    let (c2s, s2c) = (header(Direction::ClientToServer), header(Direction::ServerToClient));
    let text = String::from_utf8_lossy(bytes);
    let around = |root: &str, id: &str, header: &Header| {
        let Header { session, direction, seq, .. } = header;
        format!(
            "<{root} xmlns=\"{NAMESPACE}\" {id}=\"m-7\" session=\"{session}\" dir=\"{direction}\" seq=\"{seq}\">{text}</{root}>"
        )
    };
    for document in [text.to_string(), around("Request", "id", &c2s)] {
        let Ok((terms, request)) = message::read_request(document.as_bytes(), &c2s) else {
            continue;
        };
        let written = message::write_request(&c2s, &terms, &request).expect("what was read");
        let again = message::read_request(written.as_bytes(), &c2s).expect("what was written");
        assert_eq!((terms, request), again);
    }
    for document in [text.to_string(), around("Response", "re", &s2c)] {
        let Ok(outcome) = message::read_response(document.as_bytes(), &s2c) else { continue };
        let written = message::write_response(&s2c, &outcome).expect("what was read");
        let again = message::read_response(written.as_bytes(), &s2c).expect("what was written");
        // A fraction that is no number equals nothing, itself neither; there is none in the protocol.
        assert_eq!(outcome, again);
    }
}

/// A bulk stream's opening, and its frames.
pub fn bulk(bytes: &[u8]) {
    bulk::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Target = fn(&[u8]);

    #[test]
    fn every_input_that_a_fuzzer_has_kept_is_harmless() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let targets: [(&str, Target); 4] =
            [("gate", gate), ("envelope", envelope), ("verb", verb), ("bulk", super::bulk)];
        for (name, target) in targets {
            let folder = corpus.join(name);
            let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
                panic!("{}: {error}", folder.display());
            });
            let mut count = 0;
            for entry in entries {
                target(&std::fs::read(entry.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 10, "{name}: {count} inputs");
        }
    }
}
