//! The encodings of a page, as bytes: pure functions, so that sender, receiver, simulator and fuzzer run the same ones.
//!
//! ```text
//!   page ─► zeros? ─► a twin in the batch? ─► little changed since it was last sent? ─► pack (LZ4, Zstandard) ─► smaller? ─► or as it is
//!           Zero       Same                    Delta (we kept a copy)                    Lz4, Zstd                              Raw
//!                                              Blocks (we kept sums)
//! ```
//!
//! | encoding | body |
//! |---|---|
//! | Zero | nothing |
//! | Same | position of the twin in its batch, u16 little-endian |
//! | Delta | runs that differ ([`delta`]) |
//! | Blocks | which of 16 blocks differ, u16 little-endian, and those blocks one after the other, packed when that is smaller ([`sums`]) |
//! | Lz4, Zstd | one block of LZ4, one frame of Zstandard, of 4096 bytes |
//! | Raw | 4096 bytes |
//!
//! A body's length travels outside of it. [`decode`] takes a stranger's bytes: whatever they are, it ends with a page or an error, reads and
//! writes nothing beyond them, and allocates nothing by what they say.
//!
//! **Why here.** They are pure, they are what the policy chooses among, and tests of the policy and of the bytes belong together. The price: vmm-core
//! links Zstandard's C library, which a linker leaves out of programs that never call it (`vmmctl`, the manager). Pure Rust writes Zstandard several
//! times slower, and a sender's time is what this is about. The receiver runs in the agent's confined worker, like all that reads a stranger's bytes.

mod copies;
pub mod delta;
mod pack;
pub mod sums;
pub mod twins;
pub mod zero;

#[cfg(test)]
mod tests;

pub use copies::Copies;
pub use pack::Packer;
pub use sums::{Key, Sums};

use super::{Encoding, PAGE_BYTES, Pack, Tricks};

/// Bytes of a page.
pub const PAGE: usize = PAGE_BYTES as usize;

/// A page's contents.
pub type Page = [u8; PAGE];

/// What is known of what was sent last.
#[derive(Clone, Copy, Debug)]
pub enum Against<'a> {
    /// Nothing.
    Nothing,
    /// All of it.
    Copy(&'a Page),
    /// Sums of its blocks.
    Sums(&'a Sums),
}

/// What cannot be a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A body of a length that its encoding never has.
    #[error("a page encoded as {encoding:?} has a body of {length} bytes")]
    Length {
        /// As it says.
        encoding: Encoding,
        /// As it is.
        length: usize,
    },
    /// A run of a delta beyond the page, or cut off.
    #[error("a delta does not fit its page at byte {at}")]
    Delta {
        /// Of the delta.
        at: usize,
    },
    /// Blocks that are not those that are said to follow.
    #[error("blocks that differ do not fit what follows them")]
    Blocks,
    /// No page comes of unpacking it.
    #[error("a page packed as {encoding:?} cannot be unpacked")]
    Packed {
        /// As it says.
        encoding: Encoding,
    },
    /// The twin comes later, or is none.
    #[error("a page is the same as number {of}, which was not decoded before it")]
    Twin {
        /// The number that it says.
        of: usize,
    },
}

/// Appends the smallest encoding of a page that was tried. Twins are the batch's affair ([`twins`]).
pub fn encode(
    packer: &mut Packer,
    page: &Page,
    against: Against<'_>,
    how: (Pack, Tricks),
    out: &mut Vec<u8>,
) -> Encoding {
    let (pack, tricks) = how;
    if tricks.zero && zero::is_zero(page) {
        return Encoding::Zero;
    }
    let start = out.len();
    let changed = match against {
        Against::Copy(copy) if tricks.delta && delta::encode(copy, page, PAGE / 2, out) => {
            Some(Encoding::Delta)
        }
        Against::Sums(sums) if tricks.delta && packer.blocks(sums, page, out) => {
            Some(Encoding::Blocks)
        }
        _ => None,
    };
    let changed_len = out.len() - start;
    // What is this small need not be packed to know that it is smaller.
    if let Some(encoding) = changed.filter(|_| changed_len <= PAGE / 8) {
        return encoding;
    }
    let middle = out.len();
    let packed = packer.pack(pack, page, out);
    let packed_len = out.len() - middle;
    match changed {
        Some(encoding) if changed_len <= packed_len => {
            out.truncate(middle);
            encoding
        }
        _ => {
            out.drain(start..middle);
            packed
        }
    }
}

/// Makes the page of its encoding. `page` holds what was last sent of it. For [`Encoding::Same`] see [`twins::resolve`].
///
/// # Errors
/// [`DecodeError`]; `page` holds anything then.
pub fn decode(
    packer: &mut Packer,
    encoding: Encoding,
    body: &[u8],
    page: &mut Page,
) -> Result<(), DecodeError> {
    let wrong = DecodeError::Length { encoding, length: body.len() };
    match encoding {
        Encoding::Zero if body.is_empty() => page.fill(0),
        Encoding::Raw if body.len() == PAGE => page.copy_from_slice(body),
        Encoding::Zero | Encoding::Raw | Encoding::Same => return Err(wrong),
        Encoding::Delta => delta::decode(body, page)?,
        Encoding::Blocks => packer.unblock(body, page)?,
        Encoding::Lz4 | Encoding::Zstd => packer.unpack(encoding, body, page)?,
    }
    Ok(())
}
