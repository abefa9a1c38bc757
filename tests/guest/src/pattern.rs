//! Blocks that know where they belong and when they were written: a header and a filling that follows from it.
//!
//! A block that was lost, swapped, torn or mixed with an older one no longer fits its own header.

const MAGIC: u64 = 0x564d_4d2d_4755_4553;
/// Magic, place, generation.
const HEADER: usize = 3;

/// What a block says about itself.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// Nobody wrote it, or somebody else did.
    Foreign,
    Whole {
        generation: u64,
    },
    Damaged,
}

/// Fills a block for its place.
pub(crate) fn write(block: &mut [u64], place: u64, generation: u64) {
    block[0] = MAGIC;
    block[1] = place;
    block[2] = generation;
    let mut word = seed(place, generation);
    for slot in &mut block[HEADER..] {
        *slot = word;
        word = next(word);
    }
}

/// Reads a block back at the place where it was found.
pub(crate) fn read(block: &[u64], place: u64) -> Seen {
    if block[0] != MAGIC {
        return Seen::Foreign;
    }
    let generation = block[2];
    let mut word = seed(place, generation);
    let whole = block[HEADER..].iter().all(|slot| {
        let fits = *slot == word;
        word = next(word);
        fits
    });
    if whole && block[1] == place { Seen::Whole { generation } } else { Seen::Damaged }
}

fn seed(place: u64, generation: u64) -> u64 {
    (place ^ generation.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// A step of Marsaglia's xorshift: cheap under emulation, and every bit moves.
fn next(word: u64) -> u64 {
    let word = word ^ (word << 13);
    let word = word ^ (word >> 7);
    word ^ (word << 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_fits_its_place_and_no_other() {
        let mut block = [0; 512];
        assert_eq!(read(&block, 7), Seen::Foreign);
        write(&mut block, 7, 3);
        assert_eq!(read(&block, 7), Seen::Whole { generation: 3 });
        assert_eq!(read(&block, 8), Seen::Damaged);
    }

    #[test]
    fn one_changed_bit_shows_wherever_it_is() {
        for at in 1..512 {
            let mut block = [0; 512];
            write(&mut block, 7, 3);
            block[at] ^= 1 << (at % 64);
            assert_eq!(read(&block, 7), Seen::Damaged, "word {at}");
        }
    }
}
