//! Whatever comes in whatever rounds: a receiver has each page's last word, and what is kept back has its bound.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use vmm_core::migration::Pfn;
use vmm_core::migration::codec::{PAGE, Page};
use xen_bindings::{PageTable, PageType};

use super::hold::{Hold, Kept};

const END: u32 = 40;

/// A page's last word: a byte of its contents and whether it is a table, or that it has none.
type Word = Option<(u8, bool)>;
type Memory = BTreeMap<u32, Word>;

fn contents((byte, is_table): (u8, bool)) -> (PageType, Page) {
    let table = PageTable::new(1, true).filter(|_| is_table);
    (table.map_or(PageType::Normal, PageType::Table), [byte; PAGE])
}

/// Passes on what it gets.
struct Receiver {
    hold: Hold,
    kept_max: usize,
    memory: Memory,
    sent: usize,
}

impl Receiver {
    fn new(kept_max: usize) -> Self {
        let hold = Hold::new(Pfn(END), kept_max * PAGE);
        Self { hold, kept_max, memory: Memory::new(), sent: 0 }
    }

    fn come(&mut self, round: &Memory) {
        for (page, word) in round {
            match word {
                Some(word) => {
                    let (kind, contents) = contents(*word);
                    if !self.hold.keeps(Pfn(*page), kind, &contents) {
                        self.sent += 1;
                        self.memory.insert(*page, Some(*word));
                    }
                }
                None => {
                    self.hold.drop_page(Pfn(*page));
                    self.memory.entry(*page).and_modify(|word| *word = None);
                }
            }
            assert!(self.hold.len() <= self.kept_max);
        }
    }

    fn release(&mut self, kept: Vec<Kept>) {
        for Kept { page, kind, contents } in kept {
            self.sent += 1;
            self.memory.insert(page.0, Some((contents[0], kind != PageType::Normal)));
        }
    }

    fn end_round(&mut self) {
        let quiet = self.hold.end_round();
        self.release(quiet);
    }

    fn end(mut self, last: &Memory) -> Self {
        self.end_round();
        self.hold.stop();
        self.come(last);
        let rest = self.hold.rest();
        self.release(rest);
        assert_eq!(self.hold.len(), 0);
        self
    }
}

fn a_round() -> impl Strategy<Value = Memory> {
    let word = prop::option::weighted(0.9, (any::<u8>(), any::<bool>()));
    btree_map(0..END, word, 0..END as usize)
}

proptest! {
    #[test]
    fn every_page_arrives_as_it_was_last(
        rounds in vec(a_round(), 1..9), last in a_round(), kept_max in 0_usize..30,
    ) {
        let (mut receiver, mut stock) = (Receiver::new(kept_max), Memory::new());
        for round in &rounds {
            receiver.come(round);
            receiver.end_round();
            stock.extend(round.iter().map(|(page, word)| (*page, *word)));
        }
        stock.extend(last.iter().map(|(page, word)| (*page, *word)));
        let memory = receiver.end(&last).memory;
        for (page, word) in &stock {
            // A page that has nothing and never arrived is as good as one that has nothing.
            prop_assert_eq!(memory.get(page).copied().flatten(), *word, "page {}", page);
        }
        prop_assert!(memory.keys().all(|page| stock.contains_key(page)));
    }
}

#[test]
fn a_page_that_is_written_all_the_time_goes_thrice_and_no_oftener() {
    let hot = |byte| Memory::from([(3, Some((byte, false)))]);
    let mut receiver = Receiver::new(4);
    for round in 0..20 {
        receiver.come(&hot(round));
        receiver.end_round();
    }
    receiver.come(&hot(98));
    let receiver = receiver.end(&hot(99));
    // With all memory, when it was written first, and when the guest stood still.
    assert_eq!((receiver.sent, receiver.memory), (3, hot(99)));
}

#[test]
fn a_page_that_comes_to_rest_goes_then() {
    let mut receiver = Receiver::new(4);
    for byte in 0..4 {
        receiver.come(&Memory::from([(3, Some((byte, true)))]));
        receiver.end_round();
    }
    assert_eq!((receiver.hold.len(), receiver.memory[&3]), (1, Some((1, true))));
    receiver.end_round();
    assert_eq!((receiver.hold.len(), receiver.memory[&3]), (0, Some((3, true))));
}

#[test]
fn what_has_no_room_is_sent() {
    let all: Memory = (0..10).map(|page| (page, Some((7, false)))).collect();
    let mut receiver = Receiver::new(3);
    for _ in 0..4 {
        receiver.come(&all);
        receiver.end_round();
    }
    assert_eq!((receiver.hold.len(), receiver.sent), (3, 10 + 10 + 7 + 7));
}
