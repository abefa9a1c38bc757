//! The stream of a save, a record at a time: pages become frames or are kept, the rest is written down for the image's two ends. Blocks.

use vmm_core::migration::choose::Chooser;
use vmm_core::migration::{BATCH_PAGES_MAX, Item, Keep, Options, Outcome, Pfn, Tricks};
use xen_bindings::stream::image::{ImageReader, ImageWriter, Limits, Pages, Record, ZERO_PAGE};
use xen_bindings::stream::{Input, Output};
use xen_bindings::{Gfn, GuestKind, PageType};

use super::departure::{News, Question, Questions, Stream, Told, news};
use super::hold::Hold;
use crate::migrate::frames::BatchWriter;
use crate::migrate::sender::encode::{Encoder, Given};
use crate::migrate::sender::{COPIES_BYTES, SendError};

/// Memory for pages that are kept back.
const KEPT_BYTES: usize = 64 << 20;
/// What a page's entry takes in a frame.
const ENTRY_BYTES: u64 = 8;

/// What was heard.
pub(super) enum Heard {
    /// Pages, or none of them that is not kept.
    Pages(Packed),
    Asked(Question),
    /// The image has ended.
    End,
}

/// Pages on their way.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// One for each batch.
    pub(super) frames: Vec<Vec<u8>>,
    /// Pages in them.
    pub(super) pages: u64,
    /// What they take.
    pub(super) bytes: u64,
    /// Pages that have come, those that are kept with them.
    pub(super) came: u64,
}

/// Which of the pages that were kept are sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Those that a round came without, which is over.
    Quiet,
    /// All.
    Rest,
}

/// A save that is listened to.
pub(super) struct Tap {
    reader: ImageReader<Stream>,
    questions: Questions,
    /// An image of no pages.
    image: ImageWriter<Vec<u8>>,
    prologue_bytes: usize,
    end: Pfn,
    pub(super) hold: Hold,
    pub(super) encoder: Encoder,
    chooser: Chooser,
    tricks: Tricks,
    /// Copies of what is sent in the first round would be of no use.
    keep: Keep,
}

impl Tap {
    /// Reads up to where the pages begin.
    pub(super) fn open(
        (stream, questions): (Stream, Questions),
        options: &Options,
        (seed, threads): ([u8; 16], u32),
    ) -> Result<Self, SendError> {
        let mut reader = ImageReader::open(Input::new(stream), Limits::default())?;
        let header = reader.header();
        if header.kind != GuestKind::Pv {
            return Err(SendError::Foreign("no PV guest's"));
        }
        let mut image = ImageWriter::begin(Output::new(Vec::new()), header)?;
        let end = loop {
            let record = reader.next()?.ok_or(SendError::Foreign("at its end too early"))?;
            if matches!(record, Record::Pages(_)) {
                return Err(SendError::Foreign("without a table of frames"));
            }
            image.write(&record)?;
            if let Record::P2mFrames(table) = record {
                break table.end.checked_add(1).map(Pfn);
            }
        };
        let end = end.ok_or(SendError::TooLarge { end: 1 << 32 })?;
        let prologue_bytes = image.written().len();
        Ok(Self {
            reader,
            questions,
            image,
            prologue_bytes,
            end,
            hold: Hold::new(end, KEPT_BYTES),
            encoder: Encoder::new(Gfn(end.0.into()), COPIES_BYTES, seed, threads)?,
            chooser: Chooser::new(threads, &options.packs),
            tricks: options.tricks,
            keep: Keep::Nothing,
        })
    }

    /// All its pages are below.
    pub(super) fn end(&self) -> Pfn {
        self.end
    }

    /// The image's beginning.
    pub(super) fn prologue(&self) -> &[u8] {
        &self.image.written()[..self.prologue_bytes]
    }

    /// What is behind the pages. Once the image has ended.
    pub(super) fn epilogue(&self) -> &[u8] {
        &self.image.written()[self.prologue_bytes..]
    }

    pub(super) fn tell(&self, told: Told) {
        self.questions.tell(told);
    }

