//! Which frames there are, as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither meet nor overlap: their start, and their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extents {
    ranges: BTreeMap<u64, u64>,
}

impl Extents {
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    pub(super) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, end)| *end)
    }

    pub(super) fn contains(&self, at: u64) -> bool {
        self.around(at).is_some()
    }

    /// The range that has it.
    fn around(&self, at: u64) -> Option<Range<u64>> {
        let (start, end) = self.ranges.range(..=at).next_back()?;
        (at < *end).then_some(*start..*end)
    }

    /// The first range of absent ones in `within`.
    pub(super) fn gap(&self, within: Range<u64>) -> Option<Range<u64>> {
        let start = self.around(within.start).map_or(within.start, |range| range.end);
        let end = self.ranges.range(start..).next().map_or(within.end, |(start, _)| *start);
        let gap = start..end.min(within.end);
        (!gap.is_empty()).then_some(gap)
    }

    /// The last range of present ones in `within`.
    pub(super) fn last(&self, within: Range<u64>) -> Option<Range<u64>> {
        let (start, end) = self.ranges.range(..within.end).next_back()?;
        let found = (*start).max(within.start)..(*end).min(within.end);
        (!found.is_empty()).then_some(found)
    }

    /// Adds a range of which none is there.
    pub(super) fn insert(&mut self, mut range: Range<u64>) {
        if let Some(end) = self.ranges.remove(&range.end) {
            range.end = end;
        }
        if let Some((start, end)) = self.ranges.range(..range.start).next_back()
            && *end == range.start
        {
            range.start = *start;
        }
        self.ranges.insert(range.start, range.end);
    }

    /// Takes out a range of which all are there.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        let Some(around) = self.around(range.start) else { return };
        self.ranges.remove(&around.start);
        for rest in [around.start..range.start, range.end..around.end] {
            if !rest.is_empty() {
                self.ranges.insert(rest.start, rest.end);
            }
        }
    }

    /// Takes out what is there of a range.
    pub(super) fn remove_any(&mut self, range: Range<u64>) {
        while let Some(last) = self.last(range.clone()) {
            self.remove(last);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const END: u64 = 64;

    proptest! {
        #[test]
        fn ranges_are_the_set_that_they_stand_for(steps in vec((0..END, 1_u64..9, any::<bool>()), 0..60)) {
            let (mut extents, mut set) = (Extents::default(), BTreeSet::new());
            for (start, length, adds) in steps {
                if !adds && length > 4 {
                    extents.remove_any(start..start + length);
                }
                for at in start..start + length {
                    match (adds, extents.contains(at)) {
                        (true, false) => extents.insert(at..at + 1),
                        (false, true) => extents.remove(at..at + 1),
                        _ => {}
                    }
                    if adds { set.insert(at) } else { set.remove(&at) };
                }
                prop_assert!(extents.iter().eq(set.iter().copied()));
                prop_assert_eq!(extents.count(), set.len() as u64);
                prop_assert_eq!(extents.end(), set.last().map_or(0, |last| last + 1));
                let ends: Vec<u64> = extents.ranges.values().copied().collect();
                prop_assert!(ends.iter().all(|end| !extents.ranges.contains_key(end)), "they meet");
                let gap = (start..END).find(|at| !set.contains(at));
                prop_assert_eq!(extents.gap(start..END).map(|gap| gap.start), gap);
                let last = (0..start).rfind(|at| set.contains(at));
                prop_assert_eq!(extents.last(0..start).map(|last| last.end - 1), last);
            }
        }
    }
}
