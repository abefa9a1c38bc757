//! Frames in, libxc's image out: all that an arrival does between its link and its pipe. Blocks where `W` does.

use std::io::Write;

use vmm_core::cpu::Features;
use vmm_core::migration::{Encoding, PAGE_BYTES, Pfn};
use xen_bindings::stream::image::{ImageReader, ImageWriter, Limits, Record};
use xen_bindings::stream::{Input, Output};
use xen_bindings::{CpuPolicy, Gfn, GfnSet, GuestKind};

use super::pages::Expander;
use super::{ArrivalError, Arrived, Bounds};
use crate::migrate::frames::{Batch, Frame, Gone, Hello, Reader, Tail};

/// Where an arrival stands.
enum Stage<W: Write> {
    /// Nothing has come.
    Start(W),
    /// Pages come.
    Pages(Box<Coming<W>>),
    /// Everything has come, and the pipe is closed.
    Over(Whole),
    /// It has failed.
    Failed,
}

struct Coming<W: Write> {
    image: ImageWriter<W>,
    /// To be read again before the epilogue, with which it is an image.
    prologue: Vec<u8>,
    pages: Expander,
    gone: GfnSet,
    gone_count: u64,
}

/// A guest that has come.
pub(crate) struct Whole {
    pub(crate) arrived: Arrived,
    /// Frames to be released.
    pub(crate) gone: GfnSet,
}

/// Takes a stranger's bytes.
pub(crate) struct Intake<W: Write> {
    reader: Reader,
    bounds: Bounds,
    stage: Stage<W>,
    stream_bytes: u64,
    is_asked: bool,
}

impl<W: Write> Intake<W> {
    pub(crate) fn new(image: W, bounds: Bounds) -> Self {
        let (reader, stage) = (Reader::new(), Stage::Start(image));
        Self { reader, bounds, stage, stream_bytes: 0, is_asked: false }
    }

    /// The next bytes, cut anywhere.
    ///
    /// # Errors
    /// [`ArrivalError`], and no byte more is taken.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), ArrivalError> {
        self.stream_bytes += bytes.len() as u64;
        // Taken apart, so that a frame may be borrowed while the image is written.
        let mut stage = std::mem::replace(&mut self.stage, Stage::Failed);
        while let Some(frame) = self.reader.next(&mut bytes)? {
            self.is_asked |= matches!(frame, Frame::Mark(_) | Frame::Tail(_));
            stage = step(stage, &frame, &self.bounds)?;
        }
        if let Stage::Over(whole) = &mut stage {
            whole.arrived.stream_bytes = self.stream_bytes;
        }
        self.stage = stage;
        Ok(())
    }

    /// Whether the sender waits to be told that all so far is here. Answers once for each time that it asks.
    pub(super) fn is_asked(&mut self) -> bool {
        std::mem::take(&mut self.is_asked)
    }

    /// `None` while something is missing.
    pub(crate) fn into_whole(self) -> Option<Whole> {
        match self.stage {
            Stage::Over(whole) if self.reader.is_over() => Some(whole),
            _ => None,
        }
    }
}

/// The reader has seen to the order of frames.
fn step<W: Write>(
    stage: Stage<W>,
    frame: &Frame<'_>,
    bounds: &Bounds,
) -> Result<Stage<W>, ArrivalError> {
    match (stage, frame) {
        (Stage::Start(to), Frame::Hello(hello)) => {
            Ok(Stage::Pages(Box::new(Coming::begin(to, hello, bounds)?)))
        }
        (Stage::Pages(mut coming), frame) => {
            match frame {
                Frame::Batch(batch) => coming.batch(batch)?,
                Frame::Gone(gone) => coming.gone(gone)?,
                Frame::Tail(tail) => return Ok(Stage::Over(coming.end(tail)?)),
                Frame::Mark(_) | Frame::Hello(_) => {}
            }
            Ok(Stage::Pages(coming))
        }
        _ => Err(ArrivalError::Over),
    }
}

impl<W: Write> Coming<W> {
    fn begin(to: W, hello: &Hello<'_>, bounds: &Bounds) -> Result<Self, ArrivalError> {
        let limit = bounds.pfn_end();
        if hello.pfn_end > limit {
            return Err(ArrivalError::End { pfn_end: hello.pfn_end, limit });
        }
        let pages_max = bounds.copies_bytes_max / u64::from(PAGE_BYTES);
        let copies_max = u64::from(hello.copies_max);
        if copies_max > pages_max {
            return Err(ArrivalError::Copies { pages: copies_max, pages_max });
        }
        let guest = check_prologue(hello, &bounds.features)?;
        let pages = Expander::new(guest, hello.pfn_end, bounds.frames_max, copies_max)?;
        let wrong = ArrivalError::Prologue;
        let mut reader =
            ImageReader::open(Input::new(hello.prologue), Limits::default()).map_err(wrong)?;
        let mut image =
            ImageWriter::begin(Output::new(to), reader.header()).map_err(ArrivalError::Write)?;
        while reader.offset() < hello.prologue.len() as u64 {
            let Some(record) = reader.next().map_err(wrong)? else { break };
            image.write(&record).map_err(ArrivalError::Write)?;
        }
        let gone = GfnSet::new(Gfn(hello.pfn_end.into()));
        Ok(Self { image, prologue: hello.prologue.to_vec(), pages, gone, gone_count: 0 })
    }

