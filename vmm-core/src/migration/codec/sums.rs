//! Which blocks of a page differ from what was last sent, without a copy of it: sixteen sums of 256 bytes each, 128 bytes a page.
//!
//! A copy finds each byte that changed and takes 4096 bytes of dom0's memory; sums find each block and take a thirty-second of that, so all pages
//! can have them. That is what makes a page cheap that was cool when it was sent and was written afterwards: nobody could know, and every page has them.
//!
//! A sum is 64 bits, by multiplying and folding with a key that is drawn for each migration. Two contents of a block have the same sum
//! once in 2^64: a guest of 64 GiB that is sent four times over compares 2^30 blocks, so one in 2^34 such migrations would miss a change. Who
//! could make two such contents on purpose would need the key, and would harm nobody but itself.

use super::{PAGE, Page};

/// Bytes of a block.
pub const BLOCK: usize = 256;
/// Blocks of a page.
pub const BLOCKS: usize = PAGE / BLOCK;

/// Drawn at random for each migration, by who has randomness.
#[derive(Clone, Copy)]
pub struct Key([u64; 2]);

impl Key {
    /// Of random bytes.
    #[must_use]
    pub fn new(random: [u64; 2]) -> Self {
        Self(random)
    }
}

/// Sums of a page's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums([u64; BLOCKS]);

impl Sums {
    /// Of this page.
    #[must_use]
    pub fn of(key: Key, page: &Page) -> Self {
        let mut sums = [0; BLOCKS];
        for (sum, block) in sums.iter_mut().zip(page.chunks_exact(BLOCK)) {
            *sum = sum_of(key, block);
        }
        Self(sums)
    }

    /// One sum of all blocks.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.0.iter().fold(1, |whole, sum| fold(whole ^ *sum, 0x9e37_79b9_7f4a_7c15))
    }

    /// The blocks whose sums differ, the first in the lowest bit.
    #[must_use]
    pub fn differing(&self, other: &Self) -> u16 {
        let differ = |index: &usize| self.0[*index] != other.0[*index];
        (0..BLOCKS).filter(differ).fold(0, |mask, index| mask | 1 << index)
    }
}

/// Two lanes, so that one multiplication does not wait for the other.
fn sum_of(key: Key, block: &[u8]) -> u64 {
    let word =
        |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let mut lanes = key.0;
    for piece in block.chunks_exact(32) {
        lanes[0] = fold(lanes[0] ^ word(&piece[..8]), key.0[1] ^ word(&piece[8..16]));
        lanes[1] = fold(lanes[1] ^ word(&piece[16..24]), key.0[0] ^ word(&piece[24..32]));
    }
    fold(lanes[0] ^ key.0[1], lanes[1] ^ key.0[0])
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are wanted")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}
