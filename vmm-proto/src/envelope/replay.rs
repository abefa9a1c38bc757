//! Which sequence numbers were seen: a bitmap that slides over the newest ones.
//!
//! HTTP/2 delivers requests out of order, so order cannot be demanded; uniqueness can. A number
//! older than the window counts as seen.

/// Numbers that the window holds.
pub const WINDOW: u64 = 1024;

const WORDS: usize = 16;
const WORD_BITS: u64 = 64;

/// The window of one session and direction.
#[derive(Clone, Debug)]
pub struct Window {
    /// One past the newest number seen.
    next: u64,
    /// Bit `seq % WINDOW` for `next - WINDOW <= seq < next`.
    bits: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Window {
        Window { next: 0, bits: [0; WORDS] }
    }
}

impl Window {
    /// Whether a number was seen, or is too old to say.
    pub fn is_seen(&self, seq: u64) -> bool {
        if seq >= self.next {
            return false;
        }
        let (word, bit) = place(seq);
        self.next - seq > WINDOW || self.bits[word] & bit != 0
    }

    /// Marks a number; says whether it was new. Call it once the tag has verified.
    #[must_use]
    pub fn mark(&mut self, seq: u64) -> bool {
        if self.is_seen(seq) || seq == u64::MAX {
            return false;
        }
        if seq >= self.next {
            self.slide(seq);
        }
        let (word, bit) = place(seq);
        self.bits[word] |= bit;
        true
    }

    fn slide(&mut self, newest: u64) {
        if newest - self.next >= WINDOW {
            self.bits = [0; WORDS];
        } else {
            for seq in self.next..=newest {
                let (word, bit) = place(seq);
                self.bits[word] &= !bit;
            }
        }
        self.next = newest + 1;
    }
}

fn place(seq: u64) -> (usize, u64) {
    let index = seq % WINDOW;
    let word = usize::try_from(index / WORD_BITS).expect("below 16");
    (word, 1 << (index % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Model {
        seen: HashSet<u64>,
        newest: Option<u64>,
    }

    impl Model {
        fn mark(&mut self, seq: u64) -> bool {
            let too_old = self.newest.is_some_and(|newest| seq + WINDOW <= newest);
            let new = !too_old && self.seen.insert(seq);
            if new {
                self.newest = self.newest.max(Some(seq));
            }
            new
        }
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_everything(
            steps in proptest::collection::vec((0_u64..3000, any::<bool>()), 1..400),
        ) {
            let mut window = Window::default();
            let mut model = Model::default();
            let mut base = 0;
            for (offset, forward) in steps {
                let seq = if forward { base + offset % 1100 } else { base.saturating_sub(offset) };
                base = base.max(seq);
                prop_assert_eq!(window.mark(seq), model.mark(seq), "seq {}", seq);
                prop_assert!(window.is_seen(seq));
            }
        }
    }

    #[test]
    fn the_last_number_of_all_is_never_accepted() {
        let mut window = Window::default();
        assert!(window.mark(u64::MAX - 1));
        assert!(!window.mark(u64::MAX));
        assert!(!window.mark(u64::MAX - 1));
    }
}
