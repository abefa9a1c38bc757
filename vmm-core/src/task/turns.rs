//! Whose turn it is: so many changes of a class on a host at a time, so many in all, the others in the order in which they came.
//!
//! ```text
//!   arrive ─► room in its lane, and nobody waits there ─► runs ─► end ─► whoever is first among those whose lane has room
//!                     └─ otherwise: waits, in order
//! ```
//!
//! A lane is a host and a class. A full lane holds up nobody in another one. Pure: it names tasks and starts none.

use std::collections::BTreeMap;

use crate::id::{HostId, TaskId};

/// What a change mostly costs its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Building a VM: its memory is filled.
    Build,
    /// A VM's memory to a file or from one.
    Transfer,
    /// A word to the guest or to Xen.
    Light,
}

impl Class {
    /// For people: several of them.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Build => "builds",
            Self::Transfer => "transfers of memory",
            Self::Light => "small changes",
        }
    }
}

/// Changes that run side by side. Each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In the whole pool.
    pub running: usize,
    /// [`Class::Build`] on a host.
    pub builds_per_host: usize,
    /// [`Class::Transfer`] on a host.
    pub transfers_per_host: usize,
    /// [`Class::Light`] on a host.
    pub light_per_host: usize,
}

impl Limits {
    fn of(&self, class: Class) -> usize {
        match class {
            Class::Build => self.builds_per_host,
            Class::Transfer => self.transfers_per_host,
            Class::Light => self.light_per_host,
        }
    }
}

/// Where a change takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// The host.
    pub host: HostId,
    /// The class.
    pub class: Class,
}

/// Why a change has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// So many run in the pool.
    Pool(usize),
    /// So many run in its lane, or others wait for it.
    Lane(usize),
}

/// Who runs, and who waits.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    running: BTreeMap<TaskId, Lane>,
    /// How many of those run in a lane; none is not kept.
    counts: BTreeMap<Lane, usize>,
    /// In each lane in which anybody waits, in the order in which they came.
    waiting: BTreeMap<Lane, BTreeMap<u64, TaskId>>,
    /// Where each of those waits.
    places: BTreeMap<TaskId, (Lane, u64)>,
}

impl Turns {
    /// May a change begin that comes now?
    ///
    /// # Errors
    /// What it has to wait for.
    pub fn may_begin(&self, lane: Lane, limits: &Limits) -> Result<(), Full> {
        if self.waiting.contains_key(&lane) {
            return Err(Full::Lane(limits.of(lane.class)));
        }
        self.room(lane, limits)
    }

    fn room(&self, lane: Lane, limits: &Limits) -> Result<(), Full> {
        if self.counts.get(&lane).is_some_and(|count| *count >= limits.of(lane.class)) {
            return Err(Full::Lane(limits.of(lane.class)));
        }
        if self.running.len() >= limits.running {
            return Err(Full::Pool(limits.running));
        }
        Ok(())
    }

    /// It runs, whether or not there was room.
    pub fn begin(&mut self, task: TaskId, lane: Lane) {
        self.forget(task);
        self.running.insert(task, lane);
        *self.counts.entry(lane).or_default() += 1;
    }

    /// It waits behind those with smaller numbers.
    pub fn wait(&mut self, number: u64, task: TaskId, lane: Lane) {
        self.leave_queue(task);
        self.waiting.entry(lane).or_default().insert(number, task);
        self.places.insert(task, (lane, number));
    }

