//! Pages of a guest's memory, up to 1024 in a record.

use crate::frame::Pfn;
use crate::page_type::PageType;

/// Pages in a record, and in a hypercall that asks for types.
pub const PAGES_MAX: usize = 1024;
/// What a page holds.
pub type PageBytes = [u8; 4096];
/// A page of zeros. Streams have no shorter word for it, and allocating a page is no substitute.
pub static ZERO_PAGE: PageBytes = [0; 4096];

/// One page: where, what, and its contents if it has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    pfn: Pfn,
    kind: PageType,
    bytes: Option<&'a PageBytes>,
}

impl<'a> Page<'a> {
    /// The highest frame number that a stream can carry is below this.
    pub const PFN_END: u64 = 1 << 52;

    /// Memory with its contents. `None` for a frame that no stream can carry.
    #[must_use]
    pub fn normal(pfn: Pfn, bytes: &'a PageBytes) -> Option<Self> {
        Self::new(pfn, PageType::Normal, Some(bytes))
    }

    /// A frame without contents. `None` for a type that has some, or for a frame that no stream can carry.
    #[must_use]
    pub fn bare(pfn: Pfn, kind: PageType) -> Option<Self> {
        Self::new(pfn, kind, None)
    }

    /// `None` when type and contents do not fit each other, or for a frame that no stream can carry.
    #[must_use]
    pub fn new(pfn: Pfn, kind: PageType, bytes: Option<&'a PageBytes>) -> Option<Self> {
        let sound = pfn.0 < Self::PFN_END && kind.has_contents() == bytes.is_some();
        sound.then_some(Self { pfn, kind, bytes })
    }

    /// Where.
    #[must_use]
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// What.
    #[must_use]
    pub fn kind(&self) -> PageType {
        self.kind
    }

    /// Its contents, for a type that has some.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a PageBytes> {
        self.bytes
    }
}

/// The pages of one record: at least one when it is written, never more than [`PAGES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages<'a>(Vec<Page<'a>>);

impl<'a> Pages<'a> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a page. False when it is full.
    #[must_use]
    pub fn push(&mut self, page: Page<'a>) -> bool {
        let room = self.0.len() < PAGES_MAX;
        if room {
            self.0.push(page);
        }
        room
    }

    /// In their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Page<'a>> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next would not be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() == PAGES_MAX
    }
}

const TYPE_SHIFT: u32 = 60;

/// How a record names a page.
pub(super) fn word(page: &Page<'_>) -> u64 {
    u64::from(page.kind.bits()) << TYPE_SHIFT | page.pfn.0
}

/// `Err` names what is wrong with the word.
pub(super) fn from_word(word: u64) -> Result<(Pfn, PageType), &'static str> {
    let bits = u8::try_from(word >> TYPE_SHIFT).unwrap_or(u8::MAX);
    let pfn = word & ((1 << TYPE_SHIFT) - 1);
    let kind = PageType::from_bits(bits).ok_or("page type")?;
    if pfn < Page::PFN_END { Ok((Pfn(pfn), kind)) } else { Err("pfn") }
}
