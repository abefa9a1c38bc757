//! What a domain holds: pages out of the machine's, and frames of its own for them.

use std::ops::Range;

use super::ram::SPECIAL_GFNS;
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::sim::hypervisor::{Hypervisor, PAGE_KIB};

impl Hypervisor {
    /// Changes what a domain holds, as far as its maximum and the host allow; what it holds then.
    pub(crate) fn resize(&mut self, id: DomId, wanted: u64) -> Result<u64, XenErrorKind> {
        let domain = self.domains.get_mut(&id.get()).ok_or(XenErrorKind::NoSuchDomain)?;
        if wanted <= domain.pages {
            self.memory.give_back(domain.pages - wanted, &mut domain.claimed_pages);
            domain.ram.shrink(domain.pages - wanted);
            domain.pages = wanted;
        } else {
            let most = wanted.min(domain.memory_max_kib / PAGE_KIB).max(domain.pages);
            let wanted = most - domain.pages;
            let taken = self.memory.take_up_to(wanted, &mut domain.claimed_pages);
            domain.ram.grow(taken);
            domain.pages += taken;
        }
        Ok(domain.pages)
    }

    /// Frames that Xen shares with a guest, beside its memory. False when they do not fit.
    pub(crate) fn add_special(&mut self, id: DomId) -> Result<bool, XenErrorKind> {
        let pages = SPECIAL_GFNS.end - SPECIAL_GFNS.start;
        let taken = self.take_all(id, pages)?;
        if taken {
            let domain = self.get_mut(id)?;
            domain.ram.add_special();
            domain.special_pages = pages;
        }
        Ok(taken)
    }

    /// Gives a domain frames that it has not got: as many as fit. `Busy` when that is not all, as populating says on Xen.
    pub(crate) fn populate(&mut self, id: DomId, gfns: Range<u64>) -> Result<(), XenErrorKind> {
        let domain = self.domains.get_mut(&id.get()).ok_or(XenErrorKind::NoSuchDomain)?;
        let (wanted, max) = (gfns.end - gfns.start, domain.memory_max_kib / PAGE_KIB);
        let room = wanted.min(max.saturating_sub(domain.pages));
        let taken = self.memory.take_up_to(room, &mut domain.claimed_pages);
        domain.pages += taken;
        if taken > 0 {
            domain.ram.populate(gfns.start..gfns.start + taken);
        }
        if taken == wanted { Ok(()) } else { Err(XenErrorKind::Busy) }
    }

    /// So many pages for a domain, or none.
    fn take_all(&mut self, id: DomId, pages: u64) -> Result<bool, XenErrorKind> {
        let domain = self.domains.get_mut(&id.get()).ok_or(XenErrorKind::NoSuchDomain)?;
        if domain.pages + pages > domain.memory_max_kib / PAGE_KIB {
            return Ok(false);
        }
        let taken = self.memory.take_up_to(pages, &mut domain.claimed_pages);
        if taken < pages {
            self.memory.give_back(taken, &mut domain.claimed_pages);
            return Ok(false);
        }
        domain.pages += pages;
        Ok(true)
    }

    /// Takes a frame from a domain. False when it has not got it.
    pub(crate) fn release(&mut self, id: DomId, gfn: u64) -> Result<bool, XenErrorKind> {
        let domain = self.domains.get_mut(&id.get()).ok_or(XenErrorKind::NoSuchDomain)?;
        let there = domain.ram.has(gfn);
        if there {
            domain.ram.release(gfn);
            domain.pages -= 1;
            self.memory.give_back(1, &mut domain.claimed_pages);
        }
        Ok(there)
    }
}
