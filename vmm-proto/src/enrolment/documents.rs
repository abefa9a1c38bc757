//! The documents of enrolment: two in clear around the handshake, and what its messages carry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::v1::{Fault, NAMESPACE};
use crate::xml::{self, ReadError, WriteError};

/// Around message 1.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Join {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@version")]
    pub(super) version: String,
    /// The token's id.
    #[serde(rename = "@token")]
    pub(super) token: String,
    #[serde(rename = "Noise")]
    pub(super) noise: String,
}

/// Around message 2.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Joined {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@version")]
    pub(super) version: String,
    #[serde(rename = "Noise")]
    pub(super) noise: String,
}

/// In message 1.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JoinRequest {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    /// PKCS#10, DER, base64.
    #[serde(rename = "@signing-request")]
    pub(super) signing_request: String,
    /// Where an agent is to be called, `HOST:PORT`.
    #[serde(rename = "@address", default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
}

/// In message 2, when the applicant is admitted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Admitted {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    /// DER, base64.
    #[serde(rename = "@certificate")]
    pub(super) certificate: String,
}

/// In message 2, when it is not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Denied {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "Fault")]
    pub(super) fault: Fault,
}

const VERSION: &str = "1";

pub(super) fn write_join(token: &str, noise: &[u8]) -> Result<String, WriteError> {
    let (xmlns, version) = (NAMESPACE.to_owned(), VERSION.to_owned());
    let join = Join { xmlns, version, token: token.to_owned(), noise: STANDARD.encode(noise) };
    xml::write(&join, "Join")
}

/// The token's id and message 1.
pub(super) fn read_join(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let join: Join = xml::read(bytes, "Join").ok()?;
    let noise = base64(&join.noise)?;
    (join.version == VERSION && super::token::is_id(&join.token)).then_some((join.token, noise))
}

pub(super) fn write_joined(noise: &[u8]) -> Result<String, WriteError> {
    let (xmlns, version) = (NAMESPACE.to_owned(), VERSION.to_owned());
    xml::write(&Joined { xmlns, version, noise: STANDARD.encode(noise) }, "Joined")
}

pub(super) fn read_joined(bytes: &[u8]) -> Option<Vec<u8>> {
    let joined: Joined = xml::read(bytes, "Joined").ok()?;
    (joined.version == VERSION).then(|| base64(&joined.noise))?
}

impl JoinRequest {
    pub(super) fn new(signing_request: &[u8], address: Option<&str>) -> JoinRequest {
        JoinRequest {
            xmlns: NAMESPACE.to_owned(),
            signing_request: STANDARD.encode(signing_request),
            address: address.map(str::to_owned),
        }
    }

    pub(super) fn write(&self) -> Result<String, WriteError> {
        xml::write(self, "JoinRequest")
    }

    pub(super) fn read(bytes: &[u8]) -> Result<JoinRequest, ReadError> {
        xml::read(bytes, "JoinRequest")
    }
}

pub(super) fn write_outcome(outcome: Result<&[u8], Fault>) -> Result<String, WriteError> {
    let xmlns = NAMESPACE.to_owned();
    match outcome {
        Ok(der) => xml::write(&Admitted { xmlns, certificate: STANDARD.encode(der) }, "Admitted"),
        Err(fault) => xml::write(&Denied { xmlns, fault }, "Denied"),
    }
}

/// None when it is neither.
pub(super) fn read_outcome(bytes: &[u8]) -> Option<Result<Vec<u8>, Fault>> {
    match xml::read::<Admitted>(bytes, "Admitted") {
        Ok(admitted) => base64(&admitted.certificate).map(Ok),
        Err(_) => xml::read::<Denied>(bytes, "Denied").ok().map(|denied| Err(denied.fault)),
    }
}

pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok()
}

#[cfg(test)]
mod published {
    //! The published schema and golden messages of enrolment.

    use super::*;
    use crate::published::{
        assert_golden, valid, without_and_with_twice_each_element, without_each_attribute,
    };
    use crate::v1::FaultCode;

    const NOISE: [u8; 96] = [0x5a; 96];

    fn documents() -> [(&'static str, String); 5] {
        let fault = Fault::new(FaultCode::Conflict, "host h1 is in the pool at another address");
        [
            ("join", write_join("00112233445566ff", &NOISE).unwrap()),
            ("joined", write_joined(&NOISE).unwrap()),
            ("join-request", JoinRequest::new(&NOISE, Some("10.0.0.11:8443")).write().unwrap()),
            ("admitted", write_outcome(Ok(&NOISE)).unwrap()),
            ("denied", write_outcome(Err(fault.at("manager"))).unwrap()),
        ]
    }

    fn is_read(document: &str) -> bool {
        let bytes = document.as_bytes();
        match document.split_once(' ').unwrap().0 {
            "<Join" => read_join(bytes).is_some(),
            "<Joined" => read_joined(bytes).is_some(),
            "<JoinRequest" => JoinRequest::read(bytes).is_ok(),
            _ => read_outcome(bytes).is_some(),
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
        }
    }

    #[test]
    fn a_token_that_is_no_id_is_not_looked_up() {
        for token in ["", "0", "../../etc/passwd", "00112233445566FF", "00112233445566ff0"] {
            assert!(read_join(write_join(token, &NOISE).unwrap().as_bytes()).is_none(), "{token}");
        }
    }
}
