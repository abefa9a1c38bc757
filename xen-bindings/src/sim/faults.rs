//! Failures on order: the next call of an operation, its n-th, every call for a while, or by chance. A call that is made to
//! fail has no other effect.

use std::sync::{Mutex, PoisonError};

use super::ops::Op;
use super::rng::Rng;
use crate::error::{XenError, XenErrorKind};
use crate::store::StoreError;

/// What a call is made to answer. Xen's operations take `Xen`, xenstore's take `Store`; the other kind means a generic error.
#[derive(Clone, Debug)]
pub enum Fault {
    /// For operations that answer [`XenError`].
    Xen(XenErrorKind),
    /// For operations that answer [`StoreError`].
    Store(StoreError),
}

impl From<XenErrorKind> for Fault {
    fn from(kind: XenErrorKind) -> Self {
        Fault::Xen(kind)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

#[derive(Debug)]
enum When {
    /// After this many more calls.
    After(u64),
    /// In so many of 1000 calls.
    Chance(u16),
    Always,
}

#[derive(Debug)]
struct Rule {
    /// `None`: any operation.
    op: Option<Op>,
    when: When,
    fault: Fault,
}

#[derive(Debug)]
struct Rules {
    rules: Vec<Rule>,
    rng: Rng,
}

/// The orders.
#[derive(Debug)]
pub struct Faults(Mutex<Rules>);

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Rules { rules: Vec::new(), rng: Rng::new(seed ^ 0xfa17) }))
    }

    fn add(&self, op: Option<Op>, when: When, fault: Fault) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.rules.push(Rule { op, when, fault });
    }

    /// The next call of `op` fails. Called twice: the next two.
    pub fn fail_next(&self, op: Op, fault: impl Into<Fault>) {
        let taken = {
            let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |rule: &&Rule| rule.op == Some(op) && matches!(rule.when, When::After(_));
            state.rules.iter().filter(same).count()
        };
        self.add(Some(op), When::After(u64::try_from(taken).unwrap_or(u64::MAX)), fault.into());
    }

    /// The `nth` call of `op` from now on fails (1 is the next one).
    pub fn fail_nth(&self, op: Op, nth: u64, fault: impl Into<Fault>) {
        self.add(Some(op), When::After(nth.saturating_sub(1)), fault.into());
    }

    /// The `nth` call from now on fails, whatever it is, with a generic error: for tests that fail each step of a sequence in
    /// turn.
    pub fn fail_step(&self, nth: u64) {
        let fault = Fault::Xen(XenErrorKind::Other(5));
        self.add(None, When::After(nth.saturating_sub(1)), fault);
    }

    /// Every call of `op` fails until [`Faults::clear`].
    pub fn fail_always(&self, op: Op, fault: impl Into<Fault>) {
        self.add(Some(op), When::Always, fault.into());
    }

    /// Each call of `op` fails with this probability, as the seed decides.
    pub fn fail_by_chance(&self, op: Op, permille: u16, fault: impl Into<Fault>) {
        self.add(Some(op), When::Chance(permille), fault.into());
    }

    /// No more failures.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rules.clear();
    }

    /// Counts a call; the fault that it is to answer with, when there is one.
    pub(crate) fn take(&self, op: Op) -> Option<Fault> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Rules { rules, rng } = &mut *state;
        let mut hit = None;
        let mut spent = None;
        for (index, rule) in rules.iter_mut().enumerate() {
            if rule.op.is_some_and(|wanted| wanted != op) {
                continue;
            }
            let due = match &mut rule.when {
                When::After(0) => {
                    // A second order for the same call waits for the next one.
                    if hit.is_none() {
                        spent = Some(index);
                    }
                    true
                }
                When::After(left) => {
                    *left -= 1;
                    false
                }
                When::Chance(permille) => rng.chance(*permille),
                When::Always => true,
            };
            if due && hit.is_none() {
                hit = Some(rule.fault.clone());
            }
        }
        if let Some(index) = spent {
            rules.remove(index);
        }
        hit
    }
}

impl Fault {
    pub(crate) fn into_xen(self, op: Op) -> XenError {
        let kind = match self {
            Fault::Xen(kind) => kind,
            Fault::Store(_) => XenErrorKind::Other(5),
        };
        XenError::new(op.name(), kind).detail("injected")
    }

    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Fault::Store(error) => error,
            Fault::Xen(_) => StoreError::Other("EIO".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(faults: &Faults, op: Op, calls: usize) -> String {
        (0..calls).map(|_| if faults.take(op).is_some() { 'x' } else { '.' }).collect()
    }

    #[test]
    fn the_ordered_call_fails_and_no_other() {
        let faults = Faults::new(1);
        faults.fail_next(Op::DomainCreate, XenErrorKind::Busy);
        faults.fail_next(Op::DomainCreate, XenErrorKind::Busy);
        faults.fail_nth(Op::StoreWrite, 3, StoreError::Quota);
        assert_eq!(pattern(&faults, Op::DomainCreate, 4), "xx..");
        assert_eq!(pattern(&faults, Op::StoreWrite, 4), "..x.");
    }

    #[test]
    fn chance_is_decided_by_the_seed() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.fail_by_chance(Op::StoreRead, 300, StoreError::Conflict);
            pattern(&faults, Op::StoreRead, 64)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(7).contains('x') && run(7).contains('.'));
    }
}
