//! Many of a guest's frames at once: as a set, and as a batch for one hypercall.

use crate::frame::Gfn;

const BITS: u64 = u64::BITS as u64;

/// A set of frames below an end: a bit each, so 32 KiB for 1 GiB of guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GfnSet {
    words: Vec<u64>,
    end: u64,
}

impl GfnSet {
    /// No frame yet, room for those below `end`.
    #[must_use]
    pub fn new(end: Gfn) -> Self {
        let words = usize::try_from(end.0.div_ceil(BITS)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], end: end.0 }
    }

    /// Frames are below this.
    #[must_use]
    pub fn end(&self) -> Gfn {
        Gfn(self.end)
    }

    /// Adds a frame. False when it is not below the end: nothing is forgotten unnoticed.
    #[must_use]
    pub fn insert(&mut self, gfn: Gfn) -> bool {
        self.change(gfn, |word, bit| word | bit)
    }

    /// Takes a frame out. False when it is not below the end.
    pub fn remove(&mut self, gfn: Gfn) -> bool {
        self.change(gfn, |word, bit| word & !bit)
    }

    fn change(&mut self, gfn: Gfn, change: impl FnOnce(u64, u64) -> u64) -> bool {
        let (word, bit) = place(gfn);
        let there = gfn.0 < self.end;
        if there && let Some(word) = self.words.get_mut(word) {
            *word = change(*word, bit);
        }
        there
    }

    /// Is it in there?
    #[must_use]
    pub fn contains(&self, gfn: Gfn) -> bool {
        let (word, bit) = place(gfn);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// In ascending order. Where nothing is set, 64 frames cost one comparison.
    pub fn iter(&self) -> impl Iterator<Item = Gfn> + '_ {
        let set = self.words.iter().zip(0_u64..).filter(|(word, _)| **word != 0);
        set.flat_map(|(word, index)| Bits(*word).map(move |bit| Gfn(index * BITS + bit)))
    }

    /// Adds what the other has. The end becomes the higher of both.
    pub fn add(&mut self, other: &Self) {
        self.grow(other.end());
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Takes out what the other has.
    pub fn subtract(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// Makes room up to a higher end.
    pub fn grow(&mut self, end: Gfn) {
        if end.0 > self.end {
            let empty = Self::new(end);
            self.words.resize(empty.words.len(), 0);
            self.end = end.0;
        }
    }

    /// Becomes a copy of a bitmap of Xen's. What Xen writes above the end is cut off.
    #[cfg(feature = "libxc")]
    pub(crate) fn copy_from(&mut self, bitmap: &[u64], end: Gfn) {
        *self = Self::new(end);
        for (word, bits) in self.words.iter_mut().zip(bitmap) {
            *word = *bits;
        }
        let above = end.0 % BITS;
        if let (Some(last), true) = (self.words.last_mut(), above != 0) {
            *last &= (1 << above) - 1;
        }
    }
}

fn place(gfn: Gfn) -> (usize, u64) {
    (usize::try_from(gfn.0 / BITS).unwrap_or(usize::MAX), 1 << (gfn.0 % BITS))
}

/// The bits of a word that are set.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let bit = self.0.trailing_zeros();
        // No bit is left when all 64 are zero.
        self.0 &= self.0.checked_sub(1)?;
        Some(bit.into())
    }
}

/// Frames for one hypercall: never more than Xen takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GfnBatch(Vec<Gfn>);

impl GfnBatch {
    /// Xen answers E2BIG for more.
    pub const LEN_MAX: usize = 1024;

    /// The first frames of many, as many as fit. Ends a loop by being empty.
    #[must_use]
    pub fn take_from(gfns: &mut impl Iterator<Item = Gfn>) -> Self {
        Self(gfns.take(Self::LEN_MAX).collect())
    }

    /// `None` for more than fit.
    #[must_use]
    pub fn new(gfns: &[Gfn]) -> Option<Self> {
        (gfns.len() <= Self::LEN_MAX).then(|| Self(gfns.to_vec()))
    }

    /// All of them, in as many batches as it takes.
    pub fn all(gfns: impl IntoIterator<Item = Gfn>) -> impl Iterator<Item = Self> {
        let mut gfns = gfns.into_iter();
        std::iter::from_fn(move || Some(Self::take_from(&mut gfns)).filter(|b| !b.is_empty()))
    }

    /// In their order.
    #[must_use]
    pub fn gfns(&self) -> &[Gfn] {
        &self.0
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    const END: u64 = 333;

    fn set(gfns: &BTreeSet<u64>) -> GfnSet {
        let mut set = GfnSet::new(Gfn(END));
        assert!(gfns.iter().all(|gfn| set.insert(Gfn(*gfn))));
        set
    }

    fn told(set: &GfnSet) -> BTreeSet<u64> {
        set.iter().map(|gfn| gfn.0).collect()
    }

    proptest! {
        #[test]
        fn a_set_of_frames_is_a_set(a in btree_set(0..END, 0..80), b in btree_set(0..END, 0..80)) {
            let (mut sum, mut rest) = (set(&a), set(&a));
            prop_assert_eq!(told(&sum), a.clone());
            prop_assert_eq!(sum.len(), a.len() as u64);
            prop_assert_eq!(sum.is_empty(), a.is_empty());
            prop_assert!((0..END + 64).all(|gfn| sum.contains(Gfn(gfn)) == a.contains(&gfn)));
            sum.add(&set(&b));
            rest.subtract(&set(&b));
            prop_assert_eq!(told(&sum), a.union(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(told(&rest), a.difference(&b).copied().collect::<BTreeSet<_>>());
            for gfn in &a {
                prop_assert!(sum.remove(Gfn(*gfn)));
            }
            prop_assert_eq!(told(&sum), b.difference(&a).copied().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn what_is_not_below_the_end_is_not_taken() {
        let mut set = GfnSet::new(Gfn(END));
        assert!(!set.insert(Gfn(END)) && !set.insert(Gfn(u64::MAX)) && set.is_empty());
        set.grow(Gfn(END + 1));
        assert!(set.insert(Gfn(END)) && set.end() == Gfn(END + 1));
    }

    #[test]
    fn frames_come_in_batches_that_xen_takes() {
        let batches: Vec<usize> = GfnBatch::all((0..2500).map(Gfn)).map(|b| b.len()).collect();
        assert_eq!(batches, [1024, 1024, 452]);
        assert_eq!(GfnBatch::all([]).count(), 0);
        assert_eq!(GfnBatch::new(&[Gfn(0); 1025]), None);
    }
}
