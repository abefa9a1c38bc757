//! What travels on a lane, and bytes of anybody's into that.
//!
//! ```text
//!   preamble   "VMMLANES" │ version 2 │ lanes 1 │ which of them, from 0 1          all numbers little-endian
//!   piece      position in the whole 8 │ length 4 │ bytes …                        positions go up on each lane
//!   end        length of the whole 8 │ zero 4                                      on every lane, and nothing behind
//! ```
//!
//! It fails with a [`FormatError`]. A [`Parser`] keeps the piece that is coming, and gets memory for it as its bytes come.

use super::error::FormatError;
use super::{LANES_MAX, PIECE_BYTES_MAX};

/// Of this format. Another one is refused: both hosts run the same release.
pub(super) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"VMMLANES";
/// Of a preamble, of a piece without its bytes, and of an end.
pub(super) const HEAD_BYTES: usize = 12;

/// How a lane begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    /// How many there are: at most [`LANES_MAX`].
    pub(crate) lanes: u8,
    /// Which of them it is, from 0.
    pub(crate) lane: u8,
}

impl Preamble {
    pub(crate) fn write(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..].copy_from_slice(&[self.lanes, self.lane]);
        bytes
    }

    fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, FormatError> {
        let [magic @ .., low, high, lanes, lane] = bytes;
        let version = u16::from_le_bytes([low, high]);
        if magic != MAGIC {
            return Err(FormatError::NoLane);
        }
        if version != VERSION {
            return Err(FormatError::Version { version });
        }
        match lane < lanes && usize::from(lanes) <= LANES_MAX {
            true => Ok(Self { lanes, lane }),
            false => Err(FormatError::Which { lane, lanes }),
        }
    }
}

/// A piece of the whole, and where its lane is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) position: u64,
    pub(crate) bytes: Vec<u8>,
    /// The offset of the lane behind it: what is acknowledged when it was taken.
    pub(crate) lane_end: u64,
}

/// What a lane brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Preamble(Preamble),
    Piece(Piece),
    /// So long is the whole.
    End(u64),
}

#[cfg(any(test, feature = "fuzzing"))]
impl Item {
    /// As it travels.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Preamble(preamble) => out.extend(preamble.write()),
            Self::Piece(of) => out.extend(piece(of.position, &of.bytes)),
            Self::End(length) => out.extend(end(*length)),
        }
    }
}

/// A piece as it travels: what it is cut from, and where that stands in the whole.
pub(super) fn piece(position: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + bytes.len());
    head(position, bytes.len(), &mut out);
    out.extend_from_slice(bytes);
    out
}

/// The end, as it travels.
pub(super) fn end(position: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    head(position, 0, &mut out);
    out
}

fn head(position: u64, length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("pieces are short");
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

/// What is read next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Preamble,
    Head,
    /// The bytes of a piece, of which so many are missing.
    Bytes {
        position: u64,
        missing: usize,
    },
    Over,
}

/// Puts pieces together from bytes that come cut anywhere. Errors end it.
#[derive(Debug)]
pub(crate) struct Parser {
    stage: Stage,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    bytes: Vec<u8>,
    /// No piece may begin before this.
    position: u64,
    /// What of the lane was read.
    offset: u64,
}

impl Parser {
    pub(crate) fn new() -> Self {
        let (stage, head) = (Stage::Preamble, [0; HEAD_BYTES]);
        Self { stage, head, head_bytes: 0, bytes: Vec::new(), position: 0, offset: 0 }
    }

    /// Whether the end has come.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Takes from `bytes` what belongs to the next item, and answers it once it is whole. Nothing is left of `bytes` when it is not.
    ///
    /// # Errors
    /// [`FormatError`].
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Item>, FormatError> {
        loop {
            match self.stage {
                Stage::Preamble => {
                    let Some(head) = self.head(bytes) else { return Ok(None) };
                    let preamble = Preamble::read(head)?;
                    self.stage = Stage::Head;
                    return Ok(Some(Item::Preamble(preamble)));
                }
                Stage::Head => {
                    let Some(head) = self.head(bytes) else { return Ok(None) };
                    if let Some(end) = self.begin(head)? {
                        return Ok(Some(end));
                    }
                }
                Stage::Bytes { position, missing } => {
                    let part = self.cut(missing, bytes);
                    self.bytes.extend_from_slice(part);
                    let missing = missing - part.len();
                    if missing > 0 {
                        self.stage = Stage::Bytes { position, missing };
                        return Ok(None);
                    }
                    self.stage = Stage::Head;
                    let bytes = std::mem::take(&mut self.bytes);
                    return Ok(Some(Item::Piece(Piece { position, bytes, lane_end: self.offset })));
                }
                Stage::Over if bytes.is_empty() => return Ok(None),
                Stage::Over => return Err(FormatError::Behind),
            }
        }
    }

    /// At most so many, and counted.
    fn cut<'b>(&mut self, most: usize, bytes: &mut &'b [u8]) -> &'b [u8] {
        let (part, rest) = bytes.split_at(most.min(bytes.len()));
        self.offset += part.len() as u64;
        *bytes = rest;
        part
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEAD_BYTES]> {
        let part = self.cut(HEAD_BYTES - self.head_bytes, bytes);
        self.head[self.head_bytes..][..part.len()].copy_from_slice(part);
        self.head_bytes += part.len();
        if self.head_bytes < HEAD_BYTES {
            return None;
        }
        self.head_bytes = 0;
        Some(self.head)
    }

    /// A piece is waited for, or this is the end.
    fn begin(&mut self, head: [u8; HEAD_BYTES]) -> Result<Option<Item>, FormatError> {
        let [position @ .., a, b, c, d] = head;
        let (position, bytes) = (u64::from_le_bytes(position), u32::from_le_bytes([a, b, c, d]));
        let missing = usize::try_from(bytes).unwrap_or(usize::MAX);
        if missing > PIECE_BYTES_MAX {
            return Err(FormatError::TooLong { bytes });
        }
        if position < self.position {
            return Err(FormatError::Back { position, before: self.position });
        }
        let end = position.checked_add(bytes.into());
        self.position = end.ok_or(FormatError::NoPlace { position, bytes })?;
        if missing == 0 {
            self.stage = Stage::Over;
            return Ok(Some(Item::End(position)));
        }
        self.stage = Stage::Bytes { position, missing };
        Ok(None)
    }
}
