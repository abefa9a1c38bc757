//! A record's bytes made less, and as they were.
//!
//! ```text
//!   length as it was 4 │ an LZ4 block
//! ```
//!
//! LZ4, because a save must keep up with a fast disk: pages of zeros nearly vanish, and what does not shrink stays as it is.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use super::format::RECORD_BYTES;

const LENGTH_BYTES: usize = 4;
/// Less than a sixteenth is not worth unpacking.
const WORTH: usize = 16;

/// Packs records, one after the other, in one buffer.
pub(super) struct Packer {
    room: Vec<u8>,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self { room: vec![0; LENGTH_BYTES + get_maximum_output_size(RECORD_BYTES)] }
    }

    /// `None` when it would save too little.
    pub(super) fn pack(&mut self, bytes: &[u8]) -> Option<&mut [u8]> {
        let length = u32::try_from(bytes.len()).ok()?;
        let (head, body) = self.room.split_at_mut(LENGTH_BYTES);
        head.copy_from_slice(&length.to_le_bytes());
        let packed = LENGTH_BYTES + compress_into(bytes, body).ok()?;
        (packed + bytes.len() / WORTH <= bytes.len()).then(|| &mut self.room[..packed])
    }
}

/// Unpacks into `record`; answers how much it was, `None` for what no packer has packed.
pub(super) fn unpack(packed: &[u8], record: &mut [u8]) -> Option<usize> {
    let (length, body) = packed.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let room = record.get_mut(..length)?;
    (decompress_into(body, room).ok()? == length).then_some(length)
}
