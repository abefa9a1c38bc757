//! Frames into bytes: each function appends one.

use vmm_core::migration::{BATCH_PAGES_MAX, Encoding, Pfn};
use xen_bindings::PageType;

use super::{Hello, Kind, MAGIC, RUNS_MAX, Run, TYPE_SHIFT, Tail, VERSION};

/// Appends a frame whose body `fill` appends.
fn frame(kind: Kind, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend([kind.code(), 0, 0, 0]);
    let at = out.len();
    out.extend([0; 4]);
    fill(out);
    // Limits of what is in a frame keep it far below.
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

pub(crate) fn hello(of: &Hello<'_>, out: &mut Vec<u8>) {
    frame(Kind::Hello, out, |out| {
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend([0; 2]);
        out.extend(of.pfn_end.to_le_bytes());
        out.extend(of.copies_max.to_le_bytes());
        out.extend(of.prologue);
    });
}

pub(crate) fn mark(number: u64, out: &mut Vec<u8>) {
    frame(Kind::Mark, out, |out| out.extend(number.to_le_bytes()));
}

/// As many frames as the runs take; none for none.
pub(crate) fn gone(runs: &[Run], out: &mut Vec<u8>) {
    for part in runs.chunks(RUNS_MAX) {
        frame(Kind::Gone, out, |out| {
            out.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            for run in part {
                out.extend(run.first.0.to_le_bytes());
                out.extend(run.pages.to_le_bytes());
            }
        });
    }
}

pub(crate) fn tail(of: &Tail<'_>, out: &mut Vec<u8>) {
    frame(Kind::Tail, out, |out| {
        out.extend(of.frames.to_le_bytes());
        out.extend(of.gone.to_le_bytes());
        out.extend(of.epilogue);
    });
}

/// A batch that grows page by page.
#[derive(Debug, Default)]
pub(crate) struct BatchWriter {
    entries: Vec<u8>,
    bodies: Vec<u8>,
    count: u16,
    /// Where the page that is being written begins.
    began: usize,
}

impl BatchWriter {
    /// Where to append the body of the next page.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.bodies
    }

    /// As [`Self::end_of`], of plain memory.
    #[cfg(test)]
    pub(crate) fn end(&mut self, page: Pfn, encoding: Encoding, keep: bool) -> u16 {
        self.end_of(page, PageType::Normal, encoding, keep)
    }

    /// A page that has no contents any more.
    pub(crate) fn bare(&mut self, page: Pfn, kind: PageType) {
        self.end_of(page, kind, Encoding::Zero, false);
    }

    /// The page whose body was just appended. Answers the body's length.
    pub(crate) fn end_of(
        &mut self,
        page: Pfn,
        kind: PageType,
        encoding: Encoding,
        keep: bool,
    ) -> u16 {
        debug_assert!(
            usize::from(self.count) < BATCH_PAGES_MAX,
            "a batch is as long as a policy's"
        );
        let length = u16::try_from(self.bodies.len() - self.began).unwrap_or(u16::MAX);
        self.began = self.bodies.len();
        let code = Encoding::ALL.iter().position(|known| *known == encoding);
        self.entries.extend(page.0.to_le_bytes());
        self.entries.extend([
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX),
            kind.bits() << TYPE_SHIFT | u8::from(keep),
        ]);
        self.entries.extend(length.to_le_bytes());
        self.count += 1;
        length
    }

    /// Appends it, unless it is empty.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        frame(Kind::Batch, out, |out| {
            out.extend(self.count.to_le_bytes());
            out.extend([0; 2]);
            out.extend(&self.entries);
            out.extend(&self.bodies);
        });
    }
}
