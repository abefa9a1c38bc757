//! Bytes that go out, counted.

use std::io::{ErrorKind, IoSlice, Write};

use super::error::{Fault, Part, Place, StreamError};

/// What a stream is written to. Records are handed over whole, in one vectored write where the system takes it.
#[derive(Debug)]
pub struct Output<W> {
    inner: W,
    offset: u64,
}

impl<W: Write> Output<W> {
    /// From the first byte.
    pub fn new(inner: W) -> Self {
        Self { inner, offset: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What is written to.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// A part that begins with the next byte.
    pub(super) fn here(&self, part: Part) -> Place {
        Place { part, offset: self.offset }
    }

    pub(super) fn all(&mut self, place: Place, bytes: &[u8]) -> Result<(), StreamError> {
        self.parts(place, &mut [IoSlice::new(bytes)])
    }

    /// All of them, one behind the other.
    pub(super) fn parts(
        &mut self,
        place: Place,
        mut parts: &mut [IoSlice<'_>],
    ) -> Result<(), StreamError> {
        // What is empty already would look like a writer that takes nothing.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match self.inner.write_vectored(parts) {
                Ok(0) => return Err(place.error(Fault::Unwritable { errno: 0 })),
                Ok(written) => {
                    self.offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    return Err(place.error(Fault::Unwritable { errno }));
                }
            }
        }
        Ok(())
    }
}
