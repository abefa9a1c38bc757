//! What of the policy is switched on.

use crate::migration::{Pack, Tricks};

/// What is switched on. Everything, but in measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Balloon or hints.
    pub compaction: bool,
    /// Hot pages later than cool ones.
    pub layering: bool,
    /// The brake.
    pub brake: bool,
    /// What is tried on a page.
    pub tricks: Tricks,
    /// Sums of every page, where deltas are tried: without, only pages that were sent again have a copy to compare with.
    pub sums: bool,
    /// How pages may be packed.
    pub packs: Vec<Pack>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compaction: true,
            layering: true,
            brake: true,
            tricks: Tricks { zero: true, same: true, delta: true },
            sums: true,
            packs: vec![Pack::Lz4, Pack::Zstd],
        }
    }
}

impl Options {
    /// Pages as they are, all of them: to switch single things on again.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            compaction: false,
            layering: false,
            brake: false,
            tricks: Tricks { zero: false, same: false, delta: false },
            sums: false,
            packs: Vec::new(),
        }
    }
}
