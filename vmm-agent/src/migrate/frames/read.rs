//! Bytes into frames, whoever sent them.

use vmm_core::migration::{BATCH_PAGES_MAX, Encoding, Pfn};
use xen_bindings::PageType;

use super::{
    BATCH_BYTES, Batch, ENTRY_BYTES, Frame, FrameError, GONE_BYTES, Gone, HEAD_BYTES, HELLO_BYTES,
    Hello, Kind, MAGIC, PAGE, RUN_BYTES, RUNS_MAX, Run, TAIL_BYTES, TYPE_SHIFT, Tail, VERSION,
};

/// What has been, and so what may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Pages,
    Gone,
    Over,
}

/// Puts frames together from bytes that come in pieces of any size. Errors end it.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Of the frame that is coming, or of the one that was answered last.
    pub(super) buffer: Vec<u8>,
    is_answered: bool,
    stage: Stage,
    /// The next mark's number is at least this.
    mark: u64,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { buffer: Vec::new(), is_answered: false, stage: Stage::Start, mark: 0 }
    }

    /// Whether the last frame has come.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Takes from `bytes` what belongs to the next frame, and answers it once it is whole. Nothing is left of `bytes` when it is not.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
        if std::mem::take(&mut self.is_answered) {
            self.buffer.clear();
        }
        if !self.fill(HEAD_BYTES, bytes) {
            return Ok(None);
        }
        let (kind, length) = head(&self.buffer)?;
        let stage = self.follows(kind)?;
        if !self.fill(HEAD_BYTES + length, bytes) {
            return Ok(None);
        }
        self.is_answered = true;
        self.stage = stage;
        let frame = frame(kind, &self.buffer[HEAD_BYTES..])?;
        if let Frame::Mark(number) = frame {
            if number < self.mark {
                return Err(FrameError::Field { kind, field: "number", value: number });
            }
            self.mark = number.saturating_add(1);
        }
        Ok(Some(frame))
    }

    /// Whether the buffer has so many bytes now.
    fn fill(&mut self, wanted: usize, bytes: &mut &[u8]) -> bool {
        let missing = wanted.saturating_sub(self.buffer.len());
        let (now, later) = bytes.split_at(missing.min(bytes.len()));
        self.buffer.extend_from_slice(now);
        *bytes = later;
        self.buffer.len() >= wanted
    }

    fn follows(&self, kind: Kind) -> Result<Stage, FrameError> {
        let next = match (self.stage, kind) {
            (Stage::Start, Kind::Hello) | (Stage::Pages, Kind::Batch) => Stage::Pages,
            (stage @ (Stage::Pages | Stage::Gone), Kind::Mark) => stage,
            (Stage::Pages | Stage::Gone, Kind::Gone) => Stage::Gone,
            (Stage::Pages | Stage::Gone, Kind::Tail) => Stage::Over,
            (Stage::Start, _) => return Err(FrameError::NotAGuest),
            _ => return Err(FrameError::Misplaced { kind }),
        };
        Ok(next)
    }
}

/// Kind, and length of the body.
fn head(buffer: &[u8]) -> Result<(Kind, usize), FrameError> {
    let head = buffer.first_chunk::<HEAD_BYTES>().ok_or(FrameError::NotAGuest)?;
    let [code, x, y, z, a, b, c, d] = *head;
    let length = [a, b, c, d];
    let kind = Kind::from_code(code).ok_or(FrameError::Unknown { code })?;
    let reserved = u32::from_le_bytes([x, y, z, 0]);
    if reserved != 0 {
        return Err(FrameError::Field { kind, field: "reserved bytes", value: reserved.into() });
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > kind.bytes_max() {
        return Err(FrameError::Length { kind, bytes: length, expect: "no such frame is so long" });
    }
    Ok((kind, length))
}

fn frame(kind: Kind, body: &[u8]) -> Result<Frame<'_>, FrameError> {
    Ok(match kind {
        Kind::Hello => Frame::Hello(hello(body)?),
        Kind::Batch => Frame::Batch(batch(body)?),
        Kind::Mark => Frame::Mark(mark(body)?),
        Kind::Gone => Frame::Gone(gone(body)?),
        Kind::Tail => Frame::Tail(tail(body)?),
    })
}

fn too_short(kind: Kind, body: &[u8]) -> FrameError {
    FrameError::Length { kind, bytes: body.len(), expect: "its own numbers alone have more" }
}

fn hello(body: &[u8]) -> Result<Hello<'_>, FrameError> {
    let kind = Kind::Hello;
    let (head, prologue) =
        body.split_first_chunk::<HELLO_BYTES>().ok_or_else(|| too_short(kind, body))?;
    let [m0, m1, m2, m3, v0, v1, z0, z1, e0, e1, e2, e3, c0, c1, c2, c3] = *head;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(FrameError::NotAGuest);
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(FrameError::Version { version });
    }
    let zero = u16::from_le_bytes([z0, z1]);
    if zero != 0 {
        return Err(FrameError::Field { kind, field: "reserved bytes", value: zero.into() });
    }
    let pfn_end = u32::from_le_bytes([e0, e1, e2, e3]);
    Ok(Hello { pfn_end, copies_max: u32::from_le_bytes([c0, c1, c2, c3]), prologue })
}

