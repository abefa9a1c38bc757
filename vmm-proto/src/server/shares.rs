//! What one party may hold of a server at once, so that no one takes it from the others: a principal, or, before it has proved who it is,
//! an address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who holds how many places.
pub(super) struct Shares<K> {
    each: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One place; given back when dropped.
pub(super) struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    who: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// At most `each` for everybody.
    pub(super) fn new(each: usize) -> Arc<Shares<K>> {
        Arc::new(Shares { each, held: Mutex::default() })
    }

    /// `None` when this one has its share already.
    pub(super) fn take(self: &Arc<Self>, who: &K) -> Option<Share<K>> {
        let mut held = lock(&self.held);
        let mine = held.get(who).copied().unwrap_or_default();
        (mine < self.each).then(|| {
            held.insert(who.clone(), mine + 1);
            Share { shares: Arc::clone(self), who: who.clone() }
        })
    }
}

fn lock<K>(held: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.shares.held);
        if let Some(mine) = held.get_mut(&self.who) {
            *mine -= 1;
            if *mine == 0 {
                held.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Principal;

    #[test]
    fn each_has_its_share_and_nothing_of_the_others() {
        let (shares, ann, bob) = (Shares::new(2), Principal::admin("ann"), Principal::admin("bob"));
        let first = shares.take(&ann);
        let second = shares.take(&ann);
        assert!(first.is_some() && second.is_some() && shares.take(&ann).is_none());
        // Another role is another principal.
        assert!(shares.take(&bob).is_some() && shares.take(&Principal::viewer("ann")).is_some());
        drop(first);
        assert!(shares.take(&ann).is_some());
        drop(second);
        assert!(lock(&shares.held).is_empty(), "nobody is remembered for nothing");
    }
}
