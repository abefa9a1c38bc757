//! The documents inside the encryption: a request, and its answer.
//!
//! ```xml
//! <Request xmlns="urn:smps-vmm:xvmp:1" id="…" session="…" dir="c2s" seq="7" idem="…" deadline-ms="30000">
//!   <StartVm vm="…"/>
//! </Request>
//! <Response xmlns="urn:smps-vmm:xvmp:1" re="…" session="…" dir="s2c" seq="3">
//!   <Done/>            or   <Fault code="…" hop="…" retryable="…" message="…"/>
//! </Response>
//! ```
//!
//! Every header field stands here again and is compared with the one outside, although the key
//! binds them already: two checks that fail for different mistakes. Fields of the header are read
//! from what the gate saw, the body by serde.
//!
//! Failures: [`MessageError::Elsewhere`] is an attack or a defect and is answered like every bad
//! message; the others come from an authenticated peer and are told to it as a fault.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::envelope::{Header, canonical_u64};
use crate::v1::{Fault, NAMESPACE, Reply, Request};
use crate::xml::{self, Checked, GateError, Limits, Namespaces, ReadError, WriteError};

#[cfg(test)]
mod answers;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod moves;
#[cfg(test)]
mod published;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire;

const REQUEST: &str = "Request";
const RESPONSE: &str = "Response";
const FAULT: &str = "Fault";

/// Longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// How a call is to be made, beside its header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) idempotency_key: Option<String>,
    pub(crate) deadline: Option<Duration>,
}

/// Why a document could not be read.
#[derive(Debug, Error)]
pub(crate) enum MessageError {
    #[error("{0}")]
    Gate(#[from] GateError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("the inner {field} differs from the outer one")]
    Elsewhere { field: &'static str },
    #[error("the attribute {field} is not valid")]
    Field { field: &'static str },
    #[error("there is no verb {verb}")]
    Verb { verb: String },
}

#[derive(Serialize)]
struct RequestDocument<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    #[serde(rename = "@id")]
    id: &'a str,
    #[serde(rename = "@session")]
    session: &'a str,
    #[serde(rename = "@dir")]
    dir: &'static str,
    #[serde(rename = "@seq")]
    seq: u64,
    #[serde(rename = "@idem", skip_serializing_if = "Option::is_none")]
    idem: Option<&'a str>,
    #[serde(rename = "@deadline-ms", skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(rename = "$value")]
    body: &'a Request,
}

#[derive(Serialize)]
struct ResponseDocument<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    #[serde(rename = "@re")]
    re: &'a str,
    #[serde(rename = "@session")]
    session: &'a str,
    #[serde(rename = "@dir")]
    dir: &'static str,
    #[serde(rename = "@seq")]
    seq: u64,
    #[serde(rename = "$value")]
    body: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Reply(&'a Reply),
    Fault(FaultElement<'a>),
}

#[derive(Serialize)]
enum FaultElement<'a> {
    Fault(&'a Fault),
}

#[derive(Deserialize)]
struct Body<T> {
    #[serde(rename = "$value")]
    body: T,
}

#[derive(Deserialize)]
struct FaultBody {
    #[serde(rename = "Fault")]
    fault: Fault,
}

pub(crate) fn write_request(
    header: &Header,
    terms: &Terms,
    request: &Request,
) -> Result<Zeroizing<String>, WriteError> {
    let milliseconds = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let document = RequestDocument {
        xmlns: NAMESPACE,
        id: &header.id,
        session: &header.session,
        dir: header.direction.as_str(),
        seq: header.seq,
        idem: terms.idempotency_key.as_deref(),
        deadline_ms: terms.deadline.map(milliseconds),
        body: request,
    };
    xml::write(&document, REQUEST).map(Zeroizing::new)
}

pub(crate) fn read_request(
    plaintext: &[u8],
    header: &Header,
) -> Result<(Terms, Request), MessageError> {
    let document = xml::check(plaintext, &Limits::INNER, Namespaces::Only(NAMESPACE))?;
    check_header(&document, header, "id")?;
    let terms = Terms {
        idempotency_key: document.attribute("idem").map(str::to_owned),
        deadline: match document.attribute("deadline-ms") {
            Some(text) => Some(Duration::from_millis(
                canonical_u64(text).ok_or(MessageError::Field { field: "deadline-ms" })?,
            )),
            None => None,
        },
    };
    let key_length = terms.idempotency_key.as_ref().map_or(1, String::len);
    if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key_length) {
        return Err(MessageError::Field { field: "idem" });
    }
    let known = ["id", "session", "dir", "seq", "idem", "deadline-ms"];
    if document.attributes.iter().any(|(name, _)| !known.contains(name)) {
        return Err(MessageError::Field { field: "of Request" });
    }
    match xml::read_exactly::<Body<Request>>(&document, REQUEST) {
        Ok(Body { body }) => Ok((terms, body)),
        Err(error) => Err(unknown_verb(&document, &error).unwrap_or(error.into())),
    }
}

pub(crate) fn write_response(
    header: &Header,
    outcome: &Result<Reply, Fault>,
) -> Result<Zeroizing<String>, WriteError> {
    let document = ResponseDocument {
        xmlns: NAMESPACE,
        re: &header.id,
        session: &header.session,
        dir: header.direction.as_str(),
        seq: header.seq,
        body: match outcome {
            Ok(reply) => Outcome::Reply(reply),
            Err(fault) => Outcome::Fault(FaultElement::Fault(fault)),
        },
    };
    xml::write(&document, RESPONSE).map(Zeroizing::new)
}

pub(crate) fn read_response(
    plaintext: &[u8],
    header: &Header,
) -> Result<Result<Reply, Fault>, MessageError> {
    let document = xml::check(plaintext, &Limits::INNER, Namespaces::Only(NAMESPACE))?;
    check_header(&document, header, "re")?;
    if document.first_child == Some(FAULT) {
        let body: FaultBody = xml::read_checked(&document, RESPONSE)?;
        return Ok(Err(body.fault));
    }
    let body: Body<Reply> = xml::read_checked(&document, RESPONSE)?;
    Ok(Ok(body.body))
}

fn check_header(
    document: &Checked<'_>,
    header: &Header,
    id: &'static str,
) -> Result<(), MessageError> {
    let seq = header.seq.to_string();
    for (field, expected) in [
        (id, header.id.as_str()),
        ("session", header.session.as_str()),
        ("dir", header.direction.as_str()),
        ("seq", seq.as_str()),
    ] {
        if document.attribute(field) != Some(expected) {
            return Err(MessageError::Elsewhere { field });
        }
    }
    Ok(())
}

/// serde says it in words only.
fn unknown_verb(document: &Checked<'_>, error: &ReadError) -> Option<MessageError> {
    let verb = document.first_child?;
    let is_unknown = error.to_string().contains(&format!("unknown variant `{verb}`"));
    is_unknown.then(|| MessageError::Verb { verb: verb.to_owned() })
}
