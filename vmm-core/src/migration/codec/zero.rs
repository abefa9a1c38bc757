//! Whether a page is all zeros: the commonest page of all.

use super::Page;

const LANE: usize = 64;

/// Whether all bytes are zero. Stops at the first lane that has another one: most pages that are none are told by their first bytes.
#[must_use]
pub fn is_zero(page: &Page) -> bool {
    page.chunks_exact(LANE).all(|lane| lane.iter().fold(0, |any, byte| any | byte) == 0)
}