    /// It is over, or was given up.
    pub fn forget(&mut self, task: TaskId) {
        if let Some(lane) = self.running.remove(&task)
            && let Some(count) = self.counts.get_mut(&lane)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&lane);
            }
        }
        self.leave_queue(task);
    }

    fn leave_queue(&mut self, task: TaskId) {
        if let Some((lane, number)) = self.places.remove(&task)
            && let Some(queue) = self.waiting.get_mut(&lane)
        {
            queue.remove(&number);
            if queue.is_empty() {
                self.waiting.remove(&lane);
            }
        }
    }

    /// Who may begin now: the first of those whose lane has room.
    #[must_use]
    pub fn next(&self, limits: &Limits) -> Option<TaskId> {
        let with_room = self.waiting.iter().filter(|(lane, _)| self.room(**lane, limits).is_ok());
        let firsts = with_room.filter_map(|(_, queue)| queue.first_key_value());
        firsts.min_by_key(|(number, _)| **number).map(|(_, task)| *task)
    }

    /// Its place among those that wait in its lane, 1 is the next; `None` when it does not wait.
    #[must_use]
    pub fn place(&self, task: TaskId) -> Option<usize> {
        let (lane, number) = self.places.get(&task)?;
        Some(self.waiting.get(lane)?.range(..=number).count())
    }

    /// Changes that wait.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { running: 6, builds_per_host: 2, transfers_per_host: 1, light_per_host: 3 };

    fn task(n: u64) -> TaskId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        TaskId::from_bytes(id)
    }

    fn lane(host: u8, class: Class) -> Lane {
        Lane { host: HostId::from_bytes([host; 16]), class }
    }

    /// As the manager does it.
    fn arrive(turns: &mut Turns, n: u64, lane: Lane) -> Result<(), Full> {
        let may = turns.may_begin(lane, &LIMITS);
        match may {
            Ok(()) => turns.begin(task(n), lane),
            Err(_) => turns.wait(n, task(n), lane),
        }
        may
    }

    #[test]
    fn a_full_lane_waits_in_order_and_holds_up_nobody_else() {
        let mut turns = Turns::default();
        let (builds, transfers) = (lane(1, Class::Build), lane(1, Class::Transfer));
        for (n, lane, expect) in [
            (0, builds, Ok(())),
            (1, builds, Ok(())),
            (2, builds, Err(Full::Lane(2))),
            (3, builds, Err(Full::Lane(2))),
            (4, transfers, Ok(())),
            (5, lane(2, Class::Build), Ok(())),
        ] {
            assert_eq!(arrive(&mut turns, n, lane), expect, "{n}");
        }
        assert_eq!((turns.place(task(2)), turns.place(task(3))), (Some(1), Some(2)));
        assert_eq!((turns.place(task(0)), turns.next(&LIMITS)), (None, None));
        turns.forget(task(0));
        assert_eq!(turns.next(&LIMITS), Some(task(2)));
        assert_eq!(arrive(&mut turns, 6, builds), Err(Full::Lane(2)), "nobody pushes in");
        turns.forget(task(2));
        assert_eq!((turns.next(&LIMITS), turns.place(task(6))), (Some(task(3)), Some(2)));
    }

    #[test]
    fn a_full_pool_waits_for_whoever_ends_first() {
        let mut turns = Turns::default();
        for n in 0..6 {
            assert_eq!(arrive(&mut turns, n, lane(u8::try_from(n).unwrap(), Class::Light)), Ok(()));
        }
        assert_eq!(arrive(&mut turns, 6, lane(9, Class::Light)), Err(Full::Pool(6)));
        assert_eq!(turns.next(&LIMITS), None);
        turns.forget(task(3));
        assert_eq!(turns.next(&LIMITS), Some(task(6)));
    }

    proptest! {
        /// The limits hold, nobody waits while there is room, and in a lane the order holds.
        #[test]
        fn whoever_comes_has_a_turn_in_order(
            steps in proptest::collection::vec((0_u8..3, 0_u8..3, any::<bool>(), 0_usize..8), 1..80),
        ) {
            let (mut turns, mut begun) = (Turns::default(), BTreeMap::<Lane, Vec<TaskId>>::new());
            for (n, (host, class, ends, which)) in (0_u64..).zip(steps) {
                if ends {
                    let running: Vec<TaskId> = turns.running.keys().copied().collect();
                    if let Some(over) = running.get(which % running.len().max(1)) {
                        turns.forget(*over);
                    }
                } else {
                    let class = [Class::Build, Class::Transfer, Class::Light][usize::from(class)];
                    let lane = lane(host, class);
                    if arrive(&mut turns, n, lane).is_ok() {
                        begun.entry(lane).or_default().push(task(n));
                    }
                }
                while let Some(next) = turns.next(&LIMITS) {
                    let (lane, _) = turns.places[&next];
                    turns.begin(next, lane);
                    begun.entry(lane).or_default().push(next);
                }
                prop_assert!(turns.running.len() <= LIMITS.running);
                for lane in turns.running.values() {
                    let count = turns.running.values().filter(|other| *other == lane).count();
                    prop_assert!(count <= LIMITS.of(lane.class));
                }
            }
            for tasks in begun.values() {
                prop_assert!(tasks.is_sorted(), "{:?}", tasks);
            }
        }
    }
}
