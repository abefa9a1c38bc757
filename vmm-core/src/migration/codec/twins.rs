//! Pages of one batch that are the same. Within a batch only: there the sender has both contents as they are sent, compares them byte by byte, and
//! no later write can come between.

use std::collections::HashMap;

use super::sums::{Key, Sums};
use super::{DecodeError, Page};

/// The pages of a batch so far.
#[derive(Debug)]
pub struct Twins {
    seen: HashMap<u64, u16>,
}

impl Twins {
    /// None yet. `pages` is how many may come.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        Self { seen: HashMap::with_capacity(pages) }
    }

    /// The number of an earlier page of the batch with these contents. `batch` gives pages by number; this one has the number `index`.
    pub fn find<'a>(
        &mut self,
        key: Key,
        index: u16,
        batch: impl Fn(u16) -> Option<&'a Page>,
    ) -> Option<u16> {
        let page = batch(index)?;
        let sum = Sums::of(key, page).whole();
        match self.seen.get(&sum) {
            Some(earlier) if batch(*earlier) == Some(page) => Some(*earlier),
            Some(_) => None,
            None => {
                self.seen.insert(sum, index);
                None
            }
        }
    }
}

/// Which number a body of [`crate::migration::Encoding::Same`] means, for the page with the number `index`.
///
/// # Errors
/// [`DecodeError::Twin`], [`DecodeError::Length`].
pub fn resolve(body: &[u8], index: u16) -> Result<u16, DecodeError> {
    let encoding = crate::migration::Encoding::Same;
    let of = body.try_into().map_err(|_| DecodeError::Length { encoding, length: body.len() })?;
    let of = u16::from_le_bytes(of);
    if of < index { Ok(of) } else { Err(DecodeError::Twin { of: of.into() }) }
}
