//! A batch into a frame: the policy's, mapped and copied, or one that somebody else has copied; encoded.

use vmm_core::migration::codec::{Copies, Key, PAGE, Packer, Page, twins::Twins, zero};
use vmm_core::migration::{Batch, Encoding, Item, Keep, Outcome, Pfn, Tricks};
use xen_bindings::{DomId, Gfn, GfnBatch, GfnSet, GuestMemory, PageType, XenError};

use super::SendError;
use super::pack::{Job, Share, pack};
use crate::migrate::frames::BatchWriter;

/// What the encoders know of what was sent. Moves from step to step.
pub(super) struct Encoder {
    packers: Vec<Packer>,
    key: Key,
    copies: Copies,
    /// Contents of the pages of a batch that are there, and what they are.
    room: Vec<Page>,
    kinds: Vec<PageType>,
    /// All pages that were ever handed over: the receiver has given them frames.
    pub(super) sent: GfnSet,
    /// Of these, those that were not there when they should have been sent again.
    pub(super) vanished: GfnSet,
    /// Pages by encoding.
    pub(super) counts: [u64; Encoding::ALL.len()],
}

/// A page that somebody else has copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) item: Item,
    /// One with contents.
    pub(super) kind: PageType,
    pub(super) contents: &'a Page,
}

/// What a page needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Nothing: zeros.
    Zero,
    /// The number of its twin.
    Same(u16),
    /// To be encoded.
    Pack,
}

/// A page that is not there takes nothing.
const NOT_THERE: Outcome =
    Outcome { encoding: Encoding::Zero, bytes: 0, nanos: 0, kept: Keep::Nothing };

