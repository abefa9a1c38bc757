//! The guest's own line to xenstore, byte for byte, so that it can say what no library would let it say.
//!
//! Fails when the device is not there, or when the answer breaks the protocol. A refusal by xenstored is no failure but an answer.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};

const DEVICE: &str = "/dev/xen/xenbus";
const HEADER_BYTES: usize = 16;
const PAYLOAD_BYTES_MAX: usize = 4096;

/// Requests, by Xen's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Directory = 1,
    Write = 11,
    Mkdir = 12,
    Rm = 13,
}

const ANSWER_ERROR: u32 = 16;

/// What xenstored said.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done(Vec<u8>),
    /// Such as `EACCES`, `EQUOTA`, `E2BIG`.
    Refused(String),
}

pub(crate) struct Xenbus {
    file: File,
    request: u32,
}

impl Xenbus {
    pub(crate) fn open() -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        Ok(Self { file, request: 0 })
    }

    pub(crate) fn write(&mut self, path: &str, value: &[u8]) -> Result<Answer> {
        self.ask(Op::Write, &[path.as_bytes(), b"\0", value].concat())
    }

    pub(crate) fn remove(&mut self, path: &str) -> Result<Answer> {
        self.ask(Op::Rm, &[path.as_bytes(), b"\0"].concat())
    }

    /// Names in a folder; none when it cannot be listed.
    pub(crate) fn list(&mut self, path: &str) -> Result<Vec<String>> {
        let Answer::Done(names) = self.ask(Op::Directory, &[path.as_bytes(), b"\0"].concat())?
        else {
            return Ok(Vec::new());
        };
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    pub(crate) fn ask(&mut self, op: Op, payload: &[u8]) -> Result<Answer> {
        self.request += 1;
        // One write a message: the driver hands on what is whole.
        self.file.write_all(&message(op as u32, self.request, payload))?;
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact(&mut header)?;
        let field = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (kind, size) = (field(0), field(12) as usize);
        if size > PAYLOAD_BYTES_MAX || field(4) != self.request {
            return Err(Error::new(ErrorKind::InvalidData, "an answer that is none"));
        }
        let mut body = vec![0; size];
        self.file.read_exact(&mut body)?;
        Ok(match kind {
            ANSWER_ERROR => {
                Answer::Refused(String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned())
            }
            _ => Answer::Done(body),
        })
    }
}

/// Kind, request, transaction (none), size, payload.
fn message(kind: u32, request: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = [kind, request, 0, size].map(u32::to_le_bytes).concat();
    [&header, payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_header_and_its_payload() {
        let bytes = message(Op::Write as u32, 3, b"data/x\0\xff");
        assert_eq!(bytes.len(), HEADER_BYTES + 8);
        assert_eq!(bytes[..16], [11, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]);
    }
}
