//! What a frame holds.
//!
//! Guests of tests hold patterns, which are kept as what they are made from. A pattern is told by its first bytes, so that one that has
//! travelled as bytes is a pattern again where it arrives.

use std::sync::Arc;

use crate::sim::rng::Rng;
use crate::stream::image::{PageBytes, ZERO_PAGE};

/// A page that is not zero.
#[derive(Clone, Debug)]
pub(crate) enum Contents {
    Pattern(Pattern),
    Bytes(Arc<PageBytes>),
}

/// What a page is made from. A new version differs from the old one in a few bytes, a new seed in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) seed: u64,
    pub(crate) version: u64,
}

/// Never zero, so that no pattern is a page of zeros.
const MARK: u64 = 0x5041_4745_5041_4745;
/// Mark, seed and version.
const HEAD_BYTES: usize = 24;

impl Pattern {
    /// A quarter each: noise; words of a small vocabulary; mostly zero; one word again and again.
    fn fill(self, page: &mut PageBytes) {
        let mut rng = Rng::new(self.seed);
        let kind = rng.next() % 4;
        let one = rng.next();
        for (index, word) in page.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let noise = rng.next();
            let value = match kind {
                0 => noise,
                1 => (noise % 23).wrapping_mul(0x0101_0101_0101_0101),
                2 if index.is_multiple_of(16) => noise,
                2 => 0,
                _ => one,
            };
            *word = value.to_le_bytes();
        }
        let head = [MARK, self.seed, self.version];
        for (word, value) in page.as_chunks_mut::<8>().0.iter_mut().zip(head) {
            *word = value.to_le_bytes();
        }
    }

    fn told_by(page: &PageBytes) -> Option<Self> {
        let mut words =
            page[..HEAD_BYTES].as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let (mark, seed, version) = (words.next()?, words.next()?, words.next()?);
        if mark != MARK {
            return None;
        }
        let pattern = Self { seed, version };
        let mut expected = ZERO_PAGE;
        pattern.fill(&mut expected);
        (expected == *page).then_some(pattern)
    }
}

impl Contents {
    /// `None` for a page of zeros.
    pub(crate) fn of(page: &PageBytes) -> Option<Self> {
        if *page == ZERO_PAGE {
            return None;
        }
        Some(match Pattern::told_by(page) {
            Some(pattern) => Self::Pattern(pattern),
            None => Self::Bytes(Arc::new(*page)),
        })
    }

    pub(crate) fn pattern(seed: u64, version: u64) -> Self {
        Self::Pattern(Pattern { seed, version })
    }

    pub(crate) fn copy_to(&self, page: &mut PageBytes) {
        match self {
            Self::Pattern(pattern) => pattern.fill(page),
            Self::Bytes(bytes) => page.copy_from_slice(&bytes[..]),
        }
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pattern(own), Self::Pattern(other)) => own == other,
            (Self::Bytes(own), Self::Bytes(other)) => own == other,
            // Bytes that are a pattern's are kept as the pattern.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pattern_that_travelled_as_bytes_is_a_pattern_again(seed: u64, version: u64, at in 0..4096_usize) {
            let (contents, mut page) = (Contents::pattern(seed, version), ZERO_PAGE);
            contents.copy_to(&mut page);
            prop_assert_eq!(Contents::of(&page), Some(contents.clone()));
            page[at] ^= 1;
            let changed = Contents::of(&page).unwrap();
            prop_assert_ne!(&changed, &contents);
            let mut again = ZERO_PAGE;
            changed.copy_to(&mut again);
            prop_assert_eq!(again, page);
        }
    }

    #[test]
    fn zeros_are_nothing() {
        assert_eq!(Contents::of(&ZERO_PAGE), None);
    }
}
