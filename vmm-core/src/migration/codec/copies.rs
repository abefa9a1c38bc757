//! Copies of pages as they were last sent, up to a fixed number.

use std::collections::HashMap;

use super::Page;
use crate::migration::Pfn;

/// A cache of copies. A page that has one keeps it up to date; a new one is taken while there is room.
#[derive(Debug)]
pub struct Copies {
    slots: HashMap<Pfn, Box<Page>>,
    count_max: usize,
}

impl Copies {
    /// Room for so many bytes of pages.
    #[must_use]
    pub fn within(bytes: usize) -> Self {
        Self { slots: HashMap::new(), count_max: bytes / super::PAGE }
    }

    /// What was last sent of a page.
    #[must_use]
    pub fn get(&self, page: Pfn) -> Option<&Page> {
        self.slots.get(&page).map(Box::as_ref)
    }

    /// This was sent. True when it is kept.
    pub fn keep(&mut self, page: Pfn, contents: &Page) -> bool {
        if let Some(slot) = self.slots.get_mut(&page) {
            slot.copy_from_slice(contents);
            return true;
        }
        let has_room = self.slots.len() < self.count_max;
        if has_room {
            self.slots.insert(page, Box::new(*contents));
        }
        has_room
    }

    /// It may not have arrived.
    pub fn forget(&mut self, page: Pfn) {
        self.slots.remove(&page);
    }
}
