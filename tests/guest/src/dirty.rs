//! A memory writer: rewrites the pages of a working set in turn at a given rate, and before each write checks that the page
//! still holds exactly what was written last. After a migration, one stale page is enough to be seen.

use std::thread;
use std::time::{Duration, Instant};

use crate::pattern::{self, Seen};
use crate::tally::Tally;

const PAGE_BYTES: usize = 4096;
const PAGE_WORDS: usize = PAGE_BYTES / size_of::<u64>();
const PAGES_PER_MIB: u32 = 256;
/// Work comes in slices, so that the rate is even.
const SLICES_PER_S: u32 = 10;

pub(crate) fn forever(rate_mib: u32, set_mib: u32, tally: &Tally) {
    let pages = u64::from(set_mib) * u64::from(PAGES_PER_MIB);
    let page_count = usize::try_from(pages).expect("64-bit");
    let mut memory = vec![0_u64; page_count * PAGE_WORDS];
    for (place, page) in (0..).zip(memory.chunks_exact_mut(PAGE_WORDS)) {
        pattern::write(page, place, 0);
    }
    let slice_pages = u64::from(rate_mib) * u64::from(PAGES_PER_MIB) / u64::from(SLICES_PER_S);
    let mut written = 0_u64;
    loop {
        let start = Instant::now();
        for _ in 0..slice_pages {
            let (place, generation) = (written % pages, written / pages);
            let at = usize::try_from(place).expect("64-bit") * PAGE_WORDS;
            let page = &mut memory[at..at + PAGE_WORDS];
            let seen = pattern::read(page, place);
            if seen != (Seen::Whole { generation }) {
                tally.bad(format_args!("memory page={place} generation={generation} {seen:?}"));
            }
            pattern::write(page, place, generation + 1);
            written += 1;
        }
        Tally::add(&tally.dirtied_bytes, slice_pages * PAGE_BYTES as u64);
        pace(start, SLICES_PER_S);
    }
}

/// Waits out what is left of a slice of time that began at `start`. Time lost, to a pause or a migration, is not made up.
pub(crate) fn pace(start: Instant, slices_per_s: u32) {
    let slice = Duration::from_secs(1) / slices_per_s;
    thread::sleep(slice.saturating_sub(start.elapsed()));
}
