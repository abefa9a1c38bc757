//! Every page of the machine: taken from the free list, given back to it.

use super::probe::MemoryLedger;

#[derive(Debug)]
pub(crate) struct Pages {
    total: u64,
    xen: u64,
    free: u64,
}

impl Pages {
    pub(crate) fn new(total: u64, xen: u64) -> Self {
        Self { total, xen, free: total.saturating_sub(xen) }
    }

    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// All or nothing.
    #[must_use]
    pub(crate) fn take(&mut self, pages: u64) -> bool {
        match self.free.checked_sub(pages) {
            Some(left) => {
                self.free = left;
                true
            }
            None => false,
        }
    }

    /// As many as there are.
    pub(crate) fn take_up_to(&mut self, pages: u64) -> u64 {
        let taken = pages.min(self.free);
        self.free -= taken;
        taken
    }

    pub(crate) fn give(&mut self, pages: u64) {
        self.free += pages;
    }

    pub(crate) fn ledger(&self, domains: u64) -> MemoryLedger {
        MemoryLedger { total: self.total, xen: self.xen, free: self.free, domains }
    }
}
