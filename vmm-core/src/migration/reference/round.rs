//! A walk over a set of pages in ascending order: what all of these loops do.

use crate::migration::{Action, BATCH_PAGES_MAX, Batch, Bitmap, Item, Keep, Pack, Pfn, Tricks};

/// What is to be sent in this round, and how far it is.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) todo: Bitmap,
    cursor: Pfn,
    outstanding: u32,
}

impl Round {
    pub(super) fn of(todo: Bitmap) -> Self {
        Self { todo, cursor: Pfn(0), outstanding: 0 }
    }

    /// The next pages that are not to be skipped, packed so.
    pub(super) fn batch(
        &mut self,
        skip: Option<&Bitmap>,
        pack: Pack,
        tricks: Tricks,
    ) -> Option<Action> {
        let mut items = Vec::new();
        while let Some(page) = self.todo.next(self.cursor) {
            self.cursor = Pfn(page.0.saturating_add(1));
            if skip.is_some_and(|skip| skip.has(page)) {
                continue;
            }
            self.todo.remove(page);
            items.push(Item {
                page,
                pack,
                keep: if tricks.delta { Keep::Copy } else { Keep::Nothing },
            });
            if items.len() == BATCH_PAGES_MAX {
                break;
            }
        }
        self.outstanding += u32::from(!items.is_empty());
        (!items.is_empty()).then_some(Action::Send(Batch { items, tricks }))
    }

    /// From the first page again.
    pub(super) fn rewind(&mut self) {
        self.cursor = Pfn(0);
    }

    pub(super) fn handed(&mut self) {
        self.outstanding += 1;
    }

    pub(super) fn arrived(&mut self, sends: u32) {
        self.outstanding = self.outstanding.saturating_sub(sends);
    }

    pub(super) fn is_all_there(&self) -> bool {
        self.outstanding == 0 && self.todo.is_empty()
    }

    pub(super) fn lost(&mut self, sends: u32, pages: &Bitmap) {
        self.arrived(sends);
        self.todo.union(pages);
        self.rewind();
    }
}
