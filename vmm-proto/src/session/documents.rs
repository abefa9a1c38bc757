//! The documents of the handshake: two in clear around it, two encrypted inside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::SessionError;
use crate::v1::NAMESPACE;
use crate::xml;

/// The only minor version there is.
pub(super) const MINOR: u32 = 0;

const OPEN_SESSION: &str = "OpenSession";
const SESSION_OPENED: &str = "SessionOpened";
const HELLO: &str = "Hello";
const WELCOME: &str = "Welcome";

/// Around a Noise message.
#[derive(Serialize, Deserialize)]
struct Carrier {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@version")]
    version: String,
    #[serde(rename = "Noise")]
    noise: String,
}

/// Inside the first Noise message.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@min-minor")]
    pub(super) min_minor: u32,
    #[serde(rename = "@max-minor")]
    pub(super) max_minor: u32,
}

/// Inside the second Noise message.
#[derive(Serialize, Deserialize)]
pub(super) struct Welcome {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@session")]
    pub(super) session: String,
    #[serde(rename = "@minor")]
    pub(super) minor: u32,
    #[serde(rename = "@lifetime-s")]
    pub(super) lifetime_s: u64,
    #[serde(rename = "@message-count-max")]
    pub(super) message_count_max: u64,
}

impl Hello {
    pub(super) fn ours() -> Hello {
        Hello { xmlns: NAMESPACE.to_owned(), min_minor: MINOR, max_minor: MINOR }
    }

    pub(super) fn write(&self) -> Result<String, SessionError> {
        Ok(xml::write(self, HELLO)?)
    }

    /// Reads it and finds a version that both sides speak.
    pub(super) fn read(bytes: &[u8]) -> Result<Hello, SessionError> {
        let hello: Hello = xml::read(bytes, HELLO)?;
        if !(hello.min_minor..=hello.max_minor).contains(&MINOR) {
            return Err(SessionError::Version { min: hello.min_minor, max: hello.max_minor });
        }
        Ok(hello)
    }
}

impl Welcome {
    pub(super) fn new(session: &str) -> Welcome {
        Welcome {
            xmlns: NAMESPACE.to_owned(),
            session: session.to_owned(),
            minor: MINOR,
            lifetime_s: super::LIFETIME.as_secs(),
            message_count_max: super::MESSAGE_COUNT_MAX,
        }
    }

    pub(super) fn write(&self) -> Result<String, SessionError> {
        Ok(xml::write(self, WELCOME)?)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Welcome, SessionError> {
        let welcome: Welcome = xml::read(bytes, WELCOME)?;
        if welcome.minor != MINOR {
            return Err(SessionError::Version { min: welcome.minor, max: welcome.minor });
        }
        Ok(welcome)
    }
}

pub(super) fn write_open_session(noise: &[u8]) -> Result<String, SessionError> {
    write_carrier(noise, OPEN_SESSION)
}

pub(super) fn read_open_session(bytes: &[u8]) -> Result<Vec<u8>, SessionError> {
    read_carrier(bytes, OPEN_SESSION)
}

pub(super) fn write_session_opened(noise: &[u8]) -> Result<String, SessionError> {
    write_carrier(noise, SESSION_OPENED)
}

pub(super) fn read_session_opened(bytes: &[u8]) -> Result<Vec<u8>, SessionError> {
    read_carrier(bytes, SESSION_OPENED)
}

fn write_carrier(noise: &[u8], root: &str) -> Result<String, SessionError> {
    let carrier = Carrier {
        xmlns: NAMESPACE.to_owned(),
        version: "1".to_owned(),
        noise: STANDARD.encode(noise),
    };
    Ok(xml::write(&carrier, root)?)
}

fn read_carrier(bytes: &[u8], root: &'static str) -> Result<Vec<u8>, SessionError> {
    let carrier: Carrier = xml::read(bytes, root)?;
    if carrier.version != "1" {
        return Err(SessionError::Version { min: 0, max: 0 });
    }
    let compact: String = carrier.noise.split_ascii_whitespace().collect();
    STANDARD.decode(compact).map_err(|_| SessionError::Base64)
}

#[cfg(test)]
mod published {
    //! The published schema and golden messages of the handshake.

    use super::*;
    use crate::published::{
        assert_golden, valid, without_and_with_twice_each_element, without_each_attribute,
    };
    use crate::server::BAD_MESSAGE;

    const SESSION: &str = "000102030405060708090a0b0c0d0e0f";

    /// Any bytes: which ones Noise makes is random.
    const NOISE: [u8; 96] = [0x5a; 96];

    fn documents() -> [(&'static str, String); 5] {
        [
            ("open-session", write_open_session(&NOISE).unwrap()),
            ("session-opened", write_session_opened(&NOISE).unwrap()),
            ("hello", Hello::ours().write().unwrap()),
            ("welcome", Welcome::new(SESSION).write().unwrap()),
            ("bad-message", BAD_MESSAGE.to_owned()),
        ]
    }

    fn is_read(document: &str) -> bool {
        let bytes = document.as_bytes();
        match document.split_once(' ').unwrap().0 {
            "<OpenSession" => read_open_session(bytes).is_ok(),
            "<SessionOpened" => read_session_opened(bytes).is_ok(),
            "<Hello" => Hello::read(bytes).is_ok(),
            "<Welcome" => Welcome::read(bytes).is_ok(),
            _ => document == BAD_MESSAGE,
        }
    }

    #[test]
    fn the_golden_messages_are_what_we_write() {
        for (name, document) in documents() {
            assert_golden(name, &document);
        }
    }

    #[test]
    fn the_schema_and_the_reader_agree_on_what_may_be_missing_and_what_may_stand_twice() {
        let mut changed = Vec::new();
        for (_, document) in documents() {
            changed.extend(without_each_attribute(&document));
            changed.extend(without_and_with_twice_each_element(&document));
        }
        let documents: Vec<String> = changed.iter().map(|c| c.document.clone()).collect();
        for (changed, valid) in changed.iter().zip(valid(&documents)) {
            assert_eq!(valid, is_read(&changed.document), "{}: {}", changed.how, changed.document);
            assert!(!valid, "{}: {}", changed.how, changed.document);
        }
    }

    #[test]
    fn numbers_of_the_handshake_have_one_form() {
        for minor in ["+0", " 0", "00", "-0", "0x0", "", "4294967296"] {
            let hello = Hello::ours().write().unwrap();
            let changed = hello.replace("min-minor=\"0\"", &format!("min-minor=\"{minor}\""));
            assert!(!is_read(&changed), "{minor:?}");
        }
    }
}
