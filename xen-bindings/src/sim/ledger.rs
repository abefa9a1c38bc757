//! Every page of the machine: taken from the free list, given back to it. Claims promise free pages to one domain.

use super::probe::MemoryLedger;

#[derive(Debug)]
pub(crate) struct Pages {
    total: u64,
    xen: u64,
    free: u64,
    /// Promised to domains; not subtracted from `free`.
    claimed: u64,
}

impl Pages {
    pub(crate) fn new(total: u64, xen: u64) -> Self {
        Self { total, xen, free: total.saturating_sub(xen), claimed: 0 }
    }

    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn claimed(&self) -> u64 {
        self.claimed
    }

    /// What a domain that has claimed `own` pages can get: all but what others have claimed.
    fn available(&self, own: u64) -> u64 {
        self.free.saturating_sub(self.claimed.saturating_sub(own))
    }

    /// All or nothing, for Xen's own structures or a domain that has claimed `own` pages. The claim stays.
    #[must_use]
    pub(crate) fn take(&mut self, pages: u64, own: u64) -> bool {
        let there = pages <= self.available(own);
        if there {
            self.free -= pages;
        }
        there
    }

    /// As many as there are for a domain, which its claim shrinks by.
    pub(crate) fn take_up_to(&mut self, pages: u64, own: &mut u64) -> u64 {
        let taken = pages.min(self.available(*own));
        self.free -= taken;
        let redeemed = taken.min(*own);
        *own -= redeemed;
        self.claimed -= redeemed;
        taken
    }

    pub(crate) fn give(&mut self, pages: u64) {
        self.free += pages;
    }

    /// Pages of a domain go back; as long as it has a claim, it has a claim to these as well.
    pub(crate) fn give_back(&mut self, pages: u64, own: &mut u64) {
        self.give(pages);
        if *own > 0 {
            *own += pages;
            self.claimed += pages;
        }
    }

    /// Promises pages when that many are free and unclaimed.
    #[must_use]
    pub(crate) fn claim(&mut self, pages: u64) -> bool {
        let there = pages <= self.available(0);
        if there {
            self.claimed += pages;
        }
        there
    }

    pub(crate) fn unclaim(&mut self, own: &mut u64) {
        self.claimed -= std::mem::take(own);
    }

    pub(crate) fn ledger(&self, domains: u64) -> MemoryLedger {
        let Self { total, xen, free, claimed } = *self;
        MemoryLedger { total, xen, free, claimed, domains }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_claimed_nobody_else_gets() {
        let mut pages = Pages::new(100, 0);
        let mut own = 60;
        assert!(pages.claim(60) && !pages.claim(41));
        assert!(!pages.take(41, 0) && pages.take(10, 0));
        let mut none = 0;
        assert_eq!(pages.take_up_to(50, &mut none), 30);
        assert_eq!(pages.take_up_to(50, &mut own), 50);
        assert_eq!((own, pages.claimed(), pages.free()), (10, 10, 10));
        pages.unclaim(&mut own);
        assert_eq!((own, pages.claimed()), (0, 0));
        assert_eq!(pages.take_up_to(50, &mut none), 10);
    }
}
