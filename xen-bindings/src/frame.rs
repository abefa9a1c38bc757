//! Page frame numbers. Three address spaces, three types; there is no arithmetic between them.

use std::fmt;

/// Bytes in a page on x86.
pub const PAGE_BYTES: u64 = 4096;

macro_rules! frame_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

frame_number!(
    /// The guest's linear, pseudo-physical frame.
    Pfn
);
frame_number!(
    /// The frame in the guest's page tables: a pfn for PVH and HVM, an mfn for PV.
    Gfn
);
frame_number!(
    /// The host's physical frame.
    Mfn
);

/// A number of pages of 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageCount(pub u64);

impl PageCount {
    /// In KiB.
    #[must_use]
    pub fn kib(self) -> u64 {
        self.0.saturating_mul(PAGE_BYTES / 1024)
    }
}