fn batch(body: &[u8]) -> Result<Batch<'_>, FrameError> {
    let kind = Kind::Batch;
    let (head, rest) =
        body.split_first_chunk::<BATCH_BYTES>().ok_or_else(|| too_short(kind, body))?;
    let [c0, c1, z0, z1] = *head;
    let (count, zero) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([z0, z1]));
    let of = |field, value: u16| FrameError::Field { kind, field, value: value.into() };
    if zero != 0 {
        return Err(of("reserved bytes", zero));
    }
    if count == 0 || usize::from(count) > BATCH_PAGES_MAX {
        return Err(of("count of pages", count));
    }
    let uneven = || FrameError::Length {
        kind,
        bytes: body.len(),
        expect: "its entries and bodies have another length",
    };
    let (entries, bodies) =
        rest.split_at_checked(usize::from(count) * ENTRY_BYTES).ok_or_else(uneven)?;
    let entries = entries.as_chunks().0;
    let mut bytes = 0;
    for raw in entries {
        let value = u64::from_le_bytes(*raw);
        let known = entry(*raw).ok_or(FrameError::Field { kind, field: "entry", value })?;
        bytes += known.length;
    }
    if bytes != bodies.len() {
        return Err(uneven());
    }
    Ok(Batch { entries, bodies })
}

/// What an entry says, before its body is looked at.
pub(super) struct Named {
    pub(super) page: Pfn,
    pub(super) kind: PageType,
    pub(super) encoding: Encoding,
    pub(super) keep: bool,
    /// Of the body.
    pub(super) length: usize,
}

/// `None` for what none may say.
pub(super) fn entry(raw: [u8; ENTRY_BYTES]) -> Option<Named> {
    let [p0, p1, p2, p3, encoding, what, l0, l1] = raw;
    let page = Pfn(u32::from_le_bytes([p0, p1, p2, p3]));
    let encoding = *Encoding::ALL.get(usize::from(encoding))?;
    let (kind, keep) = (PageType::from_bits(what >> TYPE_SHIFT)?, what & ((1 << TYPE_SHIFT) - 1));
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    // A page that is only allocated would hold what another domain has left there.
    let is_bare = encoding == Encoding::Zero && keep == 0 && length == 0;
    let is_sound = kind.has_contents() || (is_bare && kind != PageType::AllocOnly);
    let named = Named { page, kind, encoding, keep: keep == 1, length };
    (is_sound && keep <= 1 && length <= PAGE).then_some(named)
}

fn mark(body: &[u8]) -> Result<u64, FrameError> {
    let wrong =
        FrameError::Length { kind: Kind::Mark, bytes: body.len(), expect: "it must have eight" };
    body.try_into().map(u64::from_le_bytes).map_err(|_| wrong)
}

fn gone(body: &[u8]) -> Result<Gone<'_>, FrameError> {
    let kind = Kind::Gone;
    let (head, rest) =
        body.split_first_chunk::<GONE_BYTES>().ok_or_else(|| too_short(kind, body))?;
    let count = u32::from_le_bytes(*head);
    let (runs, left) = rest.as_chunks();
    if u32::try_from(runs.len()) != Ok(count) || !left.is_empty() || runs.len() > RUNS_MAX {
        let expect = "its runs have another length";
        return Err(FrameError::Length { kind, bytes: body.len(), expect });
    }
    if runs.is_empty() {
        return Err(FrameError::Field { kind, field: "count of runs", value: 0 });
    }
    if let Some(bad) = runs.iter().map(|raw| run(*raw)).find(|run| run.pages == 0) {
        return Err(FrameError::Field { kind, field: "empty run", value: bad.first.0.into() });
    }
    Ok(Gone { runs })
}

pub(super) fn run(raw: [u8; RUN_BYTES]) -> Run {
    let [f0, f1, f2, f3, p0, p1, p2, p3] = raw;
    let first = Pfn(u32::from_le_bytes([f0, f1, f2, f3]));
    Run { first, pages: u32::from_le_bytes([p0, p1, p2, p3]) }
}

fn tail(body: &[u8]) -> Result<Tail<'_>, FrameError> {
    let short = || too_short(Kind::Tail, body);
    let (frames, rest) = body.split_first_chunk().ok_or_else(short)?;
    let (gone, epilogue) = rest.split_first_chunk().ok_or_else(short)?;
    const { assert!(TAIL_BYTES == 2 * size_of::<u64>()) };
    Ok(Tail { frames: u64::from_le_bytes(*frames), gone: u64::from_le_bytes(*gone), epilogue })
}
