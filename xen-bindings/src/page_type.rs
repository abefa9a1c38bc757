//! What a guest's frame is to Xen, as its hypercalls and its migration streams tell it.

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageType {
    /// Memory.
    Normal,
    /// A PV guest's page table.
    Table(PageTable),
    /// Hardware lost it. Nothing can be read or written there.
    Broken,
    /// In streams only: allocate it. What it holds then is *not* zero: it may be what another domain left there.
    AllocOnly,
    /// Nothing is there that can be copied: a hole, a ballooned frame, a page of Xen's own.
    Absent,
}

/// A page of a PV guest's page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageTable {
    level: u8,
    pinned: bool,
}

const PINNED: u8 = 8;
const BROKEN: u8 = 0xd;
const ALLOC_ONLY: u8 = 0xe;
const ABSENT: u8 = 0xf;

impl PageTable {
    /// `None` but for levels 1 to 4.
    #[must_use]
    pub fn new(level: u8, pinned: bool) -> Option<Self> {
        (1..=4).contains(&level).then_some(Self { level, pinned })
    }

    /// 1 to 4; 4 is the top.
    #[must_use]
    pub fn level(self) -> u8 {
        self.level
    }

    /// Xen has checked it as a table, and keeps it one.
    #[must_use]
    pub fn pinned(self) -> bool {
        self.pinned
    }
}

impl PageType {
    /// From Xen's four bits (`XEN_DOMCTL_PFINFO_*`); `None` for those without a meaning.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Normal),
            BROKEN => Some(Self::Broken),
            ALLOC_ONLY => Some(Self::AllocOnly),
            ABSENT => Some(Self::Absent),
            table => PageTable::new(table & !PINNED, table & PINNED != 0).map(Self::Table),
        }
    }

    /// As Xen's four bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Table(table) => table.level | if table.pinned { PINNED } else { 0 },
            Self::Broken => BROKEN,
            Self::AllocOnly => ALLOC_ONLY,
            Self::Absent => ABSENT,
        }
    }

    /// It can be mapped and copied, and a stream has 4096 bytes of it.
    #[must_use]
    pub fn has_contents(self) -> bool {
        matches!(self, Self::Normal | Self::Table(_))
    }

    /// Whoever restores it gives it a page.
    #[must_use]
    pub fn is_populated(self) -> bool {
        self.has_contents() || self == Self::AllocOnly
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_four_bits_mean_one_type_or_none() {
        let known: Vec<u8> =
            (0..=255).filter(|bits| PageType::from_bits(*bits).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15]);
        for bits in known {
            assert_eq!(PageType::from_bits(bits).unwrap().bits(), bits);
        }
    }
}
