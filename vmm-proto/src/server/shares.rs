//! What one principal may hold of a server at once, so that no one takes it from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::principal::Principal;

/// Who holds how many places.
pub(super) struct Shares {
    each: usize,
    held: Mutex<HashMap<Principal, usize>>,
}

/// One place; given back when dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    who: Principal,
}

impl Shares {
    /// At most `each` for everybody.
    pub(super) fn new(each: usize) -> Arc<Shares> {
        Arc::new(Shares { each, held: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when this principal has its share already.
    pub(super) fn take(self: &Arc<Self>, who: &Principal) -> Option<Share> {
        let mut held = self.lock();
        let mine = held.get(who).copied().unwrap_or_default();
        (mine < self.each).then(|| {
            held.insert(who.clone(), mine + 1);
            Share { shares: Arc::clone(self), who: who.clone() }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
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
        assert!(shares.lock().is_empty(), "nobody is remembered for nothing");
    }
}
