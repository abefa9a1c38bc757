//! The body of a record into the record.

use super::kind;
use super::pages::{self, PAGES_MAX, Page, PageBytes, Pages};
use super::record::{HvmParam, P2mFrames, PvVcpuPart, PvWidth, Record, TscInfo};
use crate::cpu_policy::{CpuidLeaf, MsrEntry};
use crate::stream::error::{Fault, Place, StreamError};

/// A body, and what errors about it name.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) place: Place,
    pub(super) bytes: &'a [u8],
}

/// `width` is a PV guest's; the order of records sees to it that it is known where it is needed.
pub(super) fn record<'a>(
    number: u32,
    body: Body<'a>,
    width: Option<PvWidth>,
) -> Result<Record<'a>, StreamError> {
    match number {
        kind::END => body.empty(Record::End),
        kind::VERIFY => body.empty(Record::Verify),
        kind::STATIC_DATA_END => body.empty(Record::StaticDataEnd),
        kind::PAGE_DATA => body.pages().map(Record::Pages),
        kind::X86_PV_INFO => body.pv_width().map(Record::PvInfo),
        kind::X86_PV_P2M_FRAMES => body.p2m_frames(width).map(Record::P2mFrames),
        kind::X86_PV_VCPU_BASIC => body.pv_vcpu(PvVcpuPart::Basic),
        kind::X86_PV_VCPU_EXTENDED => body.pv_vcpu(PvVcpuPart::Extended),
        kind::X86_PV_VCPU_XSAVE => body.pv_vcpu(PvVcpuPart::Xsave),
        kind::X86_PV_VCPU_MSRS => body.pv_vcpu(PvVcpuPart::Msrs),
        kind::SHARED_INFO => body.page().map(Record::SharedInfo),
        kind::X86_TSC_INFO => body.tsc().map(Record::Tsc),
        kind::HVM_CONTEXT => body.some().map(Record::HvmContext),
        kind::HVM_PARAMS => body.hvm_params().map(Record::HvmParams),
        kind::X86_CPUID_POLICY => body.entries(leaf).map(Record::CpuidPolicy),
        kind::X86_MSR_POLICY => body.msrs().map(Record::MsrPolicy),
        _ => Err(body.place.error(Fault::UnknownRecord)),
    }
}

impl<'a> Body<'a> {
    fn length(self, expect: &'static str) -> StreamError {
        self.place.error(Fault::Length { length: self.bytes.len() as u64, expect })
    }

    fn empty(self, record: Record<'a>) -> Result<Record<'a>, StreamError> {
        if self.bytes.is_empty() { Ok(record) } else { Err(self.length("it must have none")) }
    }

    fn some(self) -> Result<&'a [u8], StreamError> {
        if self.bytes.is_empty() { Err(self.length("it must have some")) } else { Ok(self.bytes) }
    }

