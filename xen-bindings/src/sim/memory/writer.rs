//! What a guest writes to its memory, by itself and without end.

use std::time::Duration;

use super::contents::Contents;
use crate::sim::rng::Rng;

/// Something in a guest that writes to a stretch of memory of its own, page after page, around and around. Its pace is that of a vCPU:
/// a cap of credit2 slows it, a pause stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWriter {
    style: Style,
    pages: u64,
    pages_per_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// A few bytes of a page.
    Counters,
    /// A page whole.
    Contents,
}

impl MemoryWriter {
    /// What Linux does when it does nothing.
    #[must_use]
    pub fn idle() -> Self {
        Self { style: Style::Counters, pages: 64, pages_per_s: 40 }
    }

    /// A few bytes each of a small set of pages, often: locks, counters, heads of queues.
    #[must_use]
    pub fn hot_set(pages: u64, pages_per_s: u64) -> Self {
        Self { style: Style::Counters, pages, pages_per_s }
    }

    /// Rewrites whole pages of a large set: the lab's `dirty:RATE:SET`.
    #[must_use]
    pub fn muncher(pages: u64, pages_per_s: u64) -> Self {
        Self { style: Style::Contents, pages, pages_per_s }
    }

    /// What a disk's reads do to the page cache: as a muncher, over much memory and slowly.
    #[must_use]
    pub fn page_cache(pages: u64, disk_bytes_per_s: u64) -> Self {
        Self { style: Style::Contents, pages, pages_per_s: disk_bytes_per_s / 4096 }
    }

    /// Pages that it writes to.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    fn steps(&self, ran: Duration) -> u64 {
        let steps = ran.as_nanos() * u128::from(self.pages_per_s) / 1_000_000_000;
        u64::try_from(steps).unwrap_or(u64::MAX)
    }

    /// `style pages rate`, as a saved guest's text has it.
    fn word(&self) -> String {
        let style = match self.style {
            Style::Counters => "counters",
            Style::Contents => "contents",
        };
        format!("{style} {} {}", self.pages, self.pages_per_s)
    }

    fn from_words<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let style = match words.next()? {
            "counters" => Style::Counters,
            "contents" => Style::Contents,
            _ => return None,
        };
        let (pages, pages_per_s) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { style, pages, pages_per_s })
    }
}

/// A writer at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Working {
    writer: MemoryWriter,
    /// The first frame of its stretch.
    first: u64,
    /// When it began, in time that its guest has run.
    begun: Duration,
    steps_done: u64,
}

impl Working {
    pub(super) fn new(writer: MemoryWriter, first: u64, begun: Duration) -> Self {
        Self { writer, first, begun, steps_done: 0 }
    }

    /// What is due, each page once: what was written before is overwritten anyway.
    pub(super) fn due(&mut self, ran: Duration) -> impl Iterator<Item = (u64, Contents)> + use<> {
        let Self { writer, first, .. } = *self;
        let end = writer.steps(ran.saturating_sub(self.begun));
        let pages = writer.pages;
        let start = self.steps_done.max(end.saturating_sub(pages)).min(end);
        self.steps_done = end;
        let steps = if pages == 0 { end..end } else { start..end };
        steps.map(move |step| {
            let page = step % pages;
            (first + page, contents(writer.style, first + page, step / pages))
        })
    }

    /// A saved guest's text has it, and the time that the guest has run.
    pub(super) fn encode(&self) -> String {
        let Self { first, steps_done, .. } = self;
        format!("{} {first} {} {steps_done}", self.writer.word(), self.begun.as_nanos())
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let writer = MemoryWriter::from_words(&mut words)?;
        let first = words.next()?.parse().ok()?;
        let begun = Duration::from_nanos(words.next()?.parse().ok()?);
        let steps_done = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { writer, first, begun, steps_done })
    }
}

fn contents(style: Style, gfn: u64, round: u64) -> Contents {
    match style {
        Style::Counters => Contents::pattern(Rng::new(gfn).next(), round + 1),
        Style::Contents => Contents::pattern(Rng::new(gfn ^ round << 40).next(), 0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn writers() -> impl Strategy<Value = MemoryWriter> {
        let style = prop_oneof![Just(Style::Counters), Just(Style::Contents)];
        (style, 0_u64..50, 0_u64..100_000).prop_map(|(style, pages, pages_per_s)| MemoryWriter {
            style,
            pages,
            pages_per_s,
        })
    }

    fn memory(mut working: Working, looks_ms: &[u64]) -> BTreeMap<u64, Contents> {
        let (mut memory, mut ran) = (BTreeMap::new(), Duration::ZERO);
        for ms in looks_ms {
            ran += Duration::from_millis(*ms);
            memory.extend(working.due(ran));
            let text = working.encode();
            assert_eq!(Working::decode(&text), Some(working), "{text}");
        }
        memory
    }

    proptest! {
        #[test]
        fn how_often_one_looks_changes_nothing(writer in writers(), looks_ms in vec(0_u64..400, 1..9)) {
            let working = Working::new(writer, 100, Duration::ZERO);
            let once = memory(working, &[looks_ms.iter().sum()]);
            prop_assert_eq!(memory(working, &looks_ms), once);
        }
    }
}