    /// What comes next, for a link of so many bytes a second.
    pub(super) fn listen(&mut self, link: f64) -> Result<Heard, SendError> {
        // Taken apart, so that pages may be looked at while they are borrowed from the reader.
        let Self { reader, image, hold, encoder, chooser, .. } = self;
        match news(reader.input(), &mut self.questions).map_err(SendError::pipe)? {
            News::GivenUp => return Err(SendError::Cancelled),
            News::Asked(question) => return Ok(Heard::Asked(question)),
            News::Stream => {}
        }
        match reader.next()? {
            None | Some(Record::End) => {
                image.write(&Record::End)?;
                Ok(Heard::End)
            }
            Some(Record::Verify) => Err(SendError::Foreign("one to be compared")),
            Some(Record::Pages(pages)) => {
                let mut packing =
                    Packing { encoder, chooser, link, tricks: self.tricks, keep: self.keep };
                packing.record(hold, self.end, &pages).map(Heard::Pages)
            }
            Some(record) => {
                image.write(&record)?;
                Ok(Heard::Pages(Packed::default()))
            }
        }
    }

    /// What was kept and is not any more.
    pub(super) fn release(&mut self, which: Release, link: f64) -> Packed {
        let kept = match which {
            Release::Quiet => self.hold.end_round(),
            Release::Rest => self.hold.rest(),
        };
        let (tricks, keep) = (self.tricks, self.keep);
        let (encoder, chooser) = (&mut self.encoder, &mut self.chooser);
        let mut packing = Packing { encoder, chooser, link, tricks, keep };
        let mut packed = Packed::default();
        let pages = kept.iter().map(|kept| (kept.page, kept.kind, &*kept.contents));
        packing.pages(pages.collect(), &mut packed);
        self.keep = Keep::Copy;
        packed
    }

    /// The guest stands still.
    pub(super) fn stop(&mut self) {
        self.hold.stop();
    }
}

/// A page that is to be sent.
type Whole<'a> = (Pfn, PageType, &'a [u8; 4096]);

/// What makes frames of pages.
struct Packing<'a> {
    encoder: &'a mut Encoder,
    chooser: &'a mut Chooser,
    link: f64,
    tricks: Tricks,
    keep: Keep,
}

impl Packing<'_> {
    fn record(
        &mut self,
        hold: &mut Hold,
        end: Pfn,
        pages: &Pages<'_>,
    ) -> Result<Packed, SendError> {
        let (mut whole, mut bare) = (Vec::new(), Vec::new());
        for page in pages.iter() {
            let pfn = u32::try_from(page.pfn().0).map(Pfn).ok().filter(|pfn| *pfn < end);
            let pfn = pfn.ok_or(SendError::Foreign("with pages beyond its end"))?;
            // What is only allocated may hold anything.
            let contents = match page.kind() {
                PageType::AllocOnly => Some((PageType::Normal, &ZERO_PAGE)),
                kind => page.bytes().map(|bytes| (kind, bytes)),
            };
            match contents {
                Some((kind, bytes)) if !hold.keeps(pfn, kind, bytes) => {
                    whole.push((pfn, kind, bytes));
                }
                Some(_) => {}
                None => {
                    hold.drop_page(pfn);
                    bare.push((pfn, page.kind()));
                }
            }
        }
        let mut packed = Packed { came: pages.len() as u64, ..Packed::default() };
        self.pages(whole, &mut packed);
        self.bare(&bare, &mut packed);
        Ok(packed)
    }

    fn pages(&mut self, pages: Vec<Whole<'_>>, packed: &mut Packed) {
        for batch in pages.chunks(BATCH_PAGES_MAX) {
            let given: Vec<Given<'_>> = batch
                .iter()
                .map(|(page, kind, contents)| {
                    let pack = self.chooser.next(self.link);
                    let item = Item { page: *page, pack, keep: self.keep };
                    Given { item, kind: *kind, contents }
                })
                .collect();
            let mut frame = Vec::new();
            let outcomes: Vec<Outcome> = self.encoder.given(&given, self.tricks, &mut frame);
            for (given, outcome) in given.iter().zip(outcomes) {
                self.chooser.learn(given.item.pack, outcome);
                packed.bytes += ENTRY_BYTES + u64::from(outcome.bytes);
            }
            packed.pages += batch.len() as u64;
            packed.frames.push(frame);
        }
    }

    /// Of those that were sent: the others are nothing to the receiver.
    fn bare(&mut self, bare: &[(Pfn, PageType)], packed: &mut Packed) {
        let sent = |(page, _): &&(Pfn, PageType)| self.encoder.sent.contains(Gfn(page.0.into()));
        let bare: Vec<&(Pfn, PageType)> = bare.iter().filter(sent).collect();
        for batch in bare.chunks(BATCH_PAGES_MAX) {
            let (mut writer, mut frame) = (BatchWriter::default(), Vec::new());
            for (page, kind) in batch {
                // As the receiver does.
                self.encoder.forget(*page);
                writer.bare(*page, *kind);
            }
            writer.write(&mut frame);
            packed.frames.push(frame);
        }
    }
}
