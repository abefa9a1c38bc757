//! Our frames inside the bulk stream: what a guest's memory and state look like on their way.
//!
//! ```text
//!   frame   kind 1 │ zero 3 │ length of the body 4 │ body                                   all numbers little-endian
//!
//!   HELLO   "VMMG" │ version 2 │ zero 2 │ end of page numbers 4 │ copies at most 4 │ prologue of libxc's image …
//!   BATCH   count 2 │ zero 2 │ count × ( page 4 │ encoding 1 │ type, keep 1 │ length 2 ) │ bodies one behind the other …
//!   MARK    number 8                                                           "say that you have all before this"
//!   GONE    count 4 │ count × ( first page 4 │ pages 4 )                       sent, and given back since: release them
//!   TAIL    frames 8 │ frames gone 8 │ epilogue of libxc's image …
//!
//!   HELLO ( BATCH | MARK )* ( GONE | MARK )* TAIL
//! ```
//!
//! The prologue are the headers and static data of a libxc image, and a PV guest's table of frames; the epilogue the machine's state and END:
//! one behind the other they are an image of no pages. The upper four bits of the byte with keep are Xen's type of the page: 0 for memory, and
//! for PV guests their tables, and what has no contents any more. Encodings of pages are [`vmm_core::migration::codec`]'s. There is one way to write each frame, so that
//! what is read and written again is the same.
//!
//! It fails with a [`FrameError`]. A [`Reader`] keeps what has come of one frame, so at most [`EPILOGUE_BYTES_MAX`]; it allocates as
//! bytes come in, never by what a length says.

mod read;
#[cfg(test)]
mod tests;
mod write;

use vmm_core::migration::{BATCH_PAGES_MAX, Encoding, PAGE_BYTES, Pfn};
use xen_bindings::PageType;

pub(crate) use read::Reader;
pub(crate) use write::{BatchWriter, gone, hello, mark, tail};

/// Of this format. Another one is refused: both hosts run the same release, or one that says that it can.
pub(crate) const VERSION: u16 = 1;
/// The headers, CPUID and registers of a guest have a few KiB, the table of a PV guest's frames 2 MiB for 512 GiB.
pub(crate) const PROLOGUE_BYTES_MAX: usize = 2304 << 10;
/// A context of 128 vCPUs has about 2 MiB.
pub(crate) const EPILOGUE_BYTES_MAX: usize = 8 << 20;
/// Runs in one GONE; there may be several.
pub(crate) const RUNS_MAX: usize = 8192;

const MAGIC: [u8; 4] = *b"VMMG";
const HEAD_BYTES: usize = 8;
const HELLO_BYTES: usize = 16;
const BATCH_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
/// The type stands above what else is in its byte.
const TYPE_SHIFT: u8 = 4;
const GONE_BYTES: usize = 4;
const RUN_BYTES: usize = 8;
const MARK_BYTES: usize = 8;
const TAIL_BYTES: usize = 16;
const PAGE: usize = PAGE_BYTES as usize;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hello,
    Batch,
    Mark,
    Gone,
    Tail,
}

const KINDS: [(Kind, u8); 5] =
    [(Kind::Hello, 1), (Kind::Batch, 2), (Kind::Mark, 3), (Kind::Gone, 4), (Kind::Tail, 5)];

impl Kind {
    fn code(self) -> u8 {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, code)| *code)
    }

    fn from_code(code: u8) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == code).map(|(kind, _)| *kind)
    }

    /// The longest body.
    fn bytes_max(self) -> usize {
        match self {
            Self::Hello => HELLO_BYTES + PROLOGUE_BYTES_MAX,
            Self::Batch => BATCH_BYTES + BATCH_PAGES_MAX * (ENTRY_BYTES + PAGE),
            Self::Mark => MARK_BYTES,
            Self::Gone => GONE_BYTES + RUNS_MAX * RUN_BYTES,
            Self::Tail => TAIL_BYTES + EPILOGUE_BYTES_MAX,
        }
    }
}

/// A frame, borrowed from its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello(Hello<'a>),
    Batch(Batch<'a>),
    /// Counts up.
    Mark(u64),
    Gone(Gone<'a>),
    Tail(Tail<'a>),
}

/// The first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello<'a> {
    /// All pages of the guest are below.
    pub(crate) pfn_end: u32,
    /// Pages of which the sender will ask to keep a copy, at most.
    pub(crate) copies_max: u32,
    /// Headers and static data of a libxc image.
    pub(crate) prologue: &'a [u8],
}

/// Pages. The reader has found the entries to fit the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    entries: &'a [[u8; ENTRY_BYTES]],
    bodies: &'a [u8],
}

/// One page of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) page: Pfn,
    /// With contents, or nothing but the word that it has none any more.
    pub(crate) kind: PageType,
    pub(crate) encoding: Encoding,
    /// The receiver keeps its contents to make the next delta's page from; if not, it forgets what it has.
    pub(crate) keep: bool,
    pub(crate) body: &'a [u8],
}

/// Frames that were sent and are no longer the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone<'a> {
    runs: &'a [[u8; RUN_BYTES]],
}

/// Neighbouring pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: Pfn,
    /// At least one.
    pub(crate) pages: u32,
}

/// The last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail<'a> {
    /// How many frames must have come, those that are gone with them.
    pub(crate) frames: u64,
    /// How many of them are gone.
    pub(crate) gone: u64,
    /// The machine's state and END of a libxc image.
    pub(crate) epilogue: &'a [u8],
}

impl<'a> Batch<'a> {
    /// How many pages: at least one.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// In their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = self.bodies;
        self.entries.iter().map_while(move |entry| {
            let read::Named { page, kind, encoding, keep, length } = read::entry(*entry)?;
            let (body, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(Entry { page, kind, encoding, keep, body })
        })
    }
}

impl<'a> Gone<'a> {
    /// In their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Run> + use<'a> {
        self.runs.iter().map(|run| read::run(*run))
    }
}

/// Bytes that are no stream of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the stream does not begin as a guest's: the other host does not send one")]
    NotAGuest,
    #[error(
        "the guest comes in version {version}, and this agent knows version {VERSION}: run the same release on both hosts"
    )]
    Version { version: u16 },
    #[error("a frame of the unknown kind {code}: run the same release on both hosts")]
    Unknown { code: u8 },
    #[error("a frame {kind:?} has {bytes} bytes: {expect}")]
    Length { kind: Kind, bytes: usize, expect: &'static str },
    #[error("a frame {kind:?} says {value:#x} as its {field}")]
    Field { kind: Kind, field: &'static str, value: u64 },
    #[error("a frame {kind:?} comes where it must not")]
    Misplaced { kind: Kind },
}
