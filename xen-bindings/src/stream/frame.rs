//! What libxc's and libxl's records have in common.
//!
//! ```text
//!   number, 4 │ length of the body, 4 │ body │ zeros up to a multiple of 8
//! ```
//!
//! The highest bit of the number says that a reader who does not know the record may skip it.

use std::io::{IoSlice, Read, Write};
use std::iter;

use super::error::{Fault, Part, Place, StreamError};
use super::input::Input;
use super::output::Output;

/// The longest record of all, known or not (`REC_LENGTH_MAX`).
pub(super) const BODY_BYTES_MAX: u32 = 128 << 20;
const OPTIONAL: u32 = 1 << 31;
const ALIGNMENT: usize = 8;
/// Bytes skipped at once.
const SKIP_BYTES: u64 = 64 << 10;

/// The eight bytes before a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) number: u32,
    pub(super) length: u32,
    pub(super) place: Place,
}

impl Head {
    pub(super) fn read<R: Read>(
        input: &mut Input<R>,
        part: fn(u32) -> Part,
    ) -> Result<Self, StreamError> {
        let place = input.here(Part::RecordHeader);
        let [a, b, c, d, e, f, g, h] = input.array(place)?;
        let number = u32::from_le_bytes([a, b, c, d]);
        let length = u32::from_le_bytes([e, f, g, h]);
        let head = Self { number, length, place: Place { part: part(number), ..place } };
        head.limit(BODY_BYTES_MAX)?;
        Ok(head)
    }

    pub(super) fn is_optional(self) -> bool {
        self.number & OPTIONAL != 0
    }

    pub(super) fn limit(self, limit: u32) -> Result<(), StreamError> {
        if self.length > limit {
            let (length, limit) = (self.length.into(), limit.into());
            return Err(self.place.error(Fault::TooLong { length, limit }));
        }
        Ok(())
    }

    /// Reads the body, and its padding away.
    pub(super) fn body<R: Read>(
        self,
        input: &mut Input<R>,
        body: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        input.fill(self.place, self.padded(), body)?;
        // A body of at most 128 MiB.
        let padding = body.split_off(usize::try_from(self.length).unwrap_or(usize::MAX));
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.place.error(Fault::Padding));
        }
        Ok(())
    }

    pub(super) fn skip<R: Read>(self, input: &mut Input<R>) -> Result<(), StreamError> {
        let (mut left, mut scrap) = (self.padded(), Vec::new());
        while left > 0 {
            let next = left.min(SKIP_BYTES);
            input.fill(self.place, next, &mut scrap)?;
            left -= next;
        }
        Ok(())
    }

    fn padded(self) -> u64 {
        u64::from(self.length).next_multiple_of(ALIGNMENT as u64)
    }
}

/// Writes a record whose body consists of these parts.
pub(super) fn write<'a, W: Write>(
    output: &mut Output<W>,
    place: Place,
    number: u32,
    body: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), StreamError> {
    let body: Vec<&[u8]> = body.into_iter().collect();
    let bytes: u64 = body.iter().map(|part| part.len() as u64).sum();
    let length = u32::try_from(bytes).ok().filter(|length| *length <= BODY_BYTES_MAX);
    let length = length.ok_or_else(|| {
        place.error(Fault::TooLong { length: bytes, limit: BODY_BYTES_MAX.into() })
    })?;
    let mut head = [0; 8];
    head[..4].copy_from_slice(&number.to_le_bytes());
    head[4..].copy_from_slice(&length.to_le_bytes());
    let zeros = [0; ALIGNMENT];
    let padding = usize::try_from(bytes.next_multiple_of(ALIGNMENT as u64) - bytes).unwrap_or(0);
    let all = iter::once(&head[..]).chain(body).chain(iter::once(&zeros[..padding]));
    let mut parts: Vec<IoSlice<'_>> = all.map(IoSlice::new).collect();
    output.parts(place, &mut parts)
}
