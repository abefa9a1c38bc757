//! LZ4 and Zstandard of single pages, and of the blocks that differ. Keeps its buffers from page to page.

use lz4_flex::block::{CompressTable, compress_into_with_table};

use super::sums::{BLOCK, BLOCKS, Key, Sums};
use super::{DecodeError, PAGE, Page};
use crate::migration::{Encoding, Pack};

/// Zstandard's fastest level that still finds entropy: pages are small, and higher ones gain little on them.
const LEVEL: i32 = 1;

/// Packs and unpacks pages.
pub struct Packer {
    key: Key,
    lz4: CompressTable,
    zstd: zstd::bulk::Compressor<'static>,
    unzstd: zstd::bulk::Decompressor<'static>,
    room: Vec<u8>,
}

impl Packer {
    /// With the key of this migration's sums.
    ///
    /// # Errors
    /// There is no memory for Zstandard's tables.
    pub fn new(key: Key) -> std::io::Result<Self> {
        Ok(Self {
            key,
            lz4: CompressTable::small(),
            zstd: zstd::bulk::Compressor::new(LEVEL)?,
            unzstd: zstd::bulk::Decompressor::new()?,
            // LZ4 refuses to begin with less.
            room: vec![0; lz4_flex::block::get_maximum_output_size(PAGE)],
        })
    }

    /// Sums of a page, to be kept.
    #[must_use]
    pub fn sums(&self, page: &Page) -> Sums {
        Sums::of(self.key, page)
    }

    /// Appends the page, packed if that makes it smaller.
    pub fn pack(&mut self, pack: Pack, page: &Page, out: &mut Vec<u8>) -> Encoding {
        let packed = match pack {
            Pack::Raw => None,
            Pack::Lz4 => compress_into_with_table(page, &mut self.room, &mut self.lz4).ok(),
            Pack::Zstd => self.zstd.compress_to_buffer(page, &mut self.room[..]).ok(),
        };
        match (packed.filter(|length| *length < PAGE), pack) {
            (Some(length), Pack::Lz4) => {
                out.extend_from_slice(&self.room[..length]);
                Encoding::Lz4
            }
            (Some(length), Pack::Zstd) => {
                out.extend_from_slice(&self.room[..length]);
                Encoding::Zstd
            }
            _ => {
                out.extend_from_slice(page);
                Encoding::Raw
            }
        }
    }

    pub(super) fn unpack(
        &mut self,
        encoding: Encoding,
        body: &[u8],
        page: &mut Page,
    ) -> Result<(), DecodeError> {
        let length = match encoding {
            Encoding::Lz4 => lz4_flex::block::decompress_into(body, page).ok(),
            _ => self.unzstd.decompress_to_buffer(body, &mut page[..]).ok(),
        };
        length.filter(|length| *length == PAGE).map(|_| ()).ok_or(DecodeError::Packed { encoding })
    }

    /// Appends the blocks that differ. False, and nothing appended, when most do: then the whole page packs better.
    pub(super) fn blocks(&mut self, sums: &Sums, page: &Page, out: &mut Vec<u8>) -> bool {
        let mask = sums.differing(&self.sums(page));
        if mask.count_ones() as usize > BLOCKS * 3 / 4 {
            return false;
        }
        let mut changed = Vec::with_capacity(PAGE);
        for index in (0..BLOCKS).filter(|index| mask >> index & 1 == 1) {
            changed.extend_from_slice(&page[index * BLOCK..(index + 1) * BLOCK]);
        }
        out.extend(mask.to_le_bytes());
        let packed = compress_into_with_table(&changed, &mut self.room, &mut self.lz4).ok();
        match packed.filter(|length| *length < changed.len()) {
            Some(length) => out.extend_from_slice(&self.room[..length]),
            None => out.extend_from_slice(&changed),
        }
        true
    }

    /// Blocks that did not shrink are as long as they are; whatever is shorter is packed.
    pub(super) fn unblock(&mut self, body: &[u8], page: &mut Page) -> Result<(), DecodeError> {
        let (mask, rest) = body.split_first_chunk::<2>().ok_or(DecodeError::Blocks)?;
        let mask = u16::from_le_bytes(*mask);
        let expected = mask.count_ones() as usize * BLOCK;
        let blocks = if rest.len() == expected {
            rest
        } else {
            let room = self.room.get_mut(..expected).ok_or(DecodeError::Blocks)?;
            let length = lz4_flex::block::decompress_into(rest, room);
            if length.ok() != Some(expected) {
                return Err(DecodeError::Blocks);
            }
            &self.room[..expected]
        };
        let changed = (0..BLOCKS).filter(|index| mask >> index & 1 == 1);
        for (index, block) in changed.zip(blocks.chunks_exact(BLOCK)) {
            page[index * BLOCK..(index + 1) * BLOCK].copy_from_slice(block);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}