impl Encoder {
    pub(super) fn new(
        end: Gfn,
        copies_bytes: usize,
        seed: [u8; 16],
        threads: u32,
    ) -> Result<Self, SendError> {
        let half =
            |at: usize| seed[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let key = Key::new([half(0), half(8)]);
        let packers = (0..threads.max(1)).map(|_| Packer::new(key)).collect::<Result<_, _>>();
        Ok(Self {
            packers: packers.map_err(|error| SendError::NoRoom(error.to_string()))?,
            key,
            copies: Copies::within(copies_bytes),
            room: Vec::new(),
            kinds: Vec::new(),
            sent: GfnSet::new(end),
            vanished: GfnSet::new(end),
            counts: [0; Encoding::ALL.len()],
        })
    }

    /// Appends the frame of those pages that are there. What became of each item, in their order.
    pub(super) fn batch(
        &mut self,
        memory: &dyn GuestMemory,
        domid: DomId,
        batch: &Batch,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Outcome>, XenError> {
        let is_there = self.copy(memory, domid, &batch.items)?;
        for (item, there) in batch.items.iter().zip(&is_there) {
            self.note(Gfn(item.page.0.into()), *there);
        }
        let there = those(&batch.items, &is_there);
        Ok(of_all(&is_there, self.write(&there, batch.tricks, out)))
    }

    /// Appends the frame of pages that are given, a batch at most. What became of each, in their order.
    pub(super) fn given(
        &mut self,
        given: &[Given<'_>],
        tricks: Tricks,
        out: &mut Vec<u8>,
    ) -> Vec<Outcome> {
        self.room.clear();
        self.room.extend(given.iter().map(|given| *given.contents));
        self.kinds.clear();
        self.kinds.extend(given.iter().map(|given| given.kind));
        let items: Vec<Item> = given.iter().map(|given| given.item).collect();
        for item in &items {
            self.note(Gfn(item.page.0.into()), true);
        }
        self.write(&items, tricks, out)
    }

    /// The receiver keeps nothing of it any more.
    pub(super) fn forget(&mut self, page: Pfn) {
        self.copies.forget(page);
    }

    /// Appends the frame of the pages in the room.
    fn write(&mut self, items: &[Item], tricks: Tricks, out: &mut Vec<u8>) -> Vec<Outcome> {
        let (frame, outcomes) = self.encode(items, tricks, Self::keep);
        for outcome in &outcomes {
            self.counts[outcome.encoding as usize] += 1;
        }
        frame.write(out);
        outcomes
    }

    /// What each item of a batch would take. Nothing is remembered.
    pub(super) fn weigh(
        &mut self,
        memory: &dyn GuestMemory,
        domid: DomId,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, XenError> {
        let is_there = self.copy(memory, domid, &batch.items)?;
        let there = those(&batch.items, &is_there);
        let (_, outcomes) = self.encode(&there, batch.tricks, |_, _, _| Keep::Nothing);
        Ok(of_all(&is_there, outcomes))
    }

    /// Copies what is there into the room, one behind the other. Which of them were.
    fn copy(
        &mut self,
        memory: &dyn GuestMemory,
        domid: DomId,
        items: &[Item],
    ) -> Result<Vec<bool>, XenError> {
        let gfn = |item: &Item| Gfn(item.page.0.into());
        let asked = GfnBatch::take_from(&mut items.iter().map(gfn));
        let types = memory.page_types(domid, &asked)?;
        let mut is_there: Vec<bool> = types.iter().map(|kind| kind.has_contents()).collect();
        is_there.resize(items.len(), false);
        let mut wanted = items.iter().zip(&is_there).filter(|(_, there)| **there);
        let wanted = GfnBatch::take_from(&mut wanted.by_ref().map(|(item, _)| gfn(item)));
        self.room.resize(wanted.len(), [0; PAGE]);
        let mut copied = 0;
        if !wanted.is_empty() {
            let mapped = memory.map(domid, &wanted)?;
            let asked = is_there.iter_mut().filter(|there| **there);
            for (index, there) in asked.enumerate() {
                // What went between the two calls is not there either.
                *there = mapped.copy(index, &mut self.room[copied]);
                copied += usize::from(*there);
            }
        }
        self.room.truncate(copied);
        self.kinds.clear();
        self.kinds.resize(copied, PageType::Normal);
        Ok(is_there)
    }

    /// Pages are below the end: the policy knows no others.
    fn note(&mut self, gfn: Gfn, is_there: bool) {
        let is_known = if is_there {
            self.vanished.remove(gfn) && self.sent.insert(gfn)
        } else {
            self.vanished.insert(gfn)
        };
        debug_assert!(is_known, "frame {gfn} lies above the end");
    }

    /// The frame of pages that are in the room, and what `keep` of each is remembered.
    fn encode(
        &mut self,
        items: &[Item],
        tricks: Tricks,
        keep: fn(&mut Self, &Item, usize) -> Keep,
    ) -> (BatchWriter, Vec<Outcome>) {
        let plans = self.plans(tricks);
        let pages = items.iter().zip(&self.room);
        let jobs = pages.zip(&plans).filter(|(_, plan)| **plan == Plan::Pack);
        let jobs: Vec<Job<'_>> = jobs.map(|((item, page), _)| Job { item, page }).collect();
        // They were looked at already.
        let tricks = Tricks { zero: false, ..tricks };
        let shares = pack(&mut self.packers, &jobs, &self.copies, tricks);
        let mut packed = shares.iter().flat_map(Share::iter);
        let mut frame = BatchWriter::default();
        let mut outcomes = Vec::with_capacity(items.len());
        for ((item, plan), index) in items.iter().zip(plans).zip(0..) {
            let (encoding, nanos) = match plan {
                Plan::Zero => (Encoding::Zero, 0),
                Plan::Same(twin) => {
                    frame.body().extend(twin.to_le_bytes());
                    (Encoding::Same, 0)
                }
                Plan::Pack => {
                    let (encoding, body, nanos) = packed.next().expect("each job has an end");
                    frame.body().extend_from_slice(body);
                    (encoding, nanos)
                }
            };
            let kept = keep(self, item, index);
            let kind = self.kinds.get(index).copied().unwrap_or(PageType::Normal);
            let bytes = frame.end_of(item.page, kind, encoding, kept == Keep::Copy);
            outcomes.push(Outcome { encoding, bytes, nanos, kept });
        }
        (frame, outcomes)
    }

    /// What each page in the room needs.
    fn plans(&self, tricks: Tricks) -> Vec<Plan> {
        let mut twins = Twins::new(self.room.len());
        let plan = |(page, index): (&Page, u16)| {
            if tricks.zero && zero::is_zero(page) {
                return Plan::Zero;
            }
            let room = |at: u16| self.room.get(usize::from(at));
            let twin = tricks.same.then(|| twins.find(self.key, index, room)).flatten();
            twin.map_or(Plan::Pack, Plan::Same)
        };
        self.room.iter().zip(0..).map(plan).collect()
    }

    /// A copy for the next time, if it shall be kept and there is room; else what was kept is forgotten, as the receiver does.
    fn keep(&mut self, item: &Item, index: usize) -> Keep {
        let page = self.room.get(index).filter(|_| item.keep == Keep::Copy);
        if page.is_some_and(|page| self.copies.keep(item.page, page)) {
            return Keep::Copy;
        }
        self.copies.forget(item.page);
        Keep::Nothing
    }
}

/// The items whose pages are there.
fn those(items: &[Item], is_there: &[bool]) -> Vec<Item> {
    let there = items.iter().zip(is_there).filter(|(_, there)| **there);
    there.map(|(item, _)| *item).collect()
}

/// Outcomes of all items, from those of the pages that are there.
fn of_all(is_there: &[bool], outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut outcomes = outcomes.into_iter();
    let outcome = |there: &bool| match there {
        true => outcomes.next().unwrap_or(NOT_THERE),
        false => NOT_THERE,
    };
    is_there.iter().map(outcome).collect()
}
