//! What a VM costs its host beside its memory.
//!
//! One function, because two parties need the same answer: the manager reserves it, the agent refuses by it.

use super::VmSpec;
use crate::units::Kib;

/// Special pages of a domain, as libxl allows for: added to what Xen lets the domain hold.
pub const MAXMEM_SLACK: Kib = Kib::from_mib(1);
/// More than that is not pages beside a guest's memory (Xen 4.17 and libxenguest: 10 of a PVH guest): it is on its way to its target.
const BESIDE_MAX: Kib = Kib(256);
/// Xen's own structures for a domain and its vCPUs, the grant table, the frames of populate-on-demand. Measured 2.2 to 2.7 MiB;
/// the rest is margin.
const STRUCTURES: Kib = Kib::from_mib(4);
/// One page of page tables for each MiB of memory, and 256 for each vCPU (libxl's rule).
const PAGE: Kib = Kib(4);
const PAGES_PER_VCPU: u64 = 256;

/// The pool for a PVH domain's second-level page tables.
#[must_use]
pub fn paging_pool(vcpus_max: u32, memory_max: Kib) -> Kib {
    let pages = PAGES_PER_VCPU
        .saturating_mul(u64::from(vcpus_max))
        .saturating_add(memory_max.0.div_ceil(1024));
    Kib(PAGE.0.saturating_mul(pages))
}

/// What a guest is to hold elsewhere that holds `held` and was asked for `target`: its target, if it is there. Xen counts the pages of its
/// console, its store and its devices with its memory; told as a target, they would be added to it each time that it is moved or saved.
#[must_use]
pub fn target_elsewhere(held: Kib, target: Kib) -> Kib {
    let is_there = held.0.abs_diff(target.0) <= BESIDE_MAX.0;
    if is_there { target } else { held }
}

/// What a VM costs beside its memory: paging pool, slack and Xen's structures.
#[must_use]
pub fn overhead(spec: &VmSpec) -> Kib {
    paging_pool(spec.vcpus_max, spec.memory_max) + MAXMEM_SLACK + STRUCTURES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_a_page_a_mebibyte_and_256_a_vcpu() {
        for (vcpus_max, mib, pages) in [(1, 128, 256 + 128), (2, 256, 512 + 256), (4, 0, 1024)] {
            assert_eq!(paging_pool(vcpus_max, Kib::from_mib(mib)), Kib(4 * pages));
        }
        assert_eq!(paging_pool(1, Kib(1025)), Kib(4 * (256 + 2)), "a part of a MiB is one");
    }

    #[test]
    fn what_lies_beside_its_memory_is_not_added_when_it_moves() {
        let mib = Kib::from_mib;
        let as_built = Kib(mib(128).0 + 40);
        for (held, target, elsewhere) in [
            (as_built, mib(128), mib(128)),
            (mib(128), mib(128), mib(128)),
            (Kib(mib(128).0 - 40), mib(128), mib(128)),
            // On its way: up, and down.
            (mib(96), mib(128), mib(96)),
            (mib(200), mib(128), mib(200)),
        ] {
            assert_eq!(target_elsewhere(held, target), elsewhere, "{held} of {target}");
        }
    }
}
