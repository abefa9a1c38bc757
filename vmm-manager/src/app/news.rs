//! What changed when: for each object the revision of its last change, so that whoever has seen everything up to some revision is told
//! the rest, each object once.
//!
//! ```text
//!   touched(object) ─► revision 43      since(41) ─► the objects of 42, 43, … as they are now
//!   gone(object)    ─► revision 44
//! ```
//!
//! Nothing is queued for anybody, so nobody can be too slow: an object that changes a hundred times has one revision. Only of objects
//! that are gone something must be kept; beyond [`GONE_MAX`] of them the oldest are forgotten, and a cursor from before begins anew.

use std::collections::BTreeMap;

use vmm_core::id::{GroupId, HostId, PoolId, SiteId, TaskId, VmId};

/// How far somebody has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// All changes up to this one.
    pub(crate) revision: u64,
    /// The last revision when the look from the beginning began: what had gone by then was never shown.
    pub(crate) base: u64,
}

impl Seen {
    /// Whoever sees this one's ends is told of all that he can miss.
    fn ends(self) -> u64 {
        self.revision.max(self.base)
    }
}

/// Objects that are gone and remembered.
const GONE_MAX: usize = 10_000;

/// Something that has a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Host(HostId),
    Vm(VmId),
    Task(TaskId),
    Pool(PoolId),
    Site(SiteId),
    Group(GroupId),
}

/// One object, at the revision of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) revision: u64,
    pub(crate) object: Object,
    pub(crate) is_gone: bool,
}

/// The revisions of all objects.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    revision: u64,
    /// What changed, oldest change first.
    changed: BTreeMap<u64, Object>,
    /// What is gone, likewise.
    gone: BTreeMap<u64, Object>,
    /// Where an object stands in one of them.
    revisions: BTreeMap<Object, u64>,
    /// Whoever has not seen this one cannot be told what is gone.
    forgotten: u64,
}

impl Journal {
    /// Nothing was seen.
    pub(crate) fn start(&self) -> Seen {
        Seen { revision: 0, base: self.revision }
    }

    /// Everything was seen.
    pub(crate) fn end(&self) -> Seen {
        Seen { revision: self.revision, base: 0 }
    }

    pub(crate) fn touched(&mut self, object: Object) {
        let revision = self.next(object);
        self.changed.insert(revision, object);
    }

    pub(crate) fn gone(&mut self, object: Object) {
        let revision = self.next(object);
        self.gone.insert(revision, object);
        if self.gone.len() > GONE_MAX
            && let Some((revision, object)) = self.gone.pop_first()
        {
            self.revisions.remove(&object);
            self.forgotten = revision;
        }
    }

    fn next(&mut self, object: Object) -> u64 {
        self.revision += 1;
        if let Some(old) = self.revisions.insert(object, self.revision) {
            self.changed.remove(&old);
            self.gone.remove(&old);
        }
        self.revision
    }

    /// Whether one who has seen so much can be told all that has happened since.
    pub(crate) fn knows(&self, seen: Seen) -> bool {
        (self.forgotten..=self.revision).contains(&seen.ends()) && seen.revision <= self.revision
    }

    /// What has changed since, oldest change first.
    pub(crate) fn since(&self, seen: Seen) -> impl Iterator<Item = News> {
        let mut changed = self.changed.range(seen.revision.saturating_add(1)..).peekable();
        let mut gone = self.gone.range(seen.ends().saturating_add(1)..).peekable();
        std::iter::from_fn(move || {
            let is_gone = match (changed.peek(), gone.peek()) {
                (Some((changed, _)), Some((gone, _))) => gone < changed,
                (changed, _) => changed.is_none(),
            };
            let next = if is_gone { gone.next() } else { changed.next() };
            next.map(|(&revision, &object)| News { revision, object, is_gone })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn vm(n: usize) -> Object {
        let mut id = [0; 16];
        // The bytes behind say what kind of uuid it is.
        id[..4].copy_from_slice(&u32::try_from(n).unwrap().to_be_bytes());
        Object::Vm(VmId::from_random(id))
    }

    fn told(journal: &Journal, seen: Seen) -> Vec<(Object, bool)> {
        journal.since(seen).map(|news| (news.object, news.is_gone)).collect()
    }

    #[test]
    fn an_object_that_changed_often_is_told_once_and_last() {
        let mut journal = Journal::default();
        for n in [1, 2, 1, 3, 1] {
            journal.touched(vm(n));
        }
        let late = Seen { revision: 4, base: 0 };
        let all = [(vm(2), false), (vm(3), false), (vm(1), false)];
        assert_eq!(told(&journal, journal.start()), all);
        assert_eq!(told(&journal, late), [(vm(1), false)]);
        assert_eq!(told(&journal, journal.end()), []);
        journal.gone(vm(1));
        assert_eq!(told(&journal, journal.start()), all[..2], "never seen");
        assert_eq!(told(&journal, late), [(vm(1), true)]);
        journal.touched(vm(1));
        assert_eq!(told(&journal, late), [(vm(1), false)], "it is back");
    }

    #[test]
    fn who_slept_through_too_many_ends_begins_anew_and_comes_to_the_end() {
        let mut journal = Journal::default();
        for n in 0..10 {
            journal.touched(vm(n));
        }
        let old = journal.end();
        for n in 10..10 + GONE_MAX {
            journal.touched(vm(n));
            journal.gone(vm(n));
        }
        assert!(journal.knows(old));
        journal.gone(vm(0));
        assert!(!journal.knows(old) && journal.knows(journal.end()));
        let another_run = Seen { revision: journal.end().revision + 1, base: 0 };
        assert!(!journal.knows(another_run));
        assert_eq!(journal.gone.len(), GONE_MAX);
        // What is old may be older than what is forgotten: the pages of a look from the beginning go on all the same.
        let mut seen = journal.start();
        let mut shown = 0;
        while let Some(news) = journal.since(seen).next() {
            assert!(!news.is_gone && journal.knows(seen));
            seen.revision = news.revision;
            shown += 1;
        }
        assert_eq!(shown, 9);
    }

    proptest! {
        /// Whoever follows, in pages of any size and with any pauses, ends with what there is.
        #[test]
        fn a_follower_ends_with_the_truth(
            steps in proptest::collection::vec((0_usize..12, 0_u8..4, 1_usize..5), 1..200),
        ) {
            let mut journal = Journal::default();
            let mut truth: BTreeMap<Object, u32> = BTreeMap::new();
            let mut copy: BTreeMap<Object, u32> = BTreeMap::new();
            let mut seen = None;
            let mut follow = |journal: &Journal, truth: &BTreeMap<Object, u32>, count: usize| {
                let seen = seen.get_or_insert_with(|| journal.start());
                for news in journal.since(*seen).take(count).collect::<Vec<_>>() {
                    match truth.get(&news.object) {
                        Some(state) if !news.is_gone => copy.insert(news.object, *state),
                        _ => copy.remove(&news.object),
                    };
                    seen.revision = news.revision;
                }
                copy.clone()
            };
            for (n, what, count) in steps {
                match what {
                    0 if truth.remove(&vm(n)).is_some() => journal.gone(vm(n)),
                    1 | 2 => {
                        *truth.entry(vm(n)).or_default() += 1;
                        journal.touched(vm(n));
                    }
                    _ => drop(follow(&journal, &truth, count)),
                }
            }
            prop_assert_eq!(follow(&journal, &truth, usize::MAX), truth);
        }
    }
}