    fn page(self) -> Result<&'a PageBytes, StreamError> {
        self.bytes.try_into().map_err(|_| self.length("it must have a page"))
    }

    /// Splits off a head of so many bytes.
    fn head<const BYTES: usize>(
        self,
        expect: &'static str,
    ) -> Result<(&'a [u8; BYTES], Self), StreamError> {
        let (head, bytes) = self.bytes.split_first_chunk().ok_or_else(|| self.length(expect))?;
        Ok((head, Self { bytes, ..self }))
    }

    /// A count or number, and four bytes that must be zero.
    fn counted(self) -> Result<(u32, Self), StreamError> {
        let (head, rest) = self.head::<8>("its head alone has eight")?;
        let [number, reserved] = words(head);
        self.place.expect("reserved", reserved, 0)?;
        Ok((number, rest))
    }

    fn pages(self) -> Result<Pages<'a>, StreamError> {
        let (count, rest) = self.counted()?;
        let count = usize::try_from(count).ok().filter(|count| (1..=PAGES_MAX).contains(count));
        let count = count.ok_or_else(|| self.place.field("count of pages", first(self.bytes)))?;
        let uneven = || self.length("which do not fit its pages");
        let (entries, contents) = rest.bytes.split_at_checked(count * 8).ok_or_else(uneven)?;
        let (contents, left) = contents.as_chunks();
        let (mut contents, mut pages) = (contents.iter(), Pages::new());
        for entry in entries.as_chunks().0 {
            let entry = u64::from_le_bytes(*entry);
            let (pfn, kind) =
                pages::from_word(entry).map_err(|field| self.place.field(field, entry))?;
            let bytes = if kind.has_contents() { contents.next() } else { None };
            let page = Page::new(pfn, kind, bytes).ok_or_else(uneven)?;
            if !pages.push(page) {
                return Err(uneven());
            }
        }
        if contents.next().is_some() || !left.is_empty() {
            return Err(uneven());
        }
        Ok(pages)
    }

    fn pv_width(self) -> Result<PvWidth, StreamError> {
        const EXPECT: &str = "it must have eight";
        let ([width, levels, a, b, c, d, e, f], rest) = self.head::<8>(EXPECT)?;
        if !rest.bytes.is_empty() {
            return Err(self.length(EXPECT));
        }
        let reserved = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, 0, 0]);
        self.place.expect("reserved", reserved, 0)?;
        match (width, levels) {
            (4, 3) => Ok(PvWidth::Bits32),
            (8, 4) => Ok(PvWidth::Bits64),
            (4 | 8, levels) => Err(self.place.field("levels of page tables", *levels)),
            (width, _) => Err(self.place.field("guest width", *width)),
        }
    }

    fn p2m_frames(self, width: Option<PvWidth>) -> Result<P2mFrames, StreamError> {
        let (head, rest) = self.head::<8>("its head alone has eight")?;
        let [start, end] = words(head);
        let width = width.ok_or_else(|| self.place.error(Fault::Missing("X86_PV_INFO")))?;
        let count = P2mFrames::count(start, end, width);
        let count = count.ok_or_else(|| self.place.field("end", end))?;
        let (frames, left) = rest.bytes.as_chunks();
        if !left.is_empty() || frames.len() as u64 != count {
            return Err(self.length("which do not fit its frames"));
        }
        let frames = frames.iter().map(|frame| u64::from_le_bytes(*frame)).collect();
        Ok(P2mFrames { start, end, frames })
    }

    fn pv_vcpu(self, part: PvVcpuPart) -> Result<Record<'a>, StreamError> {
        let (vcpu, rest) = self.counted()?;
        Ok(Record::PvVcpu { part, vcpu, state: rest.bytes })
    }

    fn tsc(self) -> Result<TscInfo, StreamError> {
        const EXPECT: &str = "it must have 24";
        let (head, rest) = self.head::<24>(EXPECT)?;
        if !rest.bytes.is_empty() {
            return Err(self.length(EXPECT));
        }
        let [mode, khz, low, high, incarnation, reserved] = words(head);
        self.place.expect("reserved", reserved, 0)?;
        let nsec = u64::from(high) << 32 | u64::from(low);
        Ok(TscInfo { mode, khz, nsec, incarnation })
    }

    fn hvm_params(self) -> Result<Vec<HvmParam>, StreamError> {
        let (count, rest) = self.counted()?;
        let (entries, left) = rest.bytes.as_chunks::<16>();
        if !left.is_empty() || u32::try_from(entries.len()) != Ok(count) {
            return Err(self.length("which do not fit its parameters"));
        }
        let param = |entry: &[u8; 16]| {
            let [index, value] = longs(entry);
            HvmParam { index, value }
        };
        Ok(entries.iter().map(param).collect())
    }

    fn entries<const BYTES: usize, T>(
        self,
        entry: impl Fn(&[u8; BYTES]) -> T,
    ) -> Result<Vec<T>, StreamError> {
        let (entries, left) = self.bytes.as_chunks();
        if !left.is_empty() || entries.is_empty() {
            return Err(self.length("it must have whole entries, and at least one"));
        }
        Ok(entries.iter().map(entry).collect())
    }

    fn msrs(self) -> Result<Vec<MsrEntry>, StreamError> {
        let raw = self.entries(|entry: &[u8; 16]| {
            let [index, flags, low, high] = words(entry);
            (flags, MsrEntry { index, value: u64::from(high) << 32 | u64::from(low) })
        })?;
        let entry = |(flags, entry): (u32, MsrEntry)| {
            self.place.expect("flags of a register", flags, 0).map(|()| entry)
        };
        raw.into_iter().map(entry).collect()
    }
}

fn leaf(entry: &[u8; 24]) -> CpuidLeaf {
    let [leaf, subleaf, eax, ebx, ecx, edx] = words(entry);
    CpuidLeaf { leaf, subleaf, eax, ebx, ecx, edx }
}

/// The bytes as little-endian words: as many as are asked for, which is what they are.
fn words<const BYTES: usize, const COUNT: usize>(bytes: &[u8; BYTES]) -> [u32; COUNT] {
    const { assert!(BYTES == 4 * COUNT) };
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

fn longs<const BYTES: usize, const COUNT: usize>(bytes: &[u8; BYTES]) -> [u64; COUNT] {
    const { assert!(BYTES == 8 * COUNT) };
    let mut longs = [0; COUNT];
    for (long, bytes) in longs.iter_mut().zip(bytes.as_chunks().0) {
        *long = u64::from_le_bytes(*bytes);
    }
    longs
}

/// For an error: the first word, which the caller has found to be there.
fn first(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}
