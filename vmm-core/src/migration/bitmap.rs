//! A set of pages as 64-bit words, the form in which Xen's log-dirty hands them out.
//!
//! An eighth of a byte a page. Whatever walks a set skips 512 clean pages by one comparison, so that a pass over a sleeping guest
//! of 64 GiB is 2 MiB of reading.

use super::Pfn;

const BITS: usize = 64;
/// Words that are skipped together: a cache line.
const LINE: usize = 8;

/// A set of pages below a fixed count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    pages: u32,
}

impl Bitmap {
    /// No page of `pages`.
    #[must_use]
    pub fn empty(pages: u32) -> Self {
        Self { words: vec![0; (pages as usize).div_ceil(BITS)], pages }
    }

    /// Every page of `pages`.
    #[must_use]
    pub fn full(pages: u32) -> Self {
        let mut all = Self { words: vec![u64::MAX; (pages as usize).div_ceil(BITS)], pages };
        all.trim();
        all
    }

    /// From words, lowest page in the lowest bit, as a log-dirty call fills them. Bits beyond `pages` are dropped, words that are
    /// missing are clean.
    #[must_use]
    pub fn from_words(mut words: Vec<u64>, pages: u32) -> Self {
        words.resize((pages as usize).div_ceil(BITS), 0);
        let mut set = Self { words, pages };
        set.trim();
        set
    }

    fn trim(&mut self) {
        let used = self.pages as usize % BITS;
        if used > 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << used) - 1;
        }
    }

    /// How many pages there could be.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// How many pages are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no page is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether this page is. One beyond the end is not.
    #[must_use]
    pub fn has(&self, page: Pfn) -> bool {
        let at = page.0 as usize;
        self.words.get(at / BITS).is_some_and(|word| word >> (at % BITS) & 1 == 1)
    }

    /// Puts a page in; true when it was not. One beyond the end stays out.
    pub fn insert(&mut self, page: Pfn) -> bool {
        if page.0 >= self.pages {
            return false;
        }
        let (word, bit) = (&mut self.words[page.0 as usize / BITS], 1 << (page.0 as usize % BITS));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a page out; true when it was in.
    pub fn remove(&mut self, page: Pfn) -> bool {
        if page.0 >= self.pages {
            return false;
        }
        let (word, bit) = (&mut self.words[page.0 as usize / BITS], 1 << (page.0 as usize % BITS));
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }

    /// Takes all pages out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Puts in all that `other` has.
    pub fn union(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.trim();
    }

    /// Takes out all that `other` has.
    pub fn subtract(&mut self, other: &Self) {
        for (word, less) in self.words.iter_mut().zip(&other.words) {
            *word &= !less;
        }
    }

    /// The first page at or after `from`.
    #[must_use]
    pub fn next(&self, from: Pfn) -> Option<Pfn> {
        let at = from.0 as usize;
        let first = self.words.get(at / BITS)? & (u64::MAX << (at % BITS));
        if first != 0 {
            return Some(pfn(at / BITS, first));
        }
        let after = at / BITS + 1;
        let found = self.words.get(after..)?.iter().position(|word| *word != 0)?;
        Some(pfn(after + found, self.words[after + found]))
    }

    /// All pages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Pfn> + '_ {
        let lines = self.words.chunks(LINE).enumerate();
        // One comparison a line where all is clean, which is nearly everywhere.
        let dirty = lines.filter(|(_, line)| line.iter().fold(0, |any, word| any | word) != 0);
        dirty.flat_map(|(at, line)| (at * LINE..).zip(line)).flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let page = (left != 0).then(|| pfn(index, left));
                left &= left.wrapping_sub(1);
                page
            })
        })
    }

    /// The pages below `end`, ascending.
    pub fn below(&self, end: u32) -> impl Iterator<Item = Pfn> + '_ {
        self.iter().take_while(move |page| page.0 < end)
    }

    /// How many runs of neighbours it has: what it costs to tell it as ranges.
    #[must_use]
    pub fn runs(&self) -> u32 {
        let mut before = 0;
        let mut runs = 0;
        for word in &self.words {
            let starts = word & !(word << 1 | before);
            runs += starts.count_ones();
            before = word >> (BITS - 1);
        }
        runs
    }
}

/// The lowest page of a word that has one.
fn pfn(word: usize, bits: u64) -> Pfn {
    let at = word * BITS + bits.trailing_zeros() as usize;
    Pfn(u32::try_from(at).expect("a bitmap has at most u32::MAX pages"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(pages in 1_u32..300, changes in prop::collection::vec((0_u32..320, any::<bool>()), 0..200)) {
            let (mut set, mut model) = (Bitmap::empty(pages), BTreeSet::new());
            for (page, is_in) in changes {
                if is_in {
                    prop_assert_eq!(set.insert(Pfn(page)), page < pages && model.insert(page));
                    if page >= pages { model.remove(&page); }
                } else {
                    prop_assert_eq!(set.remove(Pfn(page)), model.remove(&page));
                }
            }
            prop_assert_eq!(set.iter().map(|p| p.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.count() as usize, model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            let runs = model.iter().filter(|p| **p == 0 || !model.contains(&(**p - 1))).count();
            prop_assert_eq!(set.runs() as usize, runs);
            for from in 0..pages + 2 {
                prop_assert_eq!(set.next(Pfn(from)).map(|p| p.0), model.range(from..).next().copied());
                prop_assert_eq!(set.has(Pfn(from)), model.contains(&from));
            }
        }

        #[test]
        fn union_and_difference_are_those_of_sets(pages in 1_u32..200, a in any::<[u64; 4]>(), b in any::<[u64; 4]>()) {
            let (a, b) = (Bitmap::from_words(a.to_vec(), pages), Bitmap::from_words(b.to_vec(), pages));
            let (mut either, mut only) = (a.clone(), a.clone());
            either.union(&b);
            only.subtract(&b);
            for page in (0..pages).map(Pfn) {
                prop_assert_eq!(either.has(page), a.has(page) || b.has(page));
                prop_assert_eq!(only.has(page), a.has(page) && !b.has(page));
            }
            prop_assert_eq!(either.count() - b.count(), only.count());
            prop_assert!(Bitmap::full(pages).count() == pages);
        }
    }
}