    fn batch(&mut self, batch: &Batch<'_>) -> Result<(), ArrivalError> {
        let pages = self.pages.expand(batch)?;
        self.image.write(&Record::Pages(pages)).map_err(ArrivalError::Write)
    }

    fn gone(&mut self, gone: &Gone<'_>) -> Result<(), ArrivalError> {
        if self.pages.guest() == GuestKind::Pv {
            return Err(ArrivalError::Image("frames that a PV guest gave back"));
        }
        for run in gone.iter() {
            let first = u64::from(run.first.0);
            for gfn in (first..first + u64::from(run.pages)).map(Gfn) {
                let page = Pfn(u32::try_from(gfn.0).unwrap_or(u32::MAX));
                let is_there = self.pages.seen().contains(gfn) && !self.gone.contains(gfn);
                if !is_there || !self.gone.insert(gfn) {
                    return Err(ArrivalError::NotThere { page });
                }
                self.gone_count += 1;
            }
        }
        Ok(())
    }

    /// Writes the machine's state, and closes the pipe.
    fn end(mut self, tail: &Tail<'_>) -> Result<Whole, ArrivalError> {
        for (told, came) in [(tail.frames, self.pages.seen_count()), (tail.gone, self.gone_count)] {
            if told != came {
                return Err(ArrivalError::Count { told, came });
            }
        }
        let image = [&self.prologue[..], tail.epilogue].concat();
        check_image(&image)?;
        let wrong = ArrivalError::Epilogue;
        let mut reader =
            ImageReader::open(Input::new(&image[..]), Limits::default()).map_err(wrong)?;
        loop {
            let is_state = reader.offset() >= self.prologue.len() as u64;
            let Some(record) = reader.next().map_err(wrong)? else { break };
            if is_state {
                self.image.write(&record).map_err(ArrivalError::Write)?;
            }
        }
        let output = self.image.into_output().map_err(ArrivalError::Write)?;
        drop(output.into_inner());
        let arrived = Arrived {
            frames: self.pages.seen_count(),
            released: self.gone_count,
            stream_bytes: 0,
            encodings: self.pages.counts,
        };
        Ok(Whole { arrived, gone: self.gone })
    }
}

/// It is all that comes before a guest's pages, and nothing behind; and it promises the guest nothing that is not here.
fn check_prologue(hello: &Hello<'_>, here: &Features) -> Result<GuestKind, ArrivalError> {
    let (prologue, wrong) = (hello.prologue, ArrivalError::Prologue);
    let mut reader = ImageReader::open(Input::new(prologue), Limits::default()).map_err(wrong)?;
    let guest = reader.header().kind;
    loop {
        match reader.next().map_err(wrong)? {
            Some(Record::StaticDataEnd) if guest == GuestKind::Pvh => break,
            Some(Record::P2mFrames(table)) if table.end < hello.pfn_end => break,
            Some(Record::P2mFrames(_)) => {
                return Err(ArrivalError::Image("a table of more frames than it has"));
            }
            Some(Record::CpuidPolicy(leaves)) => {
                let promised = CpuPolicy { leaves, msrs: Vec::new() };
                let missing = here.missing(&Features(promised.features()));
                if !missing.is_empty() {
                    return Err(ArrivalError::Features { missing });
                }
            }
            Some(Record::PvInfo(_) | Record::MsrPolicy(_) | Record::StaticDataEnd) => {}
            _ => return Err(ArrivalError::Image("no static data where it begins")),
        }
    }
    match reader.offset() == prologue.len() as u64 && reader.records_skipped() == 0 {
        true => Ok(guest),
        false => Err(ArrivalError::Image("more than static data where it begins")),
    }
}

/// Prologue and epilogue are an image of no pages.
fn check_image(image: &[u8]) -> Result<(), ArrivalError> {
    let wrong = ArrivalError::Epilogue;
    let mut reader = ImageReader::open(Input::new(image), Limits::default()).map_err(wrong)?;
    let (mut has_tsc, mut tables) = (false, 0);
    while let Some(record) = reader.next().map_err(wrong)? {
        match record {
            Record::Tsc(_) => has_tsc = true,
            Record::P2mFrames(_) if tables == 0 => tables += 1,
            Record::P2mFrames(_) => return Err(ArrivalError::Image("a second table of frames")),
            Record::Pages(_) | Record::Verify => {
                return Err(ArrivalError::Image("pages among the machine's state"));
            }
            _ => {}
        }
    }
    if !has_tsc {
        return Err(ArrivalError::Image("no time stamp counter"));
    }
    match reader.offset() == image.len() as u64 && reader.records_skipped() == 0 {
        true => Ok(()),
        false => Err(ArrivalError::Image("something behind its end")),
    }
}

/// What came of each kind, in the order of [`Encoding::ALL`].
pub(super) type Counts = [u64; Encoding::ALL.len()];
