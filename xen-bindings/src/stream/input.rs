//! Bytes that come in, counted.

use std::io::{ErrorKind, Read};

use super::error::{Fault, Part, Place, StreamError};

/// What a stream is read from. Give it a reader that is cheap for short reads: a file or a pipe, not a socket of packets.
#[derive(Debug)]
pub struct Input<R> {
    inner: R,
    offset: u64,
}

impl<R: Read> Input<R> {
    /// From the first byte.
    pub fn new(inner: R) -> Self {
        Self { inner, offset: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What it is read from.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// What is left, unread.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// A part that begins with the next byte.
    pub(super) fn here(&self, part: Part) -> Place {
        Place { part, offset: self.offset }
    }

    pub(super) fn array<const BYTES: usize>(
        &mut self,
        place: Place,
    ) -> Result<[u8; BYTES], StreamError> {
        let mut bytes = [0; BYTES];
        self.inner.read_exact(&mut bytes).map_err(|error| place.error(fault(&error)))?;
        self.offset += BYTES as u64;
        Ok(bytes)
    }

    /// Fills `body` with the next bytes. It grows as they come in, never by what a length says alone.
    pub(super) fn fill(
        &mut self,
        place: Place,
        bytes: u64,
        body: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        body.clear();
        let read = self.inner.by_ref().take(bytes).read_to_end(body);
        let read = read.map_err(|error| place.error(fault(&error)))?;
        self.offset += read as u64;
        if read as u64 == bytes { Ok(()) } else { Err(place.error(Fault::Truncated)) }
    }
}

fn fault(error: &std::io::Error) -> Fault {
    match error.kind() {
        ErrorKind::UnexpectedEof => Fault::Truncated,
        _ => Fault::Unreadable { errno: error.raw_os_error().unwrap_or(0) },
    }
}
